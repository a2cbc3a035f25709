//! The one I/O error of this crate: what was being done, to which path, and why it failed.

use std::io;
use std::path::{Path, PathBuf};

use lamina_types::ErrorKind;
use rustix::io::Errno;

/// An operation on one path that failed.
#[derive(Debug, thiserror::Error)]
#[error("{act} {}", shown(path))]
pub struct PathError {
    /// What was being done: a verb, as "open" or "rename".
    pub act: &'static str,
    /// The path as a person knows it; inside a [`Root`](crate::Root), relative to that root.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Names in images are strangers' bytes and may hold what drives a terminal: one line, escaped.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text
    }
}

impl PathError {
    /// Returns the class of the failure, by its errno.
    pub fn kind(&self) -> ErrorKind {
        match self.errno() {
            Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::BUSY | Errno::NOTEMPTY) => {
                ErrorKind::FailedPrecondition
            }
            Some(Errno::XDEV) => ErrorKind::PermissionDenied,
            Some(Errno::MFILE | Errno::NFILE | Errno::MLINK) => ErrorKind::ResourceExhausted,
            Some(Errno::NAMETOOLONG) => ErrorKind::InvalidArgument,
            Some(Errno::OPNOTSUPP | Errno::NOSYS) => ErrorKind::Unsupported,
            _ => ErrorKind::of_io(&self.source),
        }
    }

    /// Returns the errno, if the failure came from the kernel.
    pub fn errno(&self) -> Option<Errno> {
        Errno::from_io_error(&self.source)
    }

    /// Returns whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Returns whether a document was to be read and something else is there: no regular file, one
    /// that is too large, or a file where its folder should be.
    pub fn is_no_document(&self) -> bool {
        let kind = self.source.kind();
        matches!(
            kind,
            io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge
        ) || matches!(
            self.errno(),
            Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR)
        )
    }

    /// Returns whether the path exists already.
    pub fn is_already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Adds what was being done, and to which path, to a failed system call.
pub trait At<T> {
    /// Turns the error into a [`PathError`]; the path is copied only on failure.
    fn at(self, act: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, act: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|error| PathError {
            act,
            path: path.as_ref().to_path_buf(),
            source: error.into(),
        })
    }
}
