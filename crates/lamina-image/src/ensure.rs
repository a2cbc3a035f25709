//! `run`'s question: have the image here, whatever that takes.

use lamina_distribution::Client;
use lamina_types::{ErrorKind, Platform, Reference};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::{Image, Images};
use crate::minimal::{CreateMinimalError, HostPaths};
use crate::progress::Progress;
use crate::pull::PullError;

/// The name of the built-in image.
pub const MINIMAL: &str = "docker.io/library/minimal:latest";

/// When the registry is asked for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every time.
    Always,
    /// Only if the image is not here.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// What an image is wanted for and where it may come from.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// When to ask the registry.
    pub policy: Policy,
    /// The platform, if it was asked for by name.
    pub platform: Option<&'a Platform>,
    /// Where the host keeps the programs of the built-in image.
    pub host: &'a HostPaths,
    /// Makes the client; only called when the registry has to be asked.
    pub client: &'a dyn Fn() -> Result<Client, lamina_distribution::FetchError>,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("reference", &self.reference)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Why an image is not here.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// It is not, or it is damaged, and the registry is not to be asked.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It could not be pulled.
    #[error(transparent)]
    Pull(Box<PullError>),
    /// The built-in image could not be made.
    #[error("make the built-in image")]
    Minimal(#[from] CreateMinimalError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl From<PullError> for EnsureError {
    fn from(error: PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}

impl EnsureError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::Pull(source) => source.kind(),
            Self::Minimal(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Returns the image, complete: found here, made from the host's programs, or pulled.
    ///
    /// An image that is here costs three small reads and one look per layer.
    pub fn ensure(&self, wanted: &Wanted<'_>) -> Result<Image, EnsureError> {
        if wanted.policy != Policy::Always {
            match self.usable(wanted) {
                Ok(image) => return Ok(image),
                Err(EnsureError::Find(FindError::NotFound(_))) if is_minimal(wanted.reference) => {
                    self.create_minimal(wanted.reference, wanted.host, &[])?;
                    return Ok(self.find_reference(wanted.reference)?);
                }
                Err(error) if wanted.policy == Policy::Never => return Err(error),
                Err(EnsureError::Find(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let client = (wanted.client)().map_err(|source| PullError::Fetch {
            reference: wanted.reference.familiar(),
            source: Box::new(source),
        })?;
        let pulled = self.pull(&client, wanted.reference, wanted.platform, wanted.progress)?;
        Ok(pulled.image)
    }

    /// Returns the image if it is here, whole, and for the platform.
    fn usable(&self, wanted: &Wanted<'_>) -> Result<Image, EnsureError> {
        let image = self.find_reference(wanted.reference)?;
        let fits = |platform| image.platform().rank_for(platform).is_some();
        if wanted.platform.is_none_or(fits)
            && (self.is_complete(&image)? || self.complete(&image, wanted.progress))
        {
            return Ok(image);
        }
        // What is here cannot be used: for `run` that is the same as not being here.
        Err(FindError::Unusable(wanted.reference.familiar()).into())
    }
}

fn is_minimal(reference: &Reference) -> bool {
    reference.to_string() == MINIMAL
}
