//! What can be asked about: things by digest or path, and the links of chains.

use std::fmt;
use std::path::Path;

use lamina_fs::PathError;
use lamina_types::{DiffId, Digest, ErrorKind, Reference};

use crate::area::Area;
use crate::collect::{CollectError, diff_id_of};
use crate::pool::ObjectKey;
use crate::removed::RemovedId;
use crate::store::Store;

/// The shortest beginning of a digest that is looked up.
const SHORTEST: usize = 4;

/// One thing in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A manifest, a configuration or a compressed layer.
    Blob(Digest),
    /// An unpacked layer.
    Layer(DiffId),
    /// The content of files: in the pool, or in the trees of layers.
    Content(ObjectKey),
    /// Something that is generated per image, by file name.
    Generated(String),
    /// A container's writable layer.
    Snapshot(String),
    /// A download that is not complete.
    Partial(Digest),
    /// A container's records and logs.
    Container(String),
    /// A volume.
    Volume(String),
    /// Something that was removed and can be brought back, by the id of the removal.
    Removed(String),
    /// Something that was removed and waits to be unlinked.
    Trash,
    /// What the store itself needs: folders, names, locks, leases.
    Own(String),
    /// Nothing of the store's.
    Foreign(String),
}

/// A link of a chain of owners, the root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A name of an image.
    Name(Reference),
    /// A container, by the id of its writable layer.
    Container(String),
    /// An operation in flight, by its word and process.
    Operation {
        /// What it does.
        kind: String,
        /// Who began it.
        pid: i32,
    },
    /// A removal that can be undone.
    Removed {
        /// Its id.
        id: RemovedId,
        /// The command.
        command: String,
    },
    /// An index of images for several platforms.
    Index(Digest),
    /// An image's manifest.
    Manifest(Digest),
    /// An image's configuration.
    Config(Digest),
    /// A blob that nothing is read from: a compressed layer.
    Blob(Digest),
    /// An unpacked layer.
    Layer(DiffId),
    /// The content of files.
    Content(ObjectKey),
    /// Something that is generated per image.
    Generated(String),
    /// A container's writable layer.
    Snapshot(String),
    /// A download that is not complete.
    Partial(Digest),
}

/// Why it cannot be said what keeps something.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Nothing here has this digest or path.
    #[error("nothing in the store is called {0}")]
    NotFound(String),
    /// A folder could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What leads to it could not be read.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl SubjectError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Path(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(diff_id) => write!(f, "layer {diff_id}"),
            Self::Content(key) => write!(f, "content {}", key.path()),
            Self::Generated(name) => write!(f, "generated file {name}"),
            Self::Snapshot(id) => write!(f, "writable layer {id}"),
            Self::Partial(digest) => write!(f, "partial download {digest}"),
            Self::Container(id) => write!(f, "container {id}"),
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Removed(id) => write!(f, "part of removal {id}"),
            Self::Trash => f.write_str("trash"),
            Self::Own(path) | Self::Foreign(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "name {}", name.familiar()),
            Self::Container(id) => write!(f, "container {id}"),
            Self::Operation { kind, pid } => write!(f, "running {kind} of process {pid}"),
            Self::Removed { id, command } => {
                write!(f, "removal {id} by \"{command}\", which can be undone")
            }
            Self::Index(digest) => write!(f, "index {digest}"),
            Self::Manifest(digest) => write!(f, "manifest {digest}"),
            Self::Config(digest) => write!(f, "configuration {digest}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(diff_id) => write!(f, "layer {diff_id}"),
            Self::Content(key) => write!(f, "content {}", key.path()),
            Self::Generated(name) => write!(f, "generated file {name}"),
            Self::Snapshot(id) => write!(f, "writable layer {id}"),
            Self::Partial(digest) => write!(f, "partial download {digest}"),
        }
    }
}

impl Store {
    /// Returns what `text` means: a digest of a blob, layer or content, its beginning, or a path
    /// in the store. A digest may mean several things.
    pub fn subjects(&self, text: &str) -> Result<Vec<Subject>, SubjectError> {
        let path = Path::new(text);
        let below = path.strip_prefix(self.root().path()).unwrap_or(path);
        let exists = rustix::fs::statat(self.root(), below, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        let is_below = below.is_relative() && below.iter().all(|part| part != "..");
        if is_below && below.iter().count() > 0 && exists.is_ok() {
            return Ok(vec![subject_of(below)]);
        }
        let found = self.by_digest(text)?;
        if found.is_empty() {
            return Err(SubjectError::NotFound(text.chars().take(160).collect()));
        }
        Ok(found)
    }

    fn by_digest(&self, text: &str) -> Result<Vec<Subject>, SubjectError> {
        let (algorithm, hex) = match text.split_once(':') {
            Some((algorithm, hex)) => (Some(algorithm), hex),
            None => (None, text),
        };
        let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut found = Vec::new();
        if !digits || hex.len() < SHORTEST {
            return Ok(found);
        }
        let wanted = |digest: &Digest| {
            digest.hex().starts_with(hex)
                && algorithm.is_none_or(|name| name == digest.algorithm().name())
        };
        for (area, name) in [(Area::BlobsSha256, "sha256"), (Area::BlobsSha512, "sha512")] {
            for entry in self.dir(area)?.entries()? {
                let digest = format!("{name}:{}", entry.name.to_string_lossy()).parse();
                found.extend(digest.ok().filter(wanted).map(Subject::Blob));
            }
        }
        let mut key = None;
        for entry in self.dir(Area::Layers)?.entries()? {
            let Some(diff_id) = diff_id_of(&entry.name.to_string_lossy()) else {
                continue;
            };
            // An index that cannot be read has nothing to say here; fsck tells of it.
            if let Ok(Some(index)) = self.layers().index(&diff_id) {
                let mut ids = index.records().iter().map(|record| &record.id);
                key = key.or_else(|| ids.find(|id| wanted(&id.digest())).map(ObjectKey::from));
            }
            if wanted(&diff_id.0) {
                found.push(Subject::Layer(diff_id));
            }
        }
        found.extend(key.map(Subject::Content));
        for entry in self.dir(Area::Partial)?.entries()? {
            let digest = entry.name.to_string_lossy().replacen('-', ":", 1).parse();
            found.extend(digest.ok().filter(wanted).map(Subject::Partial));
        }
        Ok(found)
    }
}

/// What lies at a path below the root.
fn subject_of(path: &Path) -> Subject {
    let parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let whole = || path.to_string_lossy().into_owned();
    let found = match parts.as_slice() {
        ["oci", "blobs", algorithm, hex, ..] => {
            format!("{algorithm}:{hex}").parse().ok().map(Subject::Blob)
        }
        ["layers", hex, ..] => diff_id_of(hex).map(Subject::Layer),
        ["pool", folder, name, ..] => ObjectKey::parse(folder, name).map(Subject::Content),
        ["images", name, ..] => Some(Subject::Generated((*name).to_owned())),
        ["snap", id, ..] => Some(Subject::Snapshot((*id).to_owned())),
        ["partial", name, ..] => name
            .replacen('-', ":", 1)
            .parse()
            .ok()
            .map(Subject::Partial),
        ["containers", "names", ..] => Some(Subject::Own(whole())),
        ["containers", id, ..] => Some(Subject::Container((*id).to_owned())),
        ["volumes", name, ..] => Some(Subject::Volume((*name).to_owned())),
        ["removed", id, ..] => Some(Subject::Removed((*id).to_owned())),
        ["trash", _, ..] => Some(Subject::Trash),
        [
            "meta.json" | "probe.json" | "refs" | "ops" | "unsynced" | "locks",
            ..,
        ]
        | ["oci", "index.json" | "oci-layout"]
        | ["oci", "blobs"]
        | ["oci", "blobs", "sha256" | "sha512"]
        | ["pool", _]
        | [
            "oci" | "layers" | "pool" | "images" | "snap" | "partial" | "containers" | "volumes"
            | "removed" | "trash",
        ] => Some(Subject::Own(whole())),
        _ => None,
    };
    found.unwrap_or_else(|| Subject::Foreign(whole()))
}
