//! The closed set of error classes that callers branch on, and an error as one line.

use std::error::Error;

/// What class of failure an error is, whatever crate raised it.
///
/// Every public error answers `kind()`. The faces map a kind to an exit code, an HTTP status or a
/// gRPC code; nothing branches on an error's text. The classes are containerd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named does not exist.
    NotFound,
    /// The thing named exists already.
    AlreadyExists,
    /// What was asked makes no sense whatever the state of the system.
    InvalidArgument,
    /// What was asked makes sense, but not in the present state (a running container, a used image).
    FailedPrecondition,
    /// Not permitted: by the kernel, a registry, or a rule of ours.
    PermissionDenied,
    /// The other side asks for credentials, or refused those it was given.
    Unauthenticated,
    /// The other side cannot be reached or is overloaded; the same call may succeed later.
    Unavailable,
    /// A bound in time was reached.
    Timeout,
    /// A bound in space, number or size was reached (disk, inodes, descriptors, a limit of ours).
    ResourceExhausted,
    /// Bytes that are not what they claim to be: a wrong digest, a corrupt archive, a bad record.
    DataLoss,
    /// This kernel or this build cannot do it.
    Unsupported,
    /// The operation was interrupted on purpose.
    Cancelled,
    /// Anything else: an unexpected I/O error or a bug.
    Internal,
}

impl ErrorKind {
    /// Returns the class of an I/O error by its errno.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => Self::NotFound,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory | Io::FileTooLarge => {
                Self::ResourceExhausted
            }
            Io::TimedOut => Self::Timeout,
            Io::Interrupted => Self::Cancelled,
            Io::InvalidData | Io::UnexpectedEof => Self::DataLoss,
            Io::InvalidInput => Self::InvalidArgument,
            Io::Unsupported => Self::Unsupported,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown
            | Io::NotConnected
            | Io::BrokenPipe => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// Returns an error with its causes on one line, each after a colon.
///
/// A cause that repeats the end of what is there already, as one in a transparent wrapper does, is
/// left out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error, &'static str);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.1)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let said = |text| with_causes(&Outer(io::Error::other("full"), text));
        assert_eq!(said("cannot write x"), "cannot write x: full");
        assert_eq!(said("cannot write x: full"), "cannot write x: full");
    }
}
