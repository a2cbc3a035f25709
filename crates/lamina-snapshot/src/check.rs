//! `fsck` of what is generated per image: it is made once more and compared.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use lamina_fs::{Dir, PathError};
use lamina_store::{Area, Store, image_key};
use lamina_types::DiffId;
use rustix::fs::{FileType, OFlags, Stat};

use crate::snapshotter::PrepareError;
use crate::{erofs, plain};

/// Compares what has been generated of an image with what its layers give now. Returns what
/// differs, by file name, with the reason. Changes nothing.
///
/// The layers should have been found good: an error is mostly theirs.
pub fn check_generated(
    store: &Store,
    diff_ids: &[DiffId],
) -> Result<Vec<(String, String)>, PrepareError> {
    let images = store.dir(Area::Images)?;
    let key = image_key(diff_ids);
    let mut wrong = Vec::new();
    for entry in images.entries()? {
        let Some(name) = entry.name.to_str() else {
            continue;
        };
        let Some(kind) = name
            .strip_prefix(&key)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        let differs = if kind.ends_with("erofs") {
            erofs::differs(store, name, kind, diff_ids)?
        } else {
            plain::differs(store, name, kind, diff_ids)?
        };
        wrong.extend(differs.map(|reason| (name.to_owned(), reason)));
    }
    Ok(wrong)
}

/// A writer that compares what it is given with a file.
pub(crate) struct Compared<'f> {
    file: &'f File,
    at: u64,
    same: bool,
}

impl<'f> Compared<'f> {
    pub(crate) fn new(file: &'f File) -> BufWriter<Self> {
        BufWriter::with_capacity(
            256 << 10,
            Self {
                file,
                at: 0,
                same: true,
            },
        )
    }

    /// Returns whether the file has what was written and no more.
    pub(crate) fn is_same(writer: BufWriter<Self>) -> io::Result<bool> {
        let this = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(this.same && this.file.metadata()?.len() == this.at)
    }
}

impl Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut found = vec![0; bytes.len()];
        match self.file.read_exact_at(&mut found, self.at) {
            Ok(()) => self.same &= found == bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.same = false,
            Err(error) => return Err(error),
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the first path in which two generated trees differ: names, kinds, owners, modes, and the
/// times of directories.
pub(crate) fn first_difference(found: &Dir, expected: &Dir) -> Result<Option<String>, PathError> {
    let mut waiting = vec![(found.try_clone()?, expected.try_clone()?, String::new())];
    while let Some((found, expected, path)) = waiting.pop() {
        let names = |dir: &Dir| -> Result<Vec<_>, PathError> {
            let mut names: Vec<_> = dir.entries()?.into_iter().map(|entry| entry.name).collect();
            names.sort();
            Ok(names)
        };
        if names(&found)? != names(&expected)? {
            return Ok(Some(format!("/{path}")));
        }
        for name in names(&expected)? {
            let below = format!("{path}{}", name.to_string_lossy());
            let (one, other) = (found.stat(&name)?, expected.stat(&name)?);
            if !is_alike(&one, &other) {
                return Ok(Some(format!("/{below}")));
            }
            if FileType::from_raw_mode(other.st_mode) == FileType::Directory {
                let open = |dir: &Dir, name: &OsStr| dir.open_at(name);
                let next = (open(&found, &name)?, open(&expected, &name)?);
                waiting.push((next.0, next.1, below + "/"));
            }
        }
    }
    Ok(None)
}

fn is_alike(one: &Stat, other: &Stat) -> bool {
    let fixed = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let directory = FileType::from_raw_mode(other.st_mode) == FileType::Directory;
    // A generated file has the time of its making.
    let rest = |stat: &Stat| match directory {
        true => (stat.st_mtime, stat.st_mtime_nsec),
        false => (stat.st_size, 0),
    };
    fixed(one) == fixed(other) && rest(one) == rest(other)
}

/// Opens a generated file; `None` for what is none.
pub(crate) fn open_file(images: &Dir, name: &str) -> Result<Option<File>, PathError> {
    let file = images.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = rustix::fs::fstat(file.as_fd());
    let stat = lamina_fs::At::at(stat, "stat", images.path().join(name))?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(regular.then_some(file))
}
