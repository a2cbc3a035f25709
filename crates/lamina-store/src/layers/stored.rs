//! `layer.json`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{LayerInfo, VERSION};

/// `layer.json` as it is written. A path is text where it is UTF-8, else a list of bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) version: u32,
    size: u64,
    entries: u64,
    implied: Vec<StoredPath>,
    #[serde(default)]
    opaque_root: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pooled: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPath {
    Text(String),
    Bytes(Vec<u8>),
}

/// Returns the bytes of `layer.json`.
pub(crate) fn stored_info(info: &LayerInfo) -> Vec<u8> {
    serde_json::to_vec(&Stored::new(info)).expect("a description has string keys and plain values")
}

/// Refuses members that are not read.
pub(super) fn refuse_unknown(bytes: &[u8]) -> serde_json::Result<()> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the names of the members are of interest")]
    struct Strict {
        version: u32,
        size: u64,
        entries: u64,
        implied: Vec<StoredPath>,
        #[serde(default)]
        opaque_root: bool,
        #[serde(default)]
        pooled: bool,
    }
    serde_json::from_slice::<Strict>(bytes).map(drop)
}

impl Stored {
    pub(super) fn new(info: &LayerInfo) -> Self {
        let path = |path: &PathBuf| match path.to_str() {
            Some(text) => StoredPath::Text(text.to_owned()),
            None => StoredPath::Bytes(OsStr::as_bytes(path.as_os_str()).to_vec()),
        };
        Self {
            version: VERSION,
            size: info.size,
            entries: info.entries,
            implied: info.implied.iter().map(path).collect(),
            opaque_root: info.opaque_root,
            pooled: info.pooled,
        }
    }

    pub(super) fn into_info(self) -> LayerInfo {
        let path = |path| match path {
            StoredPath::Text(text) => PathBuf::from(text),
            StoredPath::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        };
        LayerInfo {
            size: self.size,
            entries: self.entries,
            implied: self.implied.into_iter().map(path).collect(),
            opaque_root: self.opaque_root,
            pooled: self.pooled,
        }
    }
}
