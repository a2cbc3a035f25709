//! `config.toml`: the machine's, then the user's.
//!
//! ```toml
//! hardened = false                        # --hardened for every container
//! storage-mode = "auto"                   # auto, erofs or plain
//! keep-blobs = "auto"                     # auto, always or never: packed layers beside the unpacked
//! trash-window = "1h"                     # how long what is removed can be brought back; "0": not
//! trash-limit = "10g"                     # and how much of it at most
//! [log]
//! max-size = "10m"                        # at this size a container's log begins a new file
//! max-files = 3
//! [registries."docker.io"]
//! mirrors = [{ location = "mirror.lan" }] # asked first, in this order
//! [registries."registry.lan:5000"]
//! insecure = true                         # http, or https without verification
//! ca-files = ["/etc/ssl/registry.pem"]
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lamina_distribution::RegistryConfig;
use lamina_image::{KeepBlobs, KeepBlobsError};
use lamina_store::Window;
use lamina_types::ErrorKind;
use lamina_types::quantity::{QuantityError, parse_bytes, parse_duration};
use serde::Deserialize;

use crate::environment::Environment;

/// The machine's configuration.
const SYSTEM_FILE: &str = "/etc/lamina/config.toml";
/// How long what is removed can be brought back.
const TRASH_WINDOW: &str = "1h";
/// How much of it is kept at most.
const TRASH_LIMIT: &str = "10g";
/// A longer file is no configuration.
const FILE_MAX: u64 = 1 << 20;

/// What the configuration files say; what neither says is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Whether containers are hardened unless told otherwise.
    pub(crate) hardened: Option<bool>,
    /// The storage mode.
    pub(crate) storage_mode: Option<String>,
    /// Which blobs of layers are kept.
    pub(crate) keep_blobs: Option<String>,
    /// How long what is removed can be brought back.
    pub(crate) trash_window: Option<String>,
    /// How much of it is kept at most.
    pub(crate) trash_limit: Option<String>,
    /// Logs of containers.
    pub(crate) log: LogSection,
    /// Registries, by the domain that references have.
    pub(crate) registries: BTreeMap<String, RegistryConfig>,
}

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LogSection {
    /// The size at which a log file is rotated.
    pub(crate) max_size: Option<String>,
    /// How many files are kept.
    pub(crate) max_files: Option<u32>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file is there but cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too long to be a configuration.
    #[error("{0} is longer than a configuration can be")]
    TooLong(PathBuf),
    /// A file does not follow the format.
    #[error("{path} is no valid configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A size is none.
    #[error("configuration key log.max-size")]
    Size(#[from] QuantityError),
    /// A size or duration is none.
    #[error("configuration key {key}")]
    Quantity {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// A policy is none.
    #[error("configuration key keep-blobs")]
    KeepBlobs(#[from] KeepBlobsError),
    /// A number makes no sense.
    #[error("configuration key {0} must be at least 1")]
    Zero(&'static str),
}

impl ConfigError {
    /// Returns the class of the error.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => ErrorKind::of_io(source),
            _ => ErrorKind::InvalidArgument,
        }
    }
}

impl Config {
    /// Reads both files; the user's keys win, and what is missing is as built in.
    pub(crate) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let user = environment
            .config_home()
            .map(|home| home.join("lamina/config.toml"));
        let mut config = read(Path::new(SYSTEM_FILE))?;
        if let Some(path) = user {
            config.overlay(read(&path)?);
        }
        Ok(config)
    }

    /// Returns the size at which logs are rotated, if one was configured.
    pub(crate) fn log_max_size(&self) -> Result<Option<u64>, ConfigError> {
        match self.log.max_size.as_deref().map(parse_bytes).transpose()? {
            Some(0) => Err(ConfigError::Zero("log.max-size")),
            size => Ok(size),
        }
    }

    /// Returns how many log files are kept, if that was configured.
    pub(crate) fn log_max_files(&self) -> Result<Option<u32>, ConfigError> {
        match self.log.max_files {
            Some(0) => Err(ConfigError::Zero("log.max-files")),
            files => Ok(files),
        }
    }

    /// Returns which blobs of layers are kept.
    pub(crate) fn keep_blobs(&self) -> Result<KeepBlobs, ConfigError> {
        match self.keep_blobs.as_deref() {
            None => Ok(KeepBlobs::Auto),
            Some(text) => Ok(text.parse()?),
        }
    }

    /// Returns how long, and how much, what is removed can be brought back.
    pub(crate) fn window(&self, command: Vec<String>) -> Result<Window, ConfigError> {
        let fail = |key| move |source| ConfigError::Quantity { key, source };
        let keep = self.trash_window.as_deref().unwrap_or(TRASH_WINDOW);
        let limit = self.trash_limit.as_deref().unwrap_or(TRASH_LIMIT);
        Ok(Window {
            keep: parse_duration(keep).map_err(fail("trash-window"))?,
            limit: Some(parse_bytes(limit).map_err(fail("trash-limit"))?),
            command,
        })
    }

    fn overlay(&mut self, over: Self) {
        self.hardened = over.hardened.or(self.hardened);
        self.storage_mode = over.storage_mode.or(self.storage_mode.take());
        self.keep_blobs = over.keep_blobs.or(self.keep_blobs.take());
        self.trash_window = over.trash_window.or(self.trash_window.take());
        self.trash_limit = over.trash_limit.or(self.trash_limit.take());
        self.log.max_size = over.log.max_size.or(self.log.max_size.take());
        self.log.max_files = over.log.max_files.or(self.log.max_files);
        self.registries.extend(over.registries);
    }
}

/// Reads one file; one that is not there says nothing.
fn read(path: &Path) -> Result<Config, ConfigError> {
    let fail = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(FILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > FILE_MAX {
        return Err(ConfigError::TooLong(path.to_owned()));
    }
    parse(&text).map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn parse(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_keys_win() {
        let mut config =
            parse("hardened = true\n[log]\nmax-size = \"1m\"\nmax-files = 5\n").unwrap();
        let user = "hardened = false\n[registries.\"docker.io\"]\ninsecure = true\n";
        config.overlay(parse(user).unwrap());
        assert_eq!(config.hardened, Some(false));
        assert_eq!(config.log_max_size().unwrap(), Some(1 << 20));
        assert_eq!(config.log_max_files().unwrap(), Some(5));
        assert_eq!(config.keep_blobs().unwrap(), KeepBlobs::Auto);
        let window = config.window(Vec::new()).unwrap();
        assert_eq!(
            (window.keep.as_secs(), window.limit),
            (3600, Some(10 << 30))
        );
        config.overlay(parse("trash-window = \"0\"\ntrash-limit = \"1k\"").unwrap());
        let window = config.window(Vec::new()).unwrap();
        assert_eq!((window.keep.as_secs(), window.limit), (0, Some(1 << 10)));
        config.overlay(parse("keep-blobs = \"never\"").unwrap());
        assert_eq!(config.keep_blobs().unwrap(), KeepBlobs::Never);
        let bad = parse("keep-blobs = \"some\"").unwrap().keep_blobs();
        assert!(bad.is_err());
        assert_eq!(config.registries["docker.io"].insecure, Some(true));
    }

    #[test]
    fn a_misspelled_key_is_an_error() {
        for bad in ["harden = true", "[log]\nsize = 1", "hardened = 3", "x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(
            parse("[log]\nmax-size = \"0\"")
                .unwrap()
                .log_max_size()
                .is_err()
        );
        assert!(
            parse("[log]\nmax-files = 0")
                .unwrap()
                .log_max_files()
                .is_err()
        );
    }
}
