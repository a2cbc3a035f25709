//! User names, passwords and tokens for registries.
//!
//! A credential is looked up by the name of the registry that the user's reference (or a mirror in
//! the configuration) has, never by what a server says it is. A source that cannot be read is an
//! error and not "no credentials": a private name must not be asked for without them, nor with
//! another's (CVE-2021-41092).

mod docker_config;
mod helper;
mod login_file;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lamina_fs::PathError;
use lamina_types::ErrorKind;

pub use docker_config::DockerConfigFiles;
pub use login_file::{Kept, LoginFile};

/// A text that messages and debug output never show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What proves to a registry who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user name.
        username: String,
        /// The password, or a personal access token.
        password: Secret,
    },
    /// A refresh token for the registry's token server (`identitytoken`).
    IdentityToken(Secret),
    /// A bearer token for the registry itself (`registrytoken`).
    RegistryToken(Secret),
}

/// Where credentials come from.
///
/// Called from any thread, at most once per registry and repository unless the registry asks
/// anew; may block for as long as a helper program is allowed to take.
pub trait Credentials: Send + Sync {
    /// Returns the credential for the repository `path` of `registry` (a domain as references
    /// have it, `docker.io`, or a mirror's `host[:port]`), if there is one.
    fn lookup(&self, registry: &str, path: &str) -> Result<Option<Credential>, CredentialsError>;
}

/// Knows one credential, and uses it for one registry.
#[derive(Debug, Clone)]
pub struct OneCredential {
    /// The registry, a domain as references have it.
    pub registry: String,
    /// What proves who we are there.
    pub credential: Credential,
}

impl Credentials for OneCredential {
    fn lookup(&self, registry: &str, _path: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok((registry == self.registry).then(|| self.credential.clone()))
    }
}

/// Knows no credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn lookup(&self, _registry: &str, _path: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(None)
    }
}

/// Why credentials could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] PathError),
    /// Another login held the file for too long.
    #[error("{} is being written by another process", .0.display())]
    Busy(PathBuf),
    /// A user name or password that the file's format cannot hold.
    #[error("{0}")]
    Unusable(&'static str),
    /// The file is not what it should be. What it holds is not repeated.
    #[error("{} is not a valid credentials file: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what, without contents.
        detail: String,
    },
    /// The helper's name cannot be part of a program's name.
    #[error("invalid credential helper name {name:?} in {}", path.display())]
    HelperName {
        /// As written.
        name: String,
        /// The file that has it.
        path: PathBuf,
    },
    /// The helper cannot be started.
    #[error("cannot run credential helper docker-credential-{name}")]
    HelperStart {
        /// Its short name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The helper failed; what it wrote is not repeated.
    #[error("credential helper docker-credential-{name} failed for {registry}: {why}")]
    HelperFailed {
        /// Its short name.
        name: String,
        /// The registry that was asked for.
        registry: String,
        /// How, without its output.
        why: String,
    },
    /// The helper did not end in time and was killed.
    #[error("credential helper docker-credential-{name} did not answer within {} s", after.as_secs())]
    HelperTimeout {
        /// Its short name.
        name: String,
        /// How long it had.
        after: Duration,
    },
}

impl CredentialsError {
    /// Returns the class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => ErrorKind::of_io(source),
            Self::Write(source) => source.kind(),
            Self::Busy(_) => ErrorKind::Timeout,
            Self::Unusable(_) | Self::Malformed { .. } | Self::HelperName { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::HelperStart { .. } | Self::HelperFailed { .. } => ErrorKind::FailedPrecondition,
            Self::HelperTimeout { .. } => ErrorKind::Timeout,
        }
    }
}
