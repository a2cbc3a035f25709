//! System calls rustix does not have; the only crate with unsafe code.
