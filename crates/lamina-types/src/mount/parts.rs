//! The parts of a mount's specification: targets, volume names, paths within a volume.

use std::path::{Component, Path, PathBuf};

use super::parse::MountError;

/// Checks and cleans the path of a mount in the container.
pub(super) fn parse_target(text: &str) -> Result<PathBuf, MountError> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(MountError::Target(clip(text)));
    }
    let target = clean(Path::new(text));
    if target == Path::new("/") {
        return Err(MountError::TargetRoot);
    }
    Ok(target)
}

/// A part of a volume is in it: no root, no way up.
pub(super) fn parse_subpath(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_));
    inside.then(|| path.components().filter(named).collect())
}

/// Splits `key[=value]`.
pub(super) fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Volume names become directories, so the grammar has no slash and no leading dot.
pub(super) fn parse_volume_name(text: &str) -> Result<String, MountError> {
    let bytes = text.as_bytes();
    let head = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    let tail = bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
    if head && tail && (2..=255).contains(&bytes.len()) {
        Ok(text.to_owned())
    } else {
        Err(MountError::VolumeName(clip(text)))
    }
}

/// Cleans an absolute path lexically, as Go's `filepath.Clean`: no `.`, no `..`, no doubled or
/// trailing slash.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

pub(super) fn clip(text: &str) -> String {
    text.chars().take(160).collect()
}
