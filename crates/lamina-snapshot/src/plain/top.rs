//! The generated top lower of an image: `images/<key>.top/` and `images/<key>.view/`.
//!
//! Two things about a stack of layers are wrong without it:
//!
//! - A layer's tar need not describe the parents of its entries. Unpacked alone they get made-up
//!   metadata, and stacked these hide the real ones: a layer with only `tmp/f` turns `/tmp` from
//!   1777 into 0755. The top repeats such directories with the metadata of the nearest layer that
//!   describes them.
//! - A container needs `/proc`, `/dev`, `/etc/hosts` … to mount onto. They come from the top, so
//!   that the writable layer holds only what the container wrote, and an image whose `/etc` is a
//!   link to somewhere gets a real one instead. Where the image has such a directory the top's has
//!   its metadata, and its content shows through.
//!
//! Generated once per list of layers, published by one rename. Nothing in it is data, so the
//! journal's order is enough for it to survive a power cut whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use lamina_store::{Area, Store};
use lamina_types::DiffId;
use rustix::fs::Timespec;

use super::stack::{Merged, Stack};
use super::{GENERATED, publish};
use crate::check::first_difference;
use crate::metadata;
use crate::points::{DIRECTORIES, FILES};
use crate::snapshotter::{ImageKind, PrepareError};

/// A generated mount point has no time of its own.
const EPOCH: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A generated top.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) dir: PathBuf,
    /// How many layers, from the bottom, are hidden by one with an opaque root.
    pub(super) hidden: usize,
}

/// Returns the top of an image, generating it if it is missing. Idempotent; of several processes
/// one publishes.
pub(super) fn ensure(
    store: &Store,
    key: &str,
    diff_ids: &[DiffId],
    kind: ImageKind,
) -> Result<Top, PrepareError> {
    let images = store.dir(Area::Images)?;
    let suffix = match kind {
        ImageKind::Container => "top",
        ImageKind::View => "view",
    };
    // Hidden layers are rare enough to be part of the name, which spares reading a file.
    let find = |hidden: usize| -> Result<Option<Top>, PathError> {
        let name = name(key, suffix, hidden);
        Ok(images.exists(&name)?.then(|| Top {
            dir: images.path().join(&name).join(TREE),
            hidden,
        }))
    };
    if let Some(top) = find(0)? {
        return Ok(top);
    }
    let stack = Stack::open(store, diff_ids)?;
    if stack.hidden > 0
        && let Some(top) = find(stack.hidden)?
    {
        return Ok(top);
    }
    let op = store.ops().begin("generate", &[])?;
    let draft = op.draft()?;
    build(&stack, &draft.dir().mkdir(TREE, 0o755)?, kind)?;
    let name = name(key, suffix, stack.hidden);
    publish(store, draft, &name)?;
    op.finish()?;
    Ok(Top {
        dir: images.path().join(name).join(TREE),
        hidden: stack.hidden,
    })
}

/// The tree itself, so that the published folder is never empty.
const TREE: &str = "tree";

fn name(key: &str, suffix: &str, hidden: usize) -> String {
    match hidden {
        0 => format!("{key}.{suffix}"),
        hidden => format!("{key}.{suffix}-{hidden}"),
    }
}

/// Says what is wrong with a top that is here.
pub(crate) fn differs(
    store: &Store,
    file: &str,
    suffix: &str,
    diff_ids: &[DiffId],
) -> Result<Option<String>, PrepareError> {
    let kind = match suffix.split('-').next() {
        Some("top") => ImageKind::Container,
        Some("view") => ImageKind::View,
        _ => return Ok(None),
    };
    let found = match store.dir(Area::Images)?.open_at(Path::new(file).join(TREE)) {
        Err(error) if error.is_not_found() || error.is_no_document() => {
            return Ok(Some("it has no tree".to_owned()));
        }
        other => other?,
    };
    let stack = Stack::open(store, diff_ids)?;
    let key = lamina_store::image_key(diff_ids);
    if file
        != name(
            &key,
            suffix.split('-').next().unwrap_or(suffix),
            stack.hidden,
        )
    {
        return Ok(Some(
            "other layers are hidden than its name says".to_owned(),
        ));
    }
    let op = store.ops().begin("check", &[])?;
    let draft = op.draft()?;
    let expected = draft.dir().mkdir(TREE, 0o755)?;
    build(&stack, &expected, kind)?;
    let differs = first_difference(&found, &expected)?;
    op.finish()?;
    Ok(differs.map(|path| format!("{path} is not what its layers give")))
}

/// Fills an empty directory.
fn build(stack: &Stack, tree: &Dir, kind: ImageKind) -> Result<(), PathError> {
    let wanted = directories(stack, kind)?;
    let mut made = Vec::new();
    for (path, merged) in &wanted {
        let dir = if path.as_os_str().is_empty() {
            tree.try_clone()?
        } else {
            make(tree, path)?
        };
        if let Some(merged) = merged {
            metadata::copy(&merged.metadata, &dir)?;
        }
        made.push((dir, merged));
    }
    if kind == ImageKind::Container {
        for file in FILES {
            let (parent, name) = file.split_once('/').unwrap_or(("", file));
            tree.open_at(parent)?
                .create_exclusive(name, b"", 0o644, GENERATED)?;
        }
    }
    // Making children changed the times of their parents.
    for (dir, merged) in &made {
        match merged {
            Some(merged) => metadata::copy_times(&merged.metadata, dir)?,
            None => metadata::set_times(dir, EPOCH, EPOCH)?,
        }
    }
    Ok(())
}

fn make(tree: &Dir, path: &Path) -> Result<Dir, PathError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => tree.open_at(parent)?,
        _ => tree.try_clone()?,
    };
    match path.file_name() {
        Some(name) => parent.mkdir(name, 0o755),
        None => Err(rustix::io::Errno::INVAL).at("create directory", tree.path().join(path)),
    }
}

/// Returns what the top has, parents first, each with whose metadata it gets.
fn directories(
    stack: &Stack,
    kind: ImageKind,
) -> Result<BTreeMap<PathBuf, Option<Merged>>, PathError> {
    let mut wanted = BTreeMap::new();
    let mut add = |path: &Path| -> Result<(), PathError> {
        for path in path.ancestors().chain([Path::new("")]) {
            if !wanted.contains_key(path) {
                wanted.insert(path.to_path_buf(), stack.directory(path)?);
            }
        }
        Ok(())
    };
    add(Path::new(""))?;
    for path in stack.implied() {
        if stack
            .directory(&path)?
            .is_some_and(|merged| merged.needs_restoring)
        {
            add(&path)?;
        }
    }
    if kind == ImageKind::Container {
        for path in DIRECTORIES {
            add(Path::new(path))?;
        }
    }
    Ok(wanted)
}
