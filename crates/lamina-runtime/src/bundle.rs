//! A bundle's two documents.
//!
//! `config.json` is read in two parts: all but the system call filter at once, the filter when it
//! is wanted. Nine tenths of the document are names of system calls. They are needed when the
//! filter is compiled, which the parent does while init works; until then their text is only kept.

use std::path::PathBuf;

use lamina_fs::{Dir, PathError};
use lamina_types::{ErrorKind, Rootfs};
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::plan::PlanError;

/// The OCI configuration.
pub const CONFIG_JSON: &str = "config.json";
/// How the root filesystem is mounted: a [`Rootfs`], which OCI's `root.path` cannot carry.
pub const ROOTFS_JSON: &str = "rootfs.json";

/// The longest document that is read.
const LIMIT: u64 = 16 << 20;

/// What a bundle says.
#[derive(Debug)]
pub struct Bundle {
    /// The OCI configuration but for `linux.seccomp`.
    pub spec: Spec,
    /// The text of `linux.seccomp`.
    pub filter: Option<Box<RawValue>>,
    /// How the root filesystem is mounted; `None` for a process that joins a container.
    pub rootfs: Option<Rootfs>,
}

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A document cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A document is not what it should be.
    #[error("parse {}", path.display())]
    Parse {
        /// The document.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl BundleError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Parse { .. } => ErrorKind::DataLoss,
        }
    }
}

impl Bundle {
    /// Returns how the root filesystem of a container is mounted.
    pub fn rootfs(&self) -> Result<&Rootfs, PlanError> {
        let missing = PlanError::Missing("root filesystem (rootfs.json)");
        self.rootfs.as_ref().ok_or(missing)
    }

    /// Reads the documents. What is wrong in the filter is found when it is compiled.
    pub fn read(dir: &Dir) -> Result<Self, BundleError> {
        let wrong = |name: &str| {
            let path = dir.path().join(name);
            |source| BundleError::Parse { path, source }
        };
        let text = dir.read(CONFIG_JSON, LIMIT)?;
        let (spec, filter) = parse(&text).map_err(wrong(CONFIG_JSON))?;
        let rootfs = match dir.read(ROOTFS_JSON, LIMIT) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(wrong(ROOTFS_JSON))?),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            spec,
            filter,
            rootfs,
        })
    }
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    linux: Option<LinuxOutline<'a>>,
}

#[derive(Deserialize)]
struct LinuxOutline<'a> {
    #[serde(borrow)]
    seccomp: Option<&'a RawValue>,
}

fn parse(text: &[u8]) -> Result<(Spec, Option<Box<RawValue>>), serde_json::Error> {
    let outline: Outline<'_> = serde_json::from_slice(text)?;
    let filter = outline.linux.and_then(|linux| linux.seccomp);
    let Some(filter) = filter else {
        return Ok((serde_json::from_slice(text)?, None));
    };
    let start = filter.get().as_ptr().addr() - text.as_ptr().addr();
    let end = start + filter.get().len();
    let short = [&text[..start], b"null", &text[end..]].concat();
    Ok((serde_json::from_slice(&short)?, Some(filter.to_owned())))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;

    use super::*;

    #[test]
    fn the_parts_make_the_whole() {
        let mut linux = oci_spec::runtime::Linux::default();
        let capabilities = crate::spec_default::CAPABILITIES.into_iter().collect();
        linux.set_seccomp(Some(crate::spec_default::seccomp(&capabilities)));
        let mut whole = Spec::default();
        whole.set_linux(Some(linux));
        let text = serde_json::to_vec_pretty(&whole).unwrap();
        let (mut spec, filter) = parse(&text).unwrap();
        assert_ne!(spec, whole);
        let filter: LinuxSeccomp = serde_json::from_str(filter.unwrap().get()).unwrap();
        let mut linux = spec.linux().clone().unwrap();
        linux.set_seccomp(Some(filter));
        spec.set_linux(Some(linux));
        assert_eq!(spec, whole);
    }

    #[test]
    fn a_document_without_a_filter_is_read_as_it_is() {
        for text in [
            r#"{"ociVersion":"1.2.0"}"#,
            r#"{"ociVersion":"1.2.0","linux":null}"#,
            r#"{"ociVersion":"1.2.0","linux":{"seccomp":null}}"#,
        ] {
            let (read, filter) = parse(text.as_bytes()).unwrap();
            assert!(filter.is_none(), "{text}");
            let spec: Spec = serde_json::from_str(text).unwrap();
            assert_eq!(read, spec);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"linux":{"seccomp":}}"#,
            r#"{"linux":7}"#,
            "\u{fffd}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
