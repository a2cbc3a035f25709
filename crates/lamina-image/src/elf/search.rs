//! Where a dynamic linker looks for libraries: ld.so(8) of glibc, and musl's path files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration file larger than this is not one.
const MAX_CONF: u64 = 1 << 20;
/// How deep `include` lines may nest.
const MAX_DEPTH: usize = 8;

/// The directories that one kind of dynamic linker searches, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// Directories named by configuration files, then the built-in ones.
    pub(crate) directories: Vec<PathBuf>,
    /// How many of `directories` come from configuration.
    pub(crate) configured: usize,
    /// A configuration file that the linker reads at run time, so the image needs it too.
    pub(crate) file: Option<PathBuf>,
}

/// Returns whether `interpreter` is musl's dynamic linker.
pub(crate) fn is_musl(interpreter: &str) -> bool {
    musl_architecture(interpreter).is_some()
}

fn musl_architecture(interpreter: &str) -> Option<&str> {
    let name = interpreter.rsplit('/').next()?;
    name.strip_prefix("ld-musl-")?.strip_suffix(".so.1")
}

impl SearchPath {
    /// Returns where `interpreter` looks on the host whose root directory is `root`.
    pub(crate) fn of(root: &Path, interpreter: Option<&str>, is_64: bool) -> Self {
        match interpreter.and_then(musl_architecture) {
            Some(architecture) => Self::musl(root, architecture),
            None => Self::glibc(root, is_64),
        }
    }

    /// musl reads `/etc/ld-musl-ARCH.path`, entries separated by newlines or colons; the file
    /// replaces the built-in list (musl ldso/dynlink.c).
    fn musl(root: &Path, architecture: &str) -> Self {
        let file = PathBuf::from(format!("/etc/ld-musl-{architecture}.path"));
        match read_text(&root.join(file.strip_prefix("/").unwrap_or(&file))) {
            Some(text) => {
                let entries = text.split(['\n', ':']).map(str::trim);
                let directories: Vec<PathBuf> = entries
                    .filter(|e| e.starts_with('/'))
                    .map(PathBuf::from)
                    .collect();
                Self {
                    configured: directories.len(),
                    directories,
                    file: Some(file),
                }
            }
            None => Self {
                directories: ["/lib", "/usr/local/lib", "/usr/lib"]
                    .map(PathBuf::from)
                    .to_vec(),
                ..Self::default()
            },
        }
    }

    /// glibc's linker reads a cache that ldconfig made from `/etc/ld.so.conf`; the configuration
    /// is read here in its place, because the cache has one library where we may want another.
    fn glibc(root: &Path, is_64: bool) -> Self {
        let mut directories = Vec::new();
        read_conf(
            root,
            Path::new("/etc/ld.so.conf"),
            MAX_DEPTH,
            &mut directories,
        );
        let configured = directories.len();
        let built_in: &[&str] = if is_64 {
            &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        } else {
            &["/lib", "/usr/lib", "/lib32", "/usr/lib32"]
        };
        directories.extend(built_in.iter().map(PathBuf::from));
        directories.extend(multiarch(root));
        let mut seen = BTreeSet::new();
        let configured = directories[..configured]
            .iter()
            .filter(|d| seen.insert((*d).clone()))
            .count();
        let mut seen = BTreeSet::new();
        directories.retain(|d| seen.insert(d.clone()));
        Self {
            directories,
            configured,
            file: None,
        }
    }
}

/// Debian's linker has `/lib/TRIPLET` and `/usr/lib/TRIPLET` built in; a library for another
/// machine found there is passed over by its ELF header.
fn multiarch(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for parent in ["lib", "usr/lib"] {
        let Ok(entries) = fs::read_dir(root.join(parent)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().contains("-linux-gnu") {
                found.push(Path::new("/").join(parent).join(name));
            }
        }
    }
    found.sort();
    found
}

/// Returns whether glibc finds libraries in `directory` without its cache.
pub(crate) fn is_built_in(directory: &Path) -> bool {
    let Ok(relative) = directory.strip_prefix("/") else {
        return false;
    };
    let relative = relative.strip_prefix("usr").unwrap_or(relative);
    let mut parts = relative
        .components()
        .map(|c| c.as_os_str().to_string_lossy());
    let lib = parts.next().is_some_and(|p| p == "lib" || p == "lib64");
    let below = parts.next();
    lib && below.is_none_or(|p| p.contains("-linux-gnu")) && parts.next().is_none()
}

/// Reads one ld.so.conf: a directory a line, `#` comments, `include PATTERN`.
fn read_conf(root: &Path, path: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    if depth == 0 {
        return;
    }
    let Some(text) = read_text(&under(root, path)) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if let Some(pattern) = line
            .strip_prefix("include")
            .filter(|r| r.starts_with([' ', '\t']))
        {
            let base = path.parent().unwrap_or(Path::new("/"));
            for file in glob(root, &base.join(pattern.trim())) {
                read_conf(root, &file, depth - 1, into);
            }
        } else if line.starts_with('/') {
            // An old form allows `DIR=TYPE`.
            let directory = line.split('=').next().unwrap_or(line);
            into.push(PathBuf::from(directory.trim_end_matches('/')));
        }
    }
}

/// Expands a pattern whose last component may hold one `*`, which is all that ld.so.conf uses.
fn glob(root: &Path, pattern: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.to_string_lossy();
    let Some((before, after)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let Ok(entries) = fs::read_dir(under(root, parent)) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let entry = entry.file_name();
            let entry = entry.to_string_lossy();
            entry.len() >= before.len() + after.len()
                && entry.starts_with(before)
                && entry.ends_with(after)
        })
        .map(|entry| parent.join(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// Returns the host path of `path` below `root`.
pub(crate) fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn read_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_CONF).read_to_string(&mut text).ok()?;
    Some(text)
}
