//! Test support: a hermetic host, tiny and evil images, an evil registry, a leak sweep.
