//! `minimal`: an image made from the host's own programs.
//!
//! It is the embedded default, so that a machine with no registry and no set-up can run a
//! container at once. Programs and libraries are found by reading ELF headers and directories;
//! nothing is executed. What is made is an ordinary image.

mod create;
mod gather;
mod programs;
pub(crate) mod tree;
mod write;

use std::io;
use std::path::PathBuf;

use lamina_types::ErrorKind;

use crate::fault::StoreFault;
use crate::layer::UnpackError;

pub(crate) use gather::gather;
pub(crate) use write::write_layer;

/// Where the host keeps its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPaths {
    /// The host's root directory, `/`.
    pub root: PathBuf,
    /// Directories that programs are looked for in, the first that has one winning.
    pub directories: Vec<PathBuf>,
}

impl Default for HostPaths {
    /// Returns `/` and the directories where any Linux has its programs.
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            directories: gather::default_directories(),
        }
    }
}

/// Why a minimal image could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum CreateMinimalError {
    /// The host has neither a shell nor busybox.
    #[error("find a shell or busybox among the host's programs")]
    NoShell,
    /// A name given to be added is no program of the host.
    #[error("find the program {}", .0.display())]
    NoProgram(PathBuf),
    /// A program needs a library that is nowhere on the linker's search path.
    #[error("find the library {library}, needed by {}", needed_by.display())]
    Library {
        /// The program or library that needs it.
        needed_by: PathBuf,
        /// The library's name.
        library: String,
    },
    /// A path of the host cannot be read.
    #[error("read {}", path.display())]
    Host {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tar cannot be written.
    #[error("write the layer")]
    Write(#[source] io::Error),
    /// The layer cannot be brought into the store.
    #[error("unpack the layer")]
    Layer(#[source] UnpackError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreFault),
}

impl CreateMinimalError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoShell | Self::NoProgram(_) | Self::Library { .. } => ErrorKind::NotFound,
            Self::Host { source, .. } | Self::Write(source) => ErrorKind::of_io(source),
            Self::Layer(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

#[cfg(test)]
mod tests;
