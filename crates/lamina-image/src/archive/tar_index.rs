//! An archive file read at random: which names it has and where their bytes are.
//!
//! Names in an archive are keys of a table and never become paths, so a hostile one reaches
//! nothing. Symbolic links, which Docker's older archives use for a layer that several images
//! share, are looked up in the same table.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

use super::ArchiveError;

/// An archive of images has a handful of files per layer.
const MAX_ENTRIES: usize = 100_000;
/// How many links may lead from a name to its file.
const MAX_LINKS: usize = 8;

/// What a name in the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File { offset: u64, size: u64 },
    Link { target: String },
}

/// The table of a tar archive's files.
#[derive(Debug)]
pub(crate) struct TarIndex {
    file: File,
    entries: HashMap<String, Entry>,
}

impl TarIndex {
    /// Reads the headers of the uncompressed archive `file`.
    pub(crate) fn read(mut file: File) -> Result<Self, ArchiveError> {
        file.rewind().map_err(ArchiveError::Read)?;
        let length = file.metadata().map_err(ArchiveError::Read)?.len();
        let mut entries = HashMap::new();
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(ArchiveError::Tar)? {
            let entry = entry.map_err(ArchiveError::Tar)?;
            if entries.len() >= MAX_ENTRIES {
                return Err(ArchiveError::TooMany);
            }
            let name = entry.path_bytes();
            let Some(name) = normal(&String::from_utf8_lossy(&name)) else {
                continue;
            };
            let kind = entry.header().entry_type();
            let found = if kind.is_file() {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(ArchiveError::Truncated(name));
                }
                Entry::File { offset, size }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target);
                let target = if kind.is_symlink() {
                    beside(&name, &target)
                } else {
                    normal(&target)
                };
                match target {
                    Some(target) => Entry::Link { target },
                    None => continue,
                }
            } else {
                continue;
            };
            entries.insert(name, found);
        }
        Ok(Self {
            file: archive.into_inner(),
            entries,
        })
    }

    /// Returns whether the archive has a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name, true).is_ok()
    }

    /// Opens a file of the archive; `follow` says whether a link may stand in its place.
    pub(crate) fn open(&self, name: &str, follow: bool) -> Result<Section, ArchiveError> {
        let (offset, size) = self.find(name, follow)?;
        let file = self.file.try_clone().map_err(ArchiveError::Read)?;
        Ok(Section {
            file,
            offset,
            left: size,
            size,
        })
    }

    fn find(&self, name: &str, follow: bool) -> Result<(u64, u64), ArchiveError> {
        let missing = || ArchiveError::Missing(clip(name));
        let mut at = normal(name).ok_or_else(missing)?;
        for _ in 0..MAX_LINKS {
            match self.entries.get(&at).ok_or_else(missing)? {
                Entry::File { offset, size } => return Ok((*offset, *size)),
                Entry::Link { target } if follow => at.clone_from(target),
                Entry::Link { .. } => return Err(ArchiveError::LinkedBlob(clip(name))),
            }
        }
        Err(missing())
    }
}

/// Shortens hostile input before it goes into a message.
pub(crate) fn clip(name: &str) -> String {
    name.chars().take(160).collect()
}

/// Returns a relative name without `.` parts; `None` for one that is absolute or has `..`.
fn normal(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|p| !matches!(*p, "" | "."))
        .collect();
    if parts.is_empty() || parts.contains(&"..") {
        return None;
    }
    Some(parts.join("/"))
}

/// Returns the name that a link `target` in the directory of `name` leads to, within the archive.
fn beside(name: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    normal(&parts.join("/"))
}

/// One file of an archive, read from its start.
#[derive(Debug)]
pub(crate) struct Section {
    file: File,
    offset: u64,
    left: u64,
    size: u64,
}

impl Section {
    /// Returns the file's length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Passes over the next `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) {
        let count = count.min(self.left);
        self.offset += count;
        self.left -= count;
    }

    /// Returns a reader of a whole file that goes on belonging to the caller.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Self::whole(file.try_clone()?)
    }

    /// Returns a reader of a whole file.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            offset: 0,
            left: size,
            size,
        })
    }
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut into[..most], self.offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(entries: &[(&str, &str, &str)]) -> Result<TarIndex, ArchiveError> {
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = Vec::new();
        for (name, link, text) in entries {
            let mut header = tar::Header::new_gnu();
            // Written past the library's own checks, as a hostile archive would be.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(if link.is_empty() {
                tar::EntryType::Regular
            } else {
                tar::EntryType::Symlink
            });
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        file.write_all(&bytes).unwrap();
        TarIndex::read(file)
    }

    fn text(index: &TarIndex, name: &str, follow: bool) -> Result<String, ArchiveError> {
        let mut text = String::new();
        let mut section = index.open(name, follow)?;
        section
            .read_to_string(&mut text)
            .map_err(ArchiveError::Read)?;
        Ok(text)
    }

    #[test]
    fn files_are_found_by_name_and_through_links() {
        let index = archive(&[
            ("./a.json", "", "one"),
            ("x/layer.tar", "", "two"),
            ("y/layer.tar", "../x/layer.tar", ""),
        ])
        .unwrap();
        assert_eq!(text(&index, "a.json", false).unwrap(), "one");
        assert_eq!(text(&index, "y/layer.tar", true).unwrap(), "two");
        assert!(matches!(
            text(&index, "y/layer.tar", false),
            Err(ArchiveError::LinkedBlob(_))
        ));
    }

    #[test]
    fn hostile_names_reach_nothing() {
        let index = archive(&[
            ("../../canary", "", "no"),
            ("/etc/passwd", "", "no"),
            ("up", "../../../etc/passwd", ""),
            ("abs", "/etc/passwd", ""),
            ("loop", "loop", ""),
        ])
        .unwrap();
        for name in [
            "../../canary",
            "/etc/passwd",
            "etc/passwd",
            "canary",
            "up",
            "abs",
            "loop",
            "",
            ".",
        ] {
            assert!(text(&index, name, true).is_err(), "{name}");
        }
    }
}
