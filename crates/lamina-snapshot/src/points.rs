//! What every container mounts onto, in every mode.

/// Directories, parents first.
pub(crate) const DIRECTORIES: [&str; 7] = [
    "dev",
    "dev/mqueue",
    "dev/pts",
    "dev/shm",
    "etc",
    "proc",
    "sys",
];
/// Files in them.
pub(crate) const FILES: [&str; 4] = [
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];
