//! Writing a tar, deterministically.
