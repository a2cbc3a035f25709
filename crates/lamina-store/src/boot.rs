//! The identity of the running boot.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lamina_fs::{At, PathError};

/// `boot_id` of proc_sys_kernel(5): a random UUID that is made at every boot.
///
/// A pid, a start time or an unsynced page belongs to one boot only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(String);

const PATH: &str = "/proc/sys/kernel/random/boot_id";

impl BootId {
    /// Reads the identity of the running boot.
    pub fn current() -> Result<Self, PathError> {
        let path = Path::new(PATH);
        let mut text = String::with_capacity(37);
        File::open(path)
            .and_then(|file| file.take(64).read_to_string(&mut text))
            .at("read", path)?;
        Ok(Self(text.trim_end().to_owned()))
    }

    /// Returns the UUID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
