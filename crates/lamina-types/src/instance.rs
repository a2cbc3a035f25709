//! What keeps several stores on one machine apart.

use std::path::Path;

/// The store that needs no suffix.
const DEFAULT_ROOT: &str = "/var/lib/lamina";

/// Returns what names of kernel objects (cgroups, links, tables) of the store at `root` end in:
/// nothing for the default store, else a dash and eight hexadecimal digits of the path's hash.
///
/// FNV-1a, because the same path must give the same name in every version and on every machine.
pub fn instance_suffix(root: &Path) -> String {
    if root == Path::new(DEFAULT_ROOT) {
        return String::new();
    }
    let hash = root
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    format!("-{hash:08x}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::instance_suffix;

    #[test]
    fn only_the_default_store_has_none() {
        assert_eq!(instance_suffix(Path::new("/var/lib/lamina")), "");
        assert_eq!(instance_suffix(Path::new("a")), "-e40c292c");
        assert_ne!(
            instance_suffix(Path::new("/a")),
            instance_suffix(Path::new("/b"))
        );
    }
}
