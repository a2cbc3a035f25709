//! Archives of images: `docker save`'s form, OCI layouts in a tar, OCI layouts as directories.
//!
//! What is here only reads: names and documents out of bytes that nobody vouches for. The result
//! is a list of [`Packed`] images, whose parts [`Files`] opens; storing them is [`crate::load`].

mod docker;
mod oci;
mod tar_index;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use lamina_types::oci::Descriptor;
use lamina_types::{Digest, ErrorKind, Platform, Reference};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::documents::{DocumentError, MAX_DOCUMENT};
pub(crate) use tar_index::{Section, TarIndex, clip};

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive's file cannot be read.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// It is not a tar archive, or a damaged one.
    #[error("read the archive as a tar")]
    Tar(#[source] io::Error),
    /// It is neither of the two forms.
    #[error("the archive has neither manifest.json nor index.json: it is no archive of images")]
    Unrecognised,
    /// It has no image at all.
    #[error("the archive holds no image")]
    Empty,
    /// It has more files than any archive of images.
    #[error("the archive has too many files")]
    TooMany,
    /// It ends within a file.
    #[error("the archive ends within {0:?}")]
    Truncated(String),
    /// Something that it names is not in it.
    #[error("the archive lacks {0:?}")]
    Missing(String),
    /// A link stands where content named by its digest must be.
    #[error("{0:?} in the archive is a link or no regular file")]
    LinkedBlob(String),
    /// A document in it is larger than any real one.
    #[error("{name:?} in the archive has {size} bytes, too many for a document")]
    TooLarge {
        /// Its name in the archive.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A document in it is not the JSON it must be.
    #[error("read {name:?} in the archive as JSON")]
    Json {
        /// Its name in the archive.
        name: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A manifest in it cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Content in it is not what its digest says.
    #[error("{name:?} in the archive is not what its digest {expected} says")]
    WrongDigest {
        /// Its name in the archive.
        name: String,
        /// The digest it is named by.
        expected: Digest,
    },
}

impl ArchiveError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(source) => ErrorKind::of_io(source),
            Self::TooMany | Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Unrecognised | Self::Empty => ErrorKind::InvalidArgument,
            Self::Document(source) => source.kind(),
            Self::Tar(_)
            | Self::Truncated(_)
            | Self::Missing(_)
            | Self::LinkedBlob(_)
            | Self::Json { .. }
            | Self::WrongDigest { .. } => ErrorKind::DataLoss,
        }
    }
}

/// The files of an archive, wherever they are.
#[derive(Debug)]
pub(crate) enum Files {
    /// In an uncompressed tar.
    Tar(TarIndex),
    /// In a directory.
    Directory(OwnedFd),
}

impl Files {
    /// Opens a directory.
    pub(crate) fn directory(path: &Path) -> Result<Self, ArchiveError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        Ok(Self::Directory(
            directory.map_err(|e| ArchiveError::Read(e.into()))?,
        ))
    }

    /// Opens a file by its name; `follow` says whether a link may stand in its place.
    ///
    /// In a directory no link is ever followed, at any depth.
    pub(crate) fn open(&self, name: &str, follow: bool) -> Result<Section, ArchiveError> {
        match self {
            Self::Tar(index) => index.open(name, follow),
            Self::Directory(directory) => open_beneath(directory, name),
        }
    }

    /// Returns whether there is a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Tar(index) => index.has(name),
            Self::Directory(directory) => open_beneath(directory, name).is_ok(),
        }
    }

    /// Reads a document.
    pub(crate) fn document(&self, name: &str, follow: bool) -> Result<Vec<u8>, ArchiveError> {
        let mut section = self.open(name, follow)?;
        let size = section.size();
        if size > MAX_DOCUMENT {
            let name = clip(name);
            return Err(ArchiveError::TooLarge { name, size });
        }
        let mut bytes = Vec::new();
        section
            .read_to_end(&mut bytes)
            .map_err(ArchiveError::Read)?;
        Ok(bytes)
    }

    /// Reads a document that is named by its digest, and checks it.
    pub(crate) fn blob_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.document(&name, false)?;
        if bytes.len() as u64 != descriptor.size
            || crate::hash::digest_like(&descriptor.digest, &bytes) != descriptor.digest
        {
            let expected = descriptor.digest.clone();
            return Err(ArchiveError::WrongDigest { name, expected });
        }
        Ok(bytes)
    }
}

/// Returns where an OCI layout keeps content.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Opens a regular file below a directory that somebody else may have written.
fn open_beneath(directory: &OwnedFd, name: &str) -> Result<Section, ArchiveError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Err(ArchiveError::Missing(clip(name))),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => {
            return Err(ArchiveError::LinkedBlob(clip(name)));
        }
        Err(error) => return Err(ArchiveError::Read(error.into())),
    };
    let mode = rustix::fs::fstat(&file)
        .map_err(|e| ArchiveError::Read(e.into()))?
        .st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err(ArchiveError::LinkedBlob(clip(name)));
    }
    Section::whole(file).map_err(ArchiveError::Read)
}

/// One image of an archive, its documents read and checked against each other.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The configuration's bytes.
    pub(crate) config: Vec<u8>,
    /// Their digest.
    pub(crate) config_digest: Digest,
    /// The manifest's bytes; Docker's form has none, and one is made when the layers are known.
    pub(crate) manifest: Option<(Descriptor, Vec<u8>)>,
    /// Where its layers are, bottom first.
    pub(crate) layers: Vec<PackedLayer>,
    /// The names it has in the archive.
    pub(crate) names: Vec<Reference>,
}

/// One layer of an image in an archive.
#[derive(Debug, Clone)]
pub(crate) struct PackedLayer {
    /// The file's name in the archive.
    pub(crate) name: String,
    /// What the manifest says of it; Docker's form says nothing.
    pub(crate) descriptor: Option<Descriptor>,
}

impl PackedLayer {
    /// Opens the layer's file.
    pub(crate) fn open(&self, files: &Files) -> Result<Section, ArchiveError> {
        files.open(&self.name, self.descriptor.is_none())
    }
}

/// Reads which images an archive holds.
///
/// An archive that has both forms, as current Docker writes, is read as an OCI layout only where
/// Docker's manifest is missing: Docker's has the names that people gave.
pub(crate) fn images(files: &Files, platform: &Platform) -> Result<Vec<Packed>, ArchiveError> {
    let images = if files.has("manifest.json") {
        docker::images(files)?
    } else if files.has("index.json") {
        oci::images(files, platform)?
    } else {
        return Err(ArchiveError::Unrecognised);
    };
    if images.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(images)
}
