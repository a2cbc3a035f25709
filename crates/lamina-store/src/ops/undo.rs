//! Undoing an operation from its lines.
//!
//! Every step is idempotent and the entry is unlinked last, so a process killed in the middle
//! leaves the rest to the next open. Whatever the order of the lines, processes end first, then
//! what they used goes.

use std::path::{Component, Path, PathBuf};

use lamina_fs::{Dir, PathError, RemoveError};
use lamina_types::{ContainerId, ContainerName, ErrorKind};

use super::line::Line;
use super::{DRAFTS, cgroup, process};
use crate::area::Area;
use crate::pins;
use crate::removed;
use crate::store::Store;
use crate::trash::TrashError;

/// Why part of an operation could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// A process, file or folder could not be dealt with.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A folder could not be moved to the trash.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// A folder could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// A line names a run directory that is not one.
    #[error("remove {}: not a container's run directory", .0.display())]
    NotARunDir(PathBuf),
}

impl UndoError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Trash(error) => error.kind(),
            Self::Remove(error) => error.kind(),
            Self::NotARunDir(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// Undoes what the lines name; goes on after a failure and returns every error.
pub(super) fn undo(store: &Store, name: &str, lines: &[Line]) -> Vec<UndoError> {
    let published = lines.contains(&Line::Published);
    let mut ordered: Vec<&Line> = lines
        .iter()
        .filter(|line| !(published && outlives_a_run(line)))
        .collect();
    ordered.sort_by_key(|line| rank(line));
    let mut errors: Vec<UndoError> = ordered
        .into_iter()
        .filter_map(|line| undo_line(store, line).err())
        .collect();
    let drafts = store
        .dir(Area::Ops)
        .and_then(|ops| store.trash(ops, format!("{name}{DRAFTS}")));
    errors.extend(drafts.err().map(UndoError::from));
    errors
}

/// Returns whether a line names a part of the container itself rather than of its run.
fn outlives_a_run(line: &Line) -> bool {
    match line {
        Line::Name { .. } | Line::Container(_) | Line::Volume(_) | Line::Snapshot(_) => true,
        Line::Process { .. }
        | Line::Cgroup(_)
        | Line::Frozen(_)
        | Line::RunDir(_)
        | Line::Published => false,
        Line::Removal(_)
        | Line::Renaming { .. }
        | Line::Blob(_)
        | Line::Layer(_)
        | Line::Image(_)
        | Line::Objects(_)
        | Line::UsesVolume(_)
        | Line::Pool => false,
    }
}

fn rank(line: &Line) -> u8 {
    match line {
        Line::Process { .. } => 0,
        Line::Cgroup(_) | Line::Frozen(_) => 1,
        Line::RunDir(_) => 2,
        Line::Name { .. } | Line::Renaming { .. } => 3,
        Line::Container(_) | Line::Volume(_) => 4,
        Line::Snapshot(_) => 5,
        Line::Removal(_) => 6,
        Line::Blob(_)
        | Line::Layer(_)
        | Line::Image(_)
        | Line::Objects(_)
        | Line::Pool
        | Line::UsesVolume(_)
        | Line::Published => 7,
    }
}

fn undo_line(store: &Store, line: &Line) -> Result<(), UndoError> {
    match line {
        Line::Process {
            pid,
            start_time,
            boot_id,
        } => {
            if boot_id == store.boot().as_str() {
                process::kill(*pid, *start_time)?;
            }
        }
        Line::Cgroup(path) => cgroup::remove(path)?,
        Line::Frozen(path) => cgroup::thaw(path)?,
        Line::RunDir(path) => remove_run_dir(path)?,
        Line::Name { name, container } => remove_name(store, name, container)?,
        Line::Renaming { container, names } => {
            // Where the record cannot be read, both stay: nobody else can take them.
            let kept = pins::name_of(store, container)?;
            for name in names {
                if kept.as_ref().is_some_and(|kept| kept != name) {
                    remove_name(store, name, container)?;
                }
            }
        }
        Line::Container(id) => {
            store.discard(store.dir(Area::Containers)?, id.as_str())?;
        }
        Line::Volume(name) => {
            // Anonymous names have the form of a container's id: random and never used again.
            if name.parse::<ContainerId>().is_ok() {
                store.trash(store.dir(Area::Volumes)?, name)?;
            }
        }
        // What was written into it may be large: unlinked with the rest of the trash.
        Line::Snapshot(id) => {
            store.trash(store.dir(Area::Snap)?, id.as_str())?;
        }
        Line::Removal(id) => removed::settle(store, id)?,
        // Objects are complete and verified: they stay until they are collected.
        Line::Blob(_)
        | Line::Layer(_)
        | Line::Image(_)
        | Line::Objects(_)
        | Line::Pool
        | Line::UsesVolume(_)
        | Line::Published => {}
    }
    Ok(())
}

/// Removes `…/containers/<id>`; the path comes from a file, so its form is checked.
fn remove_run_dir(path: &Path) -> Result<(), UndoError> {
    let refuse = || UndoError::NotARunDir(path.to_path_buf());
    let plain = path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let id = path.file_name().and_then(|name| name.to_str());
    let parent = path
        .parent()
        .filter(|parent| parent.ends_with("containers"));
    let (true, Some(id), Some(parent)) = (plain, id, parent) else {
        return Err(refuse());
    };
    if id.parse::<ContainerId>().is_err() {
        return Err(refuse());
    }
    match Dir::open(parent) {
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(parent) => Ok(parent.remove_tree(id)?),
    }
}

/// Removes a name if it still leads to the container; it may have been taken again since.
pub(crate) fn remove_name(
    store: &Store,
    name: &ContainerName,
    container: &ContainerId,
) -> Result<(), PathError> {
    let names = store.dir(Area::Names)?;
    let target = match rustix::fs::readlinkat(names, name.as_str(), Vec::new()) {
        Ok(target) => target.into_bytes(),
        // Not a link, or none: nothing that this operation made.
        Err(_) => return Ok(()),
    };
    let leads_to = target.rsplit(|byte| *byte == b'/').next();
    if leads_to != Some(container.as_str().as_bytes()) {
        return Ok(());
    }
    match names.unlink(name.as_str()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
