//! Manifests, indexes and configurations as they come from a registry or an archive: bounded,
//! unambiguous, and for the right platform.
//!
//! The bytes were verified against their digest by whoever fetched them, and
//! [`lamina_distribution::Document`] has seen to it that they can be read in one way only; here is
//! what an image asks for beyond that.

use lamina_distribution::{Document, select_platform};
use lamina_types::oci::{Descriptor, ImageConfig, Index, Manifest, media};
use lamina_types::{DiffId, ErrorKind, Platform};

/// The largest manifest, index or configuration that is read: what registries accept.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// More layers than any kernel mounts in one overlay (500) and than any builder makes (127).
const MAX_LAYERS: usize = 1024;

/// Why a document is not that of an image that can be used here.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON, or lacks what it must have.
    #[error("read the {what} as JSON")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// It is larger than any real one.
    #[error("the {what} has {size} bytes, more than the {MAX_DOCUMENT} that are read")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
    },
    /// A manifest or index is malformed or ambiguous.
    #[error(transparent)]
    Manifest(#[from] lamina_distribution::DocumentError),
    /// The manifest is well-formed but is not one of an image.
    #[error("the manifest is not one of a container image: it has {0:?}")]
    NotAnImage(String),
    /// More layers than can be mounted.
    #[error("the image has {0} layers, more than the {MAX_LAYERS} that are supported")]
    TooManyLayers(usize),
    /// The configuration and the manifest disagree.
    #[error("the configuration lists {diff_ids} layers where the manifest has {layers}")]
    LayerCount {
        /// How many diff ids the configuration has.
        diff_ids: usize,
        /// How many layers the manifest has.
        layers: usize,
    },
    /// No image for the platform.
    #[error("no image for platform {wanted}; there is {}", list(have))]
    Platform {
        /// What was asked for.
        wanted: Platform,
        /// What exists.
        have: Vec<String>,
    },
}

impl DocumentError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Json { .. } | Self::LayerCount { .. } => ErrorKind::DataLoss,
            Self::Manifest(source) => source.kind(),
            Self::TooLarge { .. } | Self::TooManyLayers(_) => ErrorKind::ResourceExhausted,
            Self::NotAnImage(_) => ErrorKind::Unsupported,
            Self::Platform { .. } => ErrorKind::NotFound,
        }
    }
}

fn list(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms.join(", ")
}

/// Parses a manifest or index that was named as `media_type`, and checks that a manifest is one
/// of a container image and of nothing else that registries keep.
pub(crate) fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Document, DocumentError> {
    check_size("manifest", bytes.len() as u64)?;
    let document = Document::parse(bytes, media_type)?;
    if let Document::Manifest(manifest) = &document {
        check_manifest(manifest)?;
    }
    Ok(document)
}

/// Parses a manifest.
pub(crate) fn parse_manifest(bytes: &[u8]) -> Result<Manifest, DocumentError> {
    match parse(bytes, None)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(lamina_distribution::DocumentError::ExpectedManifest.into()),
    }
}

fn check_size(what: &'static str, size: u64) -> Result<(), DocumentError> {
    if size > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge { what, size });
    }
    Ok(())
}

/// Checks that a manifest describes a container image and is not too large for us.
pub(crate) fn check_manifest(manifest: &Manifest) -> Result<(), DocumentError> {
    let config = &manifest.config;
    if !matches!(
        config.media_type.as_str(),
        media::OCI_CONFIG | media::DOCKER_CONFIG | "application/octet-stream"
    ) {
        return Err(DocumentError::NotAnImage(config.media_type.clone()));
    }
    check_size("configuration", config.size)?;
    if manifest.layers.len() > MAX_LAYERS {
        return Err(DocumentError::TooManyLayers(manifest.layers.len()));
    }
    match manifest
        .layers
        .iter()
        .find(|layer| !is_layer(&layer.media_type))
    {
        Some(layer) => Err(DocumentError::NotAnImage(layer.media_type.clone())),
        None => Ok(()),
    }
}

/// Returns whether a media type is that of a tar layer, in any compression: which one is told
/// by the bytes.
fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.v1.tar")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// Returns the index's best manifest for `wanted`.
pub(crate) fn choose<'a>(
    index: &'a Index,
    wanted: &Platform,
) -> Result<&'a Descriptor, DocumentError> {
    select_platform(index, wanted).map_err(|have| DocumentError::Platform {
        wanted: wanted.clone(),
        have,
    })
}

/// Parses an image configuration and checks it against its manifest's number of layers.
pub(crate) fn parse_config(bytes: &[u8], layers: usize) -> Result<ImageConfig, DocumentError> {
    check_size("configuration", bytes.len() as u64)?;
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Json {
            what: "configuration",
            source,
        })?;
    let diff_ids: &[DiffId] = &config.rootfs.diff_ids;
    if diff_ids.len() != layers {
        return Err(DocumentError::LayerCount {
            diff_ids: diff_ids.len(),
            layers,
        });
    }
    Ok(config)
}

/// Checks that a configuration is for a platform that was asked for by name.
///
/// A manifest without an index may be for any platform; only its configuration tells.
pub(crate) fn check_platform(config: &ImageConfig, wanted: &Platform) -> Result<(), DocumentError> {
    let have = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
    };
    if have.rank_for(wanted).is_some() {
        return Ok(());
    }
    Err(DocumentError::Platform {
        wanted: wanted.clone(),
        have: vec![have.to_string()],
    })
}

#[cfg(test)]
mod tests;
