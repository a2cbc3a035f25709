//! Container lifecycle: where image, snapshot and monitor meet.

#![forbid(unsafe_code)]

mod request;

pub use request::{
    CreateRequest, IsolationRequest, NamespaceMode, NetworkMode, ProcessRequest, PullPolicy,
    SeccompMode,
};
