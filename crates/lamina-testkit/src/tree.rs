//! Trees described entry by entry, to compare what two programs made of the same input.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, read_link};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

/// Every entry below a folder, by its path relative to it; the folder itself is `.`.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// What an entry is, as far as an image can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: (u32, u32),
    /// Modification time in nanoseconds since 1970.
    pub mtime: i128,
    /// Size and number of links; `None` for directories, whose values are the filesystem's own.
    pub size_and_links: Option<(u64, u64)>,
    /// Extended attributes but for overlayfs's own.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The target of a symlink, the SHA-256 of a file, the numbers of a device.
    pub content: String,
}

/// Describes a tree, without going into what is mounted below it.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    // The slash follows a link such as `/proc/PID/root`.
    let device = root
        .join(".")
        .metadata()
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .dev();
    walk(root, device, Path::new("."), &mut tree);
    tree
}

fn walk(root: &Path, device: u64, relative: &Path, tree: &mut Tree) {
    let path = root.join(relative);
    let metadata = path
        .symlink_metadata()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    tree.insert(relative.to_path_buf(), entry(&path, &metadata));
    if metadata.is_dir() && metadata.dev() == device {
        let entries = path
            .read_dir()
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for name in entries.map(|entry| entry.expect("an entry").file_name()) {
            let below = if relative == Path::new(".") {
                name.into()
            } else {
                relative.join(name)
            };
            walk(root, device, &below, tree);
        }
    }
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    let content = match FileType::from_raw_mode(metadata.mode()) {
        FileType::RegularFile => hash(path),
        FileType::Symlink => read_link(path)
            .expect("a link")
            .to_string_lossy()
            .into_owned(),
        FileType::CharacterDevice | FileType::BlockDevice => {
            format!("device {:x}", metadata.rdev())
        }
        _ => String::new(),
    };
    Entry {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        mtime: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size_and_links: (!metadata.is_dir()).then(|| (metadata.len(), metadata.nlink())),
        xattrs: xattrs(path),
        content,
    }
}

fn hash(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file
            .read(&mut buffer)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        {
            0 => return data_encoding::HEXLOWER.encode(&hash.finalize()),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 1 << 16];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0_u8; 1 << 16];
        if !name.starts_with("trusted.overlay.") {
            let length = lgetxattr(path, &name, &mut value[..]).unwrap_or(0);
            found.insert(name, value[..length].to_vec());
        }
    }
    found
}

/// Returns what differs, one line an entry, at most `most` lines; `skip` leaves paths out.
pub fn differences(
    one: &Tree,
    other: &Tree,
    most: usize,
    skip: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let paths: std::collections::BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    paths
        .into_iter()
        .filter(|path| !skip(path))
        .filter_map(|path| match (one.get(path), other.get(path)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) => Some(format!("{}: {a:?} is not {b:?}", path.display())),
            (Some(_), None) => Some(format!("{}: only in the first", path.display())),
            (None, _) => Some(format!("{}: only in the second", path.display())),
        })
        .take(most)
        .collect()
}
