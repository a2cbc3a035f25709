//! Registry client: resolve, fetch with resume, authenticate; blocking.

#![forbid(unsafe_code)]
