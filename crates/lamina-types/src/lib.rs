//! The nouns every other crate speaks: ids, digests, image references, platforms, OCI documents,
//! mounts, root filesystems and error kinds.
//!
//! Nothing here does I/O, and nothing here knows where things are kept. A value of one of these
//! types has been checked: a [`Digest`] names a hash, a [`Reference`] is normalised as Docker's,
//! a [`ContainerId`] is 64 hexadecimal digits.

#![forbid(unsafe_code)]

mod digest;
mod error;
pub mod explain;
mod healthcheck;
mod id;
mod instance;
mod limits;
pub mod mount;
pub mod oci;
mod platform;
mod process;
pub mod quantity;
mod reference;
mod restart;
mod rootfs;
mod signal;
mod user;

pub use digest::{Algorithm, DiffId, Digest, DigestError, ImageId};
pub use error::{ErrorKind, with_causes};
pub use healthcheck::{Healthcheck, OnFailure, OnFailureError};
pub use id::{ContainerId, ContainerName, IdError, NameError};
pub use instance::instance_suffix;
pub use limits::{DeviceError, DeviceSpec, Ulimit, UlimitError};
pub use platform::{Platform, PlatformError};
pub use process::Resources;
pub use reference::{Reference, ReferenceError};
pub use restart::{RestartPolicy, RestartPolicyError};
pub use rootfs::{Rootfs, Source};
pub use signal::{Signal, SignalError};
pub use user::{NameOrId, UserError, UserSpec};
