//! Images to root filesystems: prepare, view, remove, and the storage modes.

#![forbid(unsafe_code)]
