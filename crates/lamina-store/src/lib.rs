//! Blobs, layers, refs, leases and garbage collection on disk.

#![forbid(unsafe_code)]
