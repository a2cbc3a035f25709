//! The closed set of error classes that callers branch on.

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
