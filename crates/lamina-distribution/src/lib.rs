//! Fetches images from registries and pushes them there (OCI distribution-spec 1.1, Docker's
//! registry API v2).
//!
//! A [`Client`] turns a reference into a manifest ([`Client::resolve`],
//! [`Client::resolve_platform`]) and a descriptor into a stream of bytes ([`Client::blob`]); the
//! other way are [`Client::push_blob`] and [`Client::push_manifest`]. It
//! blocks; several threads share one client and its connections. Every wait is bounded.
//!
//! What comes from a registry is hostile until its digest says otherwise. Manifests are verified
//! here; of blobs this crate checks only the length, because whoever stores a blob hashes it
//! anyway, and content is hashed once.
//!
//! ```text
//! client ── manifest, blob, push, tags what is asked for
//!    │         exchange               redirects, 401s, http or https
//!    │         auth ── credentials    whom to show what
//!    │         retry                  when to ask again
//!    └─ http ── dns, tls              one connection
//! ```
//!
//! This crate reads no environment and prints nothing. It knows neither the store nor layers.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod client;
mod config;
mod credentials;
mod dns;
mod document;
mod error;
mod exchange;
mod hosts;
mod http;
mod login;
mod manifest;
#[cfg(test)]
mod properties;
mod push;
mod retry;
mod status;
mod tags;
mod tls;
mod url;

#[doc(hidden)]
pub use auth::is_known_challenge;
pub use blob::BlobStream;
pub use client::Client;
pub use config::{
    ClientConfig, DnsConfig, Mirror, OnRetry, ProxyConfig, RegistryConfig, RetryNotice,
    RetryPolicy, Timeouts,
};
pub use credentials::{
    Credential, Credentials, CredentialsError, DockerConfigFiles, Kept, LoginFile, NoCredentials,
    OneCredential, Secret,
};
pub use dns::DnsError;
pub use document::{Document, DocumentError, select_platform};
pub use error::FetchError;
pub use manifest::{ForPlatform, Resolved};
pub use push::{BlobSource, Sent, Upload};
