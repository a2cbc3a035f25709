//! `cp`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use lamina_engine::{CopyError, Engine, Files, Found};
use lamina_types::ErrorKind;
use lamina_types::quantity::human_size;

use crate::app::App;
use crate::args::CpArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::output::stdout;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Container(&'a str, &'a str),
    Local(&'a str),
    /// A tar on stdin or stdout.
    Stream,
}

/// What the events of the two directions are called in Docker.
const ARCHIVED: &str = "archive-path";
const EXTRACTED: &str = "extract-to-dir";

/// A path with a colon is local if it is absolute or begins with a dot, as in Docker.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        _ if text == "-" => End::Stream,
        Some((container, path)) if !text.starts_with(['/', '.']) => End::Container(container, path),
        _ => End::Local(text),
    }
}

/// Where something goes: a directory that exists, and what it is called there; nothing if it is
/// the content of a directory that goes into it.
#[derive(Debug, PartialEq, Eq)]
struct Goal {
    directory: PathBuf,
    name: Option<OsString>,
}

impl Verb for CpArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let bytes = match (end(&self.from), end(&self.to)) {
            (End::Container(_, ""), _) | (_, End::Container(_, "")) => {
                return Err(said("the path in the container cannot be empty"));
            }
            (End::Container(..), End::Container(..)) => {
                return Err(said("copying between containers is not supported"));
            }
            (End::Container(container, path), End::Stream) => {
                self.archive(&engine, container, path)?;
                return Ok(exit_codes::SUCCESS);
            }
            (End::Stream, End::Container(container, path)) => extract(&engine, container, path)?,
            (End::Container(container, path), End::Local(to)) => {
                let to = app.working_directory()?.join(to);
                self.copy_out(&engine, container, path, &to)?
            }
            (End::Local(from), End::Container(container, path)) => {
                let source = app.working_directory()?.join(from);
                self.copy_in(&engine, (from, &source), container, path)?
            }
            _ => return Err(said("must specify at least one container source")),
        };
        if !self.quiet && ui::out_is_terminal() {
            let size = human_size(bytes);
            ui::err(&format!("Successfully copied {size} to {}\n", self.to));
        }
        Ok(exit_codes::SUCCESS)
    }
}

/// Unpacks a tar from stdin into a directory of a container.
fn extract(engine: &Engine, container: &str, path: &str) -> Outcome<u64> {
    let id = find(engine, container)?;
    let files = engine.files(&id).map_err(Failure::from)?;
    let found = files.find(Path::new(path), true).map_err(Failure::from)?;
    let directory = found.filter(|found| found.directory).ok_or_else(|| {
        said(format!(
            "destination \"{container}:{path}\" must be a directory"
        ))
    })?;
    let tar = io::stdin().lock();
    let extracted = files.extract(&directory.path, tar, None)?;
    engine.note_on(&id, EXTRACTED);
    Ok(extracted)
}

impl CpArgs {
    /// Packs what is at a path of a container into a tar on stdout.
    fn archive(&self, engine: &Engine, container: &str, path: &str) -> Outcome {
        let (files, found) = self.source_in(engine, container, path)?;
        let name = name_of(&found.path, path);
        let out = io::BufWriter::with_capacity(1 << 18, stdout()?);
        files.archive(&found, name, out)?;
        engine.note_on(&find(engine, container)?, ARCHIVED);
        Ok(())
    }

    fn copy_out(&self, engine: &Engine, container: &str, path: &str, to: &Path) -> Outcome<u64> {
        let (files, found) = self.source_in(engine, container, path)?;
        let there = Files::of_host(Path::new("/")).map_err(Failure::from)?;
        let goal = goal(&there, &found, path, to)?;
        // Nothing that the container has leads out of the directory it is copied to.
        let there = Files::of_host(&goal.directory).map_err(Failure::from)?;
        let own = (rustix::process::geteuid(), rustix::process::getegid());
        let own = (own.0.as_raw(), own.1.as_raw());
        let name = goal.name.as_deref();
        let copied = self.copy(&files, &found, &there, Path::new("."), name, own)?;
        engine.note_on(&find(engine, container)?, ARCHIVED);
        Ok(copied)
    }

    /// Copies a file of the host, given as typed and from the root, into a container.
    fn copy_in(
        &self,
        engine: &Engine,
        (from, source): (&str, &Path),
        container: &str,
        path: &str,
    ) -> Outcome<u64> {
        let id = find(engine, container)?;
        let here = Files::of_host(Path::new("/")).map_err(Failure::from)?;
        let found = source_of(&here, source, self.follow_link, || {
            format!("lstat {}: no such file or directory", source.display())
        })?;
        let files = engine.files(&id).map_err(Failure::from)?;
        let goal = goal(&files, &found, from, Path::new(path))?;
        let name = goal.name.as_deref();
        let copied = self.copy(&here, &found, &files, &goal.directory, name, (0, 0))?;
        engine.note_on(&id, EXTRACTED);
        Ok(copied)
    }

    fn source_in(&self, engine: &Engine, container: &str, path: &str) -> Outcome<(Files, Found)> {
        let id = find(engine, container)?;
        let files = engine.files(&id).map_err(Failure::from)?;
        let found = source_of(&files, Path::new(path), self.follow_link, || {
            format!("could not find the file {path} in container {container}")
        })?;
        Ok((files, found))
    }

    /// Lets what one side writes as a tar be read by the other.
    fn copy(
        &self,
        from: &Files,
        found: &Found,
        to: &Files,
        directory: &Path,
        name: Option<&OsStr>,
        own: (u32, u32),
    ) -> Outcome<u64> {
        let (reader, writer) = io::pipe().map_err(|error| {
            let kind = ErrorKind::of_io(&error);
            Failure::new(error, kind)
        })?;
        let owner = (!self.archive).then_some(own);
        let (archived, extracted) = thread::scope(|scope| {
            let archive = scope.spawn(move || {
                let out = io::BufWriter::with_capacity(1 << 16, writer);
                from.archive(found, name, out)
            });
            let extracted = to.extract(directory, reader, owner);
            (archive.join(), extracted)
        });
        match (archived, extracted) {
            (Ok(Ok(())), extracted) => extracted.map_err(Failure::from),
            // The reader has gone away, and says why.
            (_, Err(error)) if !is_torn(&error) => Err(error.into()),
            (Ok(Err(error)), _) => Err(error.into()),
            (Err(_), _) => Err(Failure::said(ErrorKind::Internal, "the archiver panicked")),
        }
    }
}

/// Says whether an archive was not read to its end, because it was not written to its end.
fn is_torn(error: &CopyError) -> bool {
    use lamina_layer::{ExtractError, TarError};
    matches!(
        error,
        CopyError::Extract(ExtractError::Tar(TarError::Truncated { .. }))
    )
}

fn said(text: impl Into<String>) -> Failure {
    Failure::said(ErrorKind::InvalidArgument, text)
}

fn source_of(
    files: &Files,
    path: &Path,
    follow: bool,
    missing: impl Fn() -> String,
) -> Outcome<Found> {
    let found = files.find(path, follow).map_err(Failure::from)?;
    let found = found.ok_or_else(|| Failure::said(ErrorKind::NotFound, missing()))?;
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") && !found.directory {
        return Err(said(format!("{}: not a directory", path.display())));
    }
    Ok(found)
}

/// Returns what a source is called where it goes; nothing for the content of a directory, which
/// `/.` at the end asks for.
fn name_of<'a>(found: &'a Path, typed: &str) -> Option<&'a OsStr> {
    let contents = typed == "." || typed.ends_with("/.");
    found.file_name().filter(|_| !contents)
}

/// Decides where a source goes, by Docker's rules.
fn goal(to: &Files, from: &Found, typed: &str, target: &Path) -> Outcome<Goal> {
    let text = target.as_os_str().as_encoded_bytes();
    let as_directory = text.ends_with(b"/") || text.ends_with(b"/.");
    let there = to.find(target, true).map_err(Failure::from)?;
    let inside = |path: PathBuf| Goal {
        name: name_of(&from.path, typed).map(OsStr::to_owned),
        directory: path,
    };
    let beside = |path: &Path| -> Outcome<Goal> {
        let above = path.parent().unwrap_or(Path::new("/"));
        let found = to.find(above, true).map_err(Failure::from)?;
        let directory = found.filter(|found| found.directory).ok_or_else(|| {
            let text = format!("no such directory: {}", above.display());
            Failure::said(ErrorKind::NotFound, text)
        })?;
        Ok(Goal {
            directory: directory.path,
            name: path.file_name().map(OsStr::to_owned),
        })
    };
    match there {
        Some(found) if found.directory => Ok(inside(found.path)),
        Some(_) if from.directory => Err(said("cannot copy directory")),
        Some(_) if as_directory => Err(said(format!("{}: not a directory", target.display()))),
        Some(found) => beside(&found.path),
        None if as_directory && !from.directory => Err(Failure::said(
            ErrorKind::NotFound,
            format!("no such directory: {}", target.display()),
        )),
        None => {
            let clean: PathBuf = Path::new("/").join(target).components().collect();
            beside(&clean)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_as_docker_does() {
        assert_eq!(end("-"), End::Stream);
        assert_eq!(end("web:/etc"), End::Container("web", "/etc"));
        assert_eq!(end("web:etc:x"), End::Container("web", "etc:x"));
        assert_eq!(end("/a:b"), End::Local("/a:b"));
        assert_eq!(end("./a:b"), End::Local("./a:b"));
        assert_eq!(end("file"), End::Local("file"));
    }
}
