//! Reading manifests and indexes strictly: one document, one meaning.
//!
//! A body that could be taken for both an index and a manifest, or whose label says one thing
//! and whose content another, means different things to different readers; that has been used to
//! show a scanner one image and run another (CVE-2021-41190). It is refused.

use lamina_types::oci::{Descriptor, Index, Manifest, media};
use lamina_types::{ErrorKind, Platform};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::one_line;

/// What a reference or a descriptor leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Several manifests.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// Why bytes are not a manifest or an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not JSON, or not of the shape.
    #[error("malformed document")]
    Json(#[source] serde_json::Error),
    /// It has both `manifests` and `layers` or `config`.
    #[error("document is both an index and a manifest")]
    Ambiguous,
    /// It has neither.
    #[error("document is neither an index nor a manifest")]
    Neither,
    /// Two labels, or a label and the content, disagree.
    #[error("document says it is {inner:?} but was announced as {outer:?}")]
    MediaType {
        /// What the document says, or what its content is.
        inner: String,
        /// What the header or the descriptor says.
        outer: String,
    },
    /// `schemaVersion` is not 2.
    #[error("unsupported manifest schema version {0}")]
    Schema(u64),
    /// A field has an impossible value.
    #[error("implausible {0}")]
    Implausible(&'static str),
    /// Indexes within indexes, deeper than anyone needs.
    #[error("indexes are nested more than {0} deep")]
    Nesting(u32),
    /// An index where a manifest must be, or the reverse.
    #[error("expected a manifest, found an index")]
    ExpectedManifest,
}

impl DocumentError {
    /// Returns the class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Schema(_) => ErrorKind::Unsupported,
            _ => ErrorKind::DataLoss,
        }
    }
}

/// The fields that decide what a document is. An unknown or repeated known field is told apart
/// by serde: repeated ones are errors.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(borrow, default)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow, default)]
    layers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fs_layers: Option<&'a RawValue>,
}

impl Document {
    /// Reads `bytes`, which was announced as `outer` by a `Content-Type` header or a descriptor.
    pub fn parse(bytes: &[u8], outer: Option<&str>) -> Result<Self, DocumentError> {
        let shape: Shape<'_> = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        if shape.fs_layers.is_some() {
            return Err(DocumentError::Schema(1));
        }
        match shape.schema_version {
            Some(2) => {}
            other => return Err(DocumentError::Schema(other.unwrap_or(0))),
        }
        let is_index = match (
            &shape.manifests,
            shape.layers.is_some() || shape.config.is_some(),
        ) {
            (Some(_), true) => return Err(DocumentError::Ambiguous),
            (Some(_), false) => true,
            (None, true) => false,
            (None, false) => return Err(DocumentError::Neither),
        };
        let outer = outer.map(essence).filter(|outer| !is_vague(outer));
        check_labels(shape.media_type.as_deref(), outer.as_deref(), is_index)?;
        let document = if is_index {
            Self::Index(serde_json::from_slice(bytes).map_err(DocumentError::Json)?)
        } else {
            Self::Manifest(serde_json::from_slice(bytes).map_err(DocumentError::Json)?)
        };
        document.check_sizes()?;
        Ok(document)
    }

    /// Returns the media type: the document's own, else the one its content has in OCI.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media::OCI_INDEX),
            Self::Manifest(manifest) => manifest
                .media_type
                .as_deref()
                .unwrap_or(media::OCI_MANIFEST),
        }
    }

    fn check_sizes(&self) -> Result<(), DocumentError> {
        let fits = |d: &Descriptor| i64::try_from(d.size).is_ok();
        let ok = match self {
            Self::Index(index) => index.manifests.iter().all(fits),
            Self::Manifest(manifest) => fits(&manifest.config) && manifest.layers.iter().all(fits),
        };
        if ok {
            Ok(())
        } else {
            Err(DocumentError::Implausible("size"))
        }
    }
}

/// Checks that all labels there are agree with each other and with the content.
fn check_labels(
    inner: Option<&str>,
    outer: Option<&str>,
    is_index: bool,
) -> Result<(), DocumentError> {
    let conflict = |inner: &str, outer: &str| DocumentError::MediaType {
        inner: one_line(inner),
        outer: one_line(outer),
    };
    for label in [inner, outer].into_iter().flatten() {
        let says_index = match label {
            media::OCI_INDEX | media::DOCKER_INDEX => true,
            media::OCI_MANIFEST | media::DOCKER_MANIFEST => false,
            _ => return Err(conflict(content_name(is_index), label)),
        };
        if says_index != is_index {
            return Err(conflict(content_name(is_index), label));
        }
    }
    match (inner, outer) {
        (Some(inner), Some(outer)) if inner != outer => Err(conflict(inner, outer)),
        // Docker's documents always carry their type; one without it is OCI's.
        (None, Some(outer)) if outer == media::DOCKER_INDEX || outer == media::DOCKER_MANIFEST => {
            Err(conflict("no media type", outer))
        }
        _ => Ok(()),
    }
}

fn content_name(is_index: bool) -> &'static str {
    if is_index { "an index" } else { "a manifest" }
}

/// Returns a header's media type without parameters, in lower case.
fn essence(header: &str) -> String {
    let bare = header.split(';').next().unwrap_or(header);
    bare.trim().to_ascii_lowercase()
}

/// Static file servers label everything so; it says nothing about the document.
fn is_vague(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/json" | "application/octet-stream" | "binary/octet-stream" | "text/plain"
    )
}

/// Returns the manifest of `index` that serves `wanted` best, or the platforms there are.
///
/// The first of equals wins, as with Docker. Entries without a platform count as `wanted` if
/// they are the only one.
pub fn select_platform<'a>(
    index: &'a Index,
    wanted: &Platform,
) -> Result<&'a Descriptor, Vec<String>> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for entry in &index.manifests {
        let rank = entry.platform.as_ref().and_then(|p| p.rank_for(wanted));
        if let Some(rank) = rank
            && best.is_none_or(|(other, _)| rank > other)
        {
            best = Some((rank, entry));
        }
    }
    match (best, index.manifests.as_slice()) {
        (Some((_, entry)), _) => Ok(entry),
        (None, [only]) if only.platform.is_none() => Ok(only),
        _ => Err(platforms(index)),
    }
}

/// Lists the platforms of an index, without build attestations (`unknown/unknown`).
fn platforms(index: &Index) -> Vec<String> {
    const MOST: usize = 64;
    let mut names: Vec<String> = Vec::new();
    for platform in index.manifests.iter().filter_map(|m| m.platform.as_ref()) {
        let name = one_line(&platform.to_string());
        if name != "unknown/unknown" && !names.contains(&name) && names.len() < MOST {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests;
