//! `save`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability, PathError};
use lamina_image::{ArchiveFormat, SaveOptions};
use lamina_types::{ErrorKind, Platform};

use crate::app::App;
use crate::args::{ProgressArg, SaveArgs};
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Progress};

impl Verb for SaveArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = self.options()?;
        let (file, output) = match &self.output {
            Some(path) => {
                let output = Output::create(&app.working_directory()?.join(path))?;
                (output.file().map_err(path_failure)?, Some(output))
            }
            None if ui::out_is_terminal() => {
                return Err(Failure::said(
                    ErrorKind::InvalidArgument,
                    "cowardly refusing to save to a terminal",
                )
                .hint("lamina save -o FILE IMAGE, or lamina save IMAGE > FILE"));
            }
            None => (stdout()?, None),
        };
        let engine = app.engine()?;
        let progress = Progress::new(ProgressArg::Auto, app.environment.fancy());
        let saved = engine
            .images()
            .save(&self.images, &options, &file, &progress);
        drop(progress);
        saved.map_err(|error| with_hints(Failure::from(error), About::Image))?;
        if let Some(output) = output {
            output.finish(&file).map_err(path_failure)?;
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl SaveArgs {
    fn options(&self) -> Outcome<SaveOptions> {
        let format = match self.format.as_str() {
            "docker-archive" => ArchiveFormat::Docker,
            "oci-archive" => ArchiveFormat::Oci,
            other => {
                return Err(Failure::usage(format!(
                    "unknown format {other:?}: expected docker-archive or oci-archive"
                )));
            }
        };
        let platform = self.platform.as_deref().map(str::parse::<Platform>);
        let platform = platform
            .transpose()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        Ok(SaveOptions { format, platform })
    }
}

/// Returns the failure of a path.
pub(crate) fn path_failure(error: PathError) -> Failure {
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

/// A file that appears when it is whole: what was there stays until then.
pub(crate) struct Output {
    folder: Dir,
    name: PathBuf,
}

impl Output {
    /// Checks the path before anything begins, as Docker does.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
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
    pub(crate) fn file(&self) -> Result<File, PathError> {
        self.folder.unnamed_file(0o600)
    }

    /// Gives the file its name, in the place of what had it.
    pub(crate) fn finish(&self, file: &File) -> Result<(), PathError> {
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
