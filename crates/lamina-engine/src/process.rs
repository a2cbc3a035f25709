//! What the program is: the image's configuration and the request, merged as Docker merges them.

use std::path::{Component, Path, PathBuf};

use lamina_types::oci::Config;
use lamina_types::{ContainerId, ErrorKind, NameOrId, Signal, UserSpec};

use crate::request::{CreateRequest, NamespaceMode, ProcessRequest};

/// The search path of a container whose image sets none (Docker's, oci/defaults.go).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// SIGTERM.
const DEFAULT_STOP_SIGNAL: Signal = Signal(15);

/// What is executed, once image and request are one; the user is not yet in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessPlan {
    /// The program and its arguments, at least one.
    pub argv: Vec<String>,
    /// The part of the environment that does not depend on the user.
    pub env: Vec<String>,
    /// The working directory, absolute and without `..`.
    pub cwd: PathBuf,
    /// The user as typed, by the request or the image.
    pub user: Option<UserSpec>,
    /// The groups of `--group-add`.
    pub group_add: Vec<NameOrId>,
    /// The signal that stops it.
    pub stop_signal: Signal,
}

/// Why image and request do not make a process.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProcessError {
    /// Neither the request nor the image names a program.
    #[error("no command specified")]
    NoCommand,
    /// The working directory is relative.
    #[error("the working directory {0:?} is invalid, it needs to be an absolute path")]
    Workdir(String),
    /// The image's user is none.
    #[error("the image's user {0:?} is invalid")]
    ImageUser(String),
    /// A group of `--group-add` is none.
    #[error("the group {0:?} is invalid")]
    Group(String),
    /// The image's stop signal is none.
    #[error("the image's stop signal {0:?} is invalid")]
    ImageStopSignal(String),
    /// A NUL byte, which execve(2) cannot pass on.
    #[error("{what} {value:?} contains a NUL byte")]
    Nul {
        /// Which of them.
        what: &'static str,
        /// The offending value.
        value: String,
    },
    /// An environment entry without a name.
    #[error("invalid environment variable {0:?}")]
    Env(String),
}

impl ProcessError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Merges the image's configuration and the request.
///
/// Of the image only the fields read here count; labels and anything unknown decide nothing.
pub(crate) fn plan(
    request: &CreateRequest,
    image: &Config,
    id: &ContainerId,
) -> Result<ProcessPlan, ProcessError> {
    let process = &request.process;
    let plan = ProcessPlan {
        argv: argv(process, image)?,
        env: env(request, image, id)?,
        cwd: cwd(process, image)?,
        user: user(process, image)?,
        group_add: process
            .group_add
            .iter()
            .map(|group| {
                group
                    .parse()
                    .map_err(|_| ProcessError::Group(group.clone()))
            })
            .collect::<Result<_, _>>()?,
        stop_signal: stop_signal(process, image)?,
    };
    for (what, values) in [
        ("argument", &plan.argv),
        ("environment variable", &plan.env),
    ] {
        if let Some(value) = values.iter().find(|value| value.contains('\0')) {
            let value = value.clone();
            return Err(ProcessError::Nul { what, value });
        }
    }
    Ok(plan)
}

/// An entrypoint on the command line replaces the image's and drops the image's arguments, which
/// were meant for the other program.
fn argv(process: &ProcessRequest, image: &Config) -> Result<Vec<String>, ProcessError> {
    let (entrypoint, image_cmd) = match &process.entrypoint {
        Some(entrypoint) => (entrypoint, [].as_slice()),
        None => (&image.entrypoint, image.cmd.as_slice()),
    };
    let args = if process.args.is_empty() {
        image_cmd
    } else {
        &process.args
    };
    let argv: Vec<String> = entrypoint.iter().chain(args).cloned().collect();
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(ProcessError::NoCommand),
    }
}

/// Docker's order: PATH, HOSTNAME and TERM, then what is configured; a later value replaces an
/// earlier one in its place, and a bare name removes it.
fn env(
    request: &CreateRequest,
    image: &Config,
    id: &ContainerId,
) -> Result<Vec<String>, ProcessError> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    if request.isolation.uts == NamespaceMode::Private {
        let hostname = hostname(request, id);
        env.push(format!("HOSTNAME={hostname}"));
    }
    if request.process.tty {
        env.push("TERM=xterm".to_owned());
    }
    let bare = request.process.env.iter().filter(|e| !e.contains('='));
    for entry in bare.chain(&configured_env(request, image)) {
        if name_of(entry).is_empty() {
            return Err(ProcessError::Env(entry.clone()));
        }
        set(&mut env, entry);
    }
    Ok(env)
}

/// Returns the environment as `inspect` shows it and `commit` keeps it: the request's, then what it
/// says nothing of from the image's.
pub(crate) fn configured_env(request: &CreateRequest, image: &Config) -> Vec<String> {
    let asked = &request.process.env;
    let mut env = Vec::new();
    asked.iter().for_each(|entry| set(&mut env, entry));
    for entry in &image.env {
        if !asked.iter().any(|have| name_of(have) == name_of(entry)) {
            set(&mut env, entry);
        }
    }
    env
}

/// Replaces a variable in its place, or adds it; a bare name removes it.
fn set(env: &mut Vec<String>, entry: &str) {
    let place = env.iter().position(|have| name_of(have) == name_of(entry));
    match (place, entry.contains('=')) {
        (Some(place), true) => entry.clone_into(&mut env[place]),
        (Some(place), false) => drop(env.remove(place)),
        (None, true) => env.push(entry.to_owned()),
        (None, false) => {}
    }
}

/// Returns what stands before the first `=`.
pub(crate) fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// Returns the hostname of a container with its own UTS namespace.
pub(crate) fn hostname<'a>(request: &'a CreateRequest, id: &'a ContainerId) -> &'a str {
    request.isolation.hostname.as_deref().unwrap_or(id.short())
}

fn cwd(process: &ProcessRequest, image: &Config) -> Result<PathBuf, ProcessError> {
    let cwd = match &process.workdir {
        Some(cwd) => cwd.as_path(),
        // An image's relative directory counts from the root, as Docker's builder means it.
        None => return Ok(lexically(Path::new(&image.working_dir))),
    };
    if !cwd.is_absolute() {
        return Err(ProcessError::Workdir(cwd.display().to_string()));
    }
    Ok(lexically(cwd))
}

/// Returns the path from the root with `.` and `..` taken out; `..` stops at the root.
pub(crate) fn lexically(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn user(process: &ProcessRequest, image: &Config) -> Result<Option<UserSpec>, ProcessError> {
    match &process.user {
        Some(user) => Ok(Some(user.clone())),
        None if image.user.is_empty() => Ok(None),
        None => image
            .user
            .parse()
            .map(Some)
            .map_err(|_| ProcessError::ImageUser(image.user.chars().take(160).collect())),
    }
}

fn stop_signal(process: &ProcessRequest, image: &Config) -> Result<Signal, ProcessError> {
    match process.stop_signal {
        Some(signal) => Ok(signal),
        None if image.stop_signal.is_empty() => Ok(DEFAULT_STOP_SIGNAL),
        None => image.stop_signal.parse().map_err(|_| {
            ProcessError::ImageStopSignal(image.stop_signal.chars().take(80).collect())
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
