//! The image store people see: pull, load, import, tag, remove, the minimal image.

#![forbid(unsafe_code)]
