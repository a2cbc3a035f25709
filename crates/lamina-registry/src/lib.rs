//! The embedded OCI registry (distribution-spec 1.1): the store's images over HTTP.
//!
//! ```text
//! server ─► connection ─► access (who, and may they) ─► route ─► blobs      GET, ranges
//!                                                              uploads    POST, PATCH, PUT
//!                                                              manifests  tags, referrers, delete
//! ```
//! It serves straight from the store's blobs and names: repository `team/app` is what the command
//! line calls `team/app`, and what is pushed is one of the store's images at once. What a
//! repository is, is lamina-image's (`Hosted`); here is HTTP, who may do what, and bytes that are
//! on their way in.
//!
//! One of the faces, and so async: one thread for connections, others for files. It knows nothing
//! of containers, prints nothing and reads no environment.
//!
//! # What a client cannot do
//!
//! Write without permission; reach a file by a path (names and digests are parsed, files are found
//! by digest); store bytes under a digest that is not theirs; hold a connection by sending or
//! reading nothing; make it hold more than a bounded number of connections, uploads and bytes.
//!
//! # Leases
//!
//! A blob that has come, or that a client was told is here, is leased until a manifest can have
//! followed (`leases`); an upload is a file without a name, so that a killed server leaves
//! nothing to clean up.

#![forbid(unsafe_code)]

mod access;
mod answer;
mod blobs;
mod body;
mod connection;
mod leases;
mod manifests;
mod route;
mod server;
mod tls;
mod uploads;

pub use access::{Access, Users, UsersError};
pub use server::{Limits, ServeError, ServerConfig, Told, serve};
pub use tls::{Tls, TlsError};
