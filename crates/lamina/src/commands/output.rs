//! Archives on stdout or in a file (`-o`).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability, PathError};
use lamina_types::ErrorKind;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Returns the failure of a path.
fn path_failure(error: PathError) -> Failure {
    let kind = error.kind();
    Failure::new(error, kind)
}

/// Standard output as a file: an archive is no text with lines.
pub(crate) fn stdout() -> Outcome<File> {
    let fd = io::stdout().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|error| {
        let kind = ErrorKind::of_io(&error);
        Failure::new(error, kind)
    })?;
    Ok(fd.into())
}

/// Where an archive goes.
pub(crate) struct Output {
    file: File,
    place: Option<Place>,
}

impl Output {
    /// Opens the file of `-o`, or stdout, unless that is a terminal.
    pub(crate) fn open(app: &App, path: Option<&Path>, hint: &str) -> Outcome<Self> {
        let Some(path) = path else {
            if ui::out_is_terminal() {
                let refusal = "cowardly refusing to save to a terminal";
                return Err(Failure::said(ErrorKind::InvalidArgument, refusal).hint(hint));
            }
            let file = stdout()?;
            return Ok(Self { file, place: None });
        };
        let place = Place::find(&app.working_directory()?.join(path))?;
        Ok(Self {
            file: place.file().map_err(path_failure)?,
            place: Some(place),
        })
    }

    /// Returns what is written to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Says that it is whole: a file then gets its name.
    pub(crate) fn finish(self) -> Outcome {
        match self.place {
            Some(place) => place.fill(&self.file).map_err(path_failure),
            None => Ok(()),
        }
    }
}

/// A file that appears when it is whole: what was there stays until then.
struct Place {
    folder: Dir,
    name: PathBuf,
}

impl Place {
    /// Checks the path before anything begins, as Docker does.
    fn find(path: &Path) -> Outcome<Self> {
        let bad = |text: String| Failure::said(ErrorKind::InvalidArgument, text);
        let shown = path.display();
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(bad(format!("invalid output path: {shown} is no file")));
        };
        let folder = match Dir::open(folder) {
            Err(error) if error.is_not_found() => {
                let folder = folder.display();
                return Err(bad(format!(
                    "invalid output path: directory \"{folder}\" does not exist"
                )));
            }
            other => other.map_err(path_failure)?,
        };
        match path.metadata() {
            Ok(there) if there.is_dir() => Err(bad(format!(
                "invalid output path: \"{shown}\" is a directory"
            ))),
            Ok(there) if !there.is_file() => Err(bad(format!(
                "invalid output path: \"{shown}\" is no regular file"
            ))),
            _ => Ok(Self {
                folder,
                name: name.into(),
            }),
        }
    }

    /// Returns the file, which has no name yet.
    fn file(&self) -> Result<File, PathError> {
        self.folder.unnamed_file(0o600)
    }

    /// Gives the file its name, in the place of what had it.
    fn fill(&self, file: &File) -> Result<(), PathError> {
        match self.folder.publish(file, &self.name) {
            Err(error) if error.is_already_exists() => {
                let pid = rustix::process::getpid().as_raw_nonzero();
                let temporary = format!(".lamina-save.{pid}");
                let _ = self.folder.unlink(&temporary);
                self.folder.publish(file, &temporary)?;
                let (from, to) = (&self.folder, &self.folder);
                from.rename_to(&temporary, to, &self.name, Durability::Volatile)
            }
            other => other,
        }
    }
}
