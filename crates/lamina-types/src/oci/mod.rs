//! OCI image documents, as far as lamina reads them.
//!
//! Own structs and not a library's: Docker's fields (`Healthcheck`, `Shell`, `OnBuild`) must
//! survive a round trip. Whoever stores or forwards a document keeps its **raw bytes** and their
//! digest; these types are for reading, and for writing documents that are ours.

mod config;
mod manifest;

pub use config::{Config, HistoryEntry, ImageConfig, RootfsSection};
pub use manifest::{Descriptor, Index, Manifest, media};
