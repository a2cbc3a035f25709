//! The same out of a merged image: a few reads of its file, and of the pool for longer files.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lamina_erofs::{Content, Found, Image, ReadError};
use lamina_fs::{At, Dir, PathError};
use rustix::fs::{Mode, OFlags};

use super::LIMIT;
use crate::users::Accounts;

/// Reads both files; `None` where there is something that only overlayfs should interpret.
pub(super) fn read(file: &Path, data: &Path) -> Result<Option<Accounts>, PathError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = File::from(rustix::fs::open(file, flags, Mode::empty()).at("open", file)?);
    match accounts(&opened, data) {
        Ok(found) => found,
        // The kernel will say it better.
        Err(_) => Ok(None),
    }
}

type Accounted = Result<Option<Accounts>, PathError>;

fn accounts(file: &File, data: &Path) -> Result<Accounted, ReadError> {
    let image = Image::open(file)?;
    let Some(etc) = image.lookup(&image.root()?, b"etc")? else {
        return Ok(Ok(Some(Accounts::default())));
    };
    if etc.content != Content::Directory {
        return Ok(Ok(None));
    }
    let mut accounts = Accounts::default();
    for (name, into) in [
        ("passwd", &mut accounts.passwd),
        ("group", &mut accounts.group),
    ] {
        let Some(found) = image.lookup(&etc, name.as_bytes())? else {
            continue;
        };
        match content(&image, &found, data)? {
            Ok(Some(bytes)) => *into = bytes,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Some(accounts)))
}

fn content(
    image: &Image<'_, File>,
    found: &Found,
    data: &Path,
) -> Result<Result<Option<Vec<u8>>, PathError>, ReadError> {
    match &found.content {
        Content::File => Ok(Ok(Some(image.read(found, LIMIT)?))),
        Content::External { object } => {
            let object = object.strip_prefix(b"/").unwrap_or(object);
            let bytes =
                Dir::open(data).and_then(|pool| pool.read(OsStr::from_bytes(object), LIMIT));
            Ok(bytes.map(Some))
        }
        _ => Ok(Ok(None)),
    }
}
