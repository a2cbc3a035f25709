//! The payloads that are documents.

use std::borrow::Cow;
use std::path::PathBuf;

use lamina_types::{ErrorKind, with_causes};
use serde::{Deserialize, Serialize};

/// What a client that cleans up leaves to be unlinked: nobody finds it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// Absolute paths of files and folders, removed in this order.
    pub trees: Vec<PathBuf>,
    /// The entry of the operation that removes the container, removed last.
    pub entry: PathBuf,
}

/// Why a container could not be created or started, as told to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code a command ends with: 125 for ours, 126 and 127 as a shell's.
    pub code: u8,
    /// What went wrong, the causes after colons.
    pub message: String,
    kind: Cow<'static, str>,
}

impl Failure {
    /// Describes an error with all its causes. The message is cut at 4 KiB.
    pub fn new(code: u8, kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        Self::text(code, kind, with_causes(error))
    }

    /// Describes a failure in words.
    pub fn text(code: u8, kind: ErrorKind, mut message: String) -> Self {
        if message.len() > 4096 {
            let end = (0..=4096).rev().find(|i| message.is_char_boundary(*i));
            message.truncate(end.unwrap_or(0));
        }
        Self {
            code,
            message,
            kind: name_of(kind).into(),
        }
    }

    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        let known = KINDS.iter().find(|(_, name)| *name == self.kind);
        known.map_or(ErrorKind::Internal, |(kind, _)| *kind)
    }
}

/// The names of the classes on the wire; a class a newer side invented reads as internal.
const KINDS: &[(ErrorKind, &str)] = &[
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::AlreadyExists, "already-exists"),
    (ErrorKind::InvalidArgument, "invalid-argument"),
    (ErrorKind::FailedPrecondition, "failed-precondition"),
    (ErrorKind::PermissionDenied, "permission-denied"),
    (ErrorKind::Unauthenticated, "unauthenticated"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Timeout, "timeout"),
    (ErrorKind::ResourceExhausted, "resource-exhausted"),
    (ErrorKind::DataLoss, "data-loss"),
    (ErrorKind::Unsupported, "unsupported"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::Internal, "internal"),
];

fn name_of(kind: ErrorKind) -> &'static str {
    let known = KINDS.iter().find(|(other, _)| *other == kind);
    known.map_or("internal", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_survive_the_wire() {
        for (kind, _) in KINDS {
            let sent = Failure::text(126, *kind, "x".repeat(5000));
            let json = serde_json::to_vec(&sent).unwrap();
            let got: Failure = serde_json::from_slice(&json).unwrap();
            assert_eq!(
                (got.kind(), got.code, got.message.len()),
                (*kind, 126, 4096)
            );
        }
    }
}
