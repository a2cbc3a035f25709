//! The environment: the only place where the product reads variables and the working directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// Where containers and images are kept unless told otherwise.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/lamina";
/// Where everything that dies with a reboot is kept unless told otherwise.
pub(crate) const DEFAULT_RUN: &str = "/run/lamina";

/// What was read from the environment.
///
/// Variables are read when they are asked for, so that a test can build the value it wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    fixed: Option<Vec<(OsString, OsString)>>,
}

impl Environment {
    /// Returns the environment of this process.
    pub(crate) fn of_process() -> Self {
        Self { fixed: None }
    }

    /// Returns an environment with these variables and no others.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Self {
            fixed: Some(owned.collect()),
        }
    }

    /// Returns a variable, if it is set.
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is the one reader of the environment"
    )]
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        match &self.fixed {
            None => std::env::var_os(name),
            Some(fixed) => fixed
                .iter()
                .find(|(known, _)| known.as_os_str() == OsStr::new(name))
                .map(|(_, value)| value.clone()),
        }
    }

    /// Returns a variable that is set to something.
    fn non_empty(&self, name: &str) -> Option<OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// Returns `LAMINA_ROOT`, or where images and containers are kept by default.
    pub(crate) fn root(&self) -> PathBuf {
        self.non_empty("LAMINA_ROOT")
            .map_or_else(|| PathBuf::from(DEFAULT_ROOT), PathBuf::from)
    }

    /// Returns `LAMINA_RUN`, or where sockets and bundles are kept by default.
    pub(crate) fn run(&self) -> PathBuf {
        self.non_empty("LAMINA_RUN")
            .map_or_else(|| PathBuf::from(DEFAULT_RUN), PathBuf::from)
    }

    /// Returns `HOME`, where it names an absolute path. The password database is not asked: that
    /// would load NSS, which crashes a static binary.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// Returns the user's directory of configuration.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        self.absolute("XDG_CONFIG_HOME")
            .or_else(|| Some(self.home()?.join(".config")))
    }

    /// Returns `XDG_RUNTIME_DIR`.
    pub(crate) fn runtime_dir(&self) -> Option<PathBuf> {
        self.absolute("XDG_RUNTIME_DIR")
    }

    /// Returns Docker's directory of configuration, where registry credentials are.
    pub(crate) fn docker_config(&self) -> Option<PathBuf> {
        self.absolute("DOCKER_CONFIG")
            .or_else(|| Some(self.home()?.join(".docker")))
    }

    /// Returns `HTTPS_PROXY` and `NO_PROXY`, in either case.
    pub(crate) fn proxy(&self) -> Option<(String, String)> {
        let either = |upper: &str, lower: &str| {
            let value = self.non_empty(upper).or_else(|| self.non_empty(lower))?;
            value.into_string().ok()
        };
        let url = either("HTTPS_PROXY", "https_proxy")?;
        Some((url, either("NO_PROXY", "no_proxy").unwrap_or_default()))
    }

    /// Returns whether a terminal may be written to with control sequences.
    pub(crate) fn fancy(&self) -> bool {
        self.non_empty("NO_COLOR").is_none()
            && self.variable("TERM").is_none_or(|term| term != "dumb")
    }

    /// Returns the working directory.
    pub(crate) fn working_directory(&self) -> io::Result<PathBuf> {
        std::env::current_dir()
    }

    /// Returns what was typed after the program's name.
    pub(crate) fn words(&self) -> Vec<String> {
        let words = std::env::args_os().skip(1);
        words.map(|w| w.to_string_lossy().into_owned()).collect()
    }

    /// Returns the path of this binary.
    ///
    /// What a monitor executes comes out of a mount that has no place, or out of memory: then it is
    /// the name that the monitor gave it. Where another one was installed over it since it was
    /// started, it is that one's.
    pub(crate) fn binary(&self) -> io::Result<PathBuf> {
        let binary = std::env::current_exe()?;
        let path = binary
            .to_str()
            .and_then(|path| path.strip_suffix(" (deleted)"));
        let binary = path.map(PathBuf::from).unwrap_or(binary);
        if binary.file_name().is_some() && !binary.starts_with("/memfd:lamina") {
            return Ok(binary);
        }
        let named = std::env::args_os().next().map(PathBuf::from);
        Ok(named.filter(|path| path.is_absolute()).unwrap_or(binary))
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.non_empty(name)
            .map(PathBuf::from)
            .filter(|path| Path::is_absolute(path))
    }
}
