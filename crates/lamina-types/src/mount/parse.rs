//! `-v` and `--mount` as Docker reads them.
//!
//! Nothing is opened here: whether a bind's source exists is the engine's question.

use std::path::Path;

use super::keys::Keys;
use super::parts::{clean, clip, parse_target, parse_volume_name};
use super::{MountKind, MountSpec, Propagation, Relabel, csv, tmpfs};
use crate::quantity::QuantityError;

/// The longest specification that is looked at: two paths of `PATH_MAX` and options.
const SPEC_MAX: usize = 16 * 1024;

/// Why a string is no mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The string has too many parts, an empty one, or a NUL.
    #[error("invalid volume specification {0:?}: expected [source:]target[:options]")]
    Volume(String),
    /// The value of `--mount` is no list of `key=value`.
    #[error("invalid mount {0:?}: expected comma-separated key=value pairs")]
    Csv(String),
    /// The target is not absolute.
    #[error("invalid mount target {0:?}: it must be an absolute path in the container")]
    Target(String),
    /// The target is the container's root.
    #[error("invalid mount target: it must not be /")]
    TargetRoot,
    /// The source of a bind is not absolute.
    #[error("invalid bind source {0:?}: it must be an absolute path")]
    Source(String),
    /// The name of a volume has characters that none may have.
    #[error(
        "invalid volume name {0:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed; a host directory begins with / or ."
    )]
    VolumeName(String),
    /// An option is unknown, stands twice, contradicts another, or does not fit the kind.
    #[error("invalid mount option {option:?} for a {kind}")]
    Option {
        /// The option.
        option: String,
        /// `bind`, `volume`, `image` or `tmpfs`.
        kind: &'static str,
    },
    /// A key of `--mount` has a value that it cannot have.
    #[error("invalid value {value:?} for mount key {key}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key that is needed is missing.
    #[error("mount key {0} is required")]
    Missing(&'static str),
    /// The type of mount is not one of those that exist here.
    #[error("invalid mount type {0:?}: expected bind, volume, image or tmpfs")]
    Type(String),
    /// A size is none.
    #[error("invalid tmpfs size")]
    Size(#[from] QuantityError),
}

/// The options of `-v` that were given, before it is known what they apply to.
#[derive(Default)]
struct VolumeOptions {
    read_only: Option<bool>,
    recursive: bool,
    propagation: Option<Propagation>,
    relabel: Option<Relabel>,
    no_copy: Option<bool>,
}

impl MountSpec {
    /// Reads the value of `-v`: `/container`, `host:/container[:options]` or
    /// `volume:/container[:options]`.
    ///
    /// A source that begins with `.` is a path relative to `cwd`, as in Docker's client; any
    /// other source without a leading slash is a volume's name. `ro` on a bind covers its
    /// submounts, as in Docker since 25; `rro` says the same.
    pub fn parse_volume(text: &str, cwd: &Path) -> Result<Self, MountError> {
        let fail = || MountError::Volume(clip(text));
        if text.len() > SPEC_MAX || text.contains('\0') {
            return Err(fail());
        }
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(fail());
        }
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err(fail()),
        };
        let target = parse_target(target)?;
        let bind = source.filter(|source| source.starts_with(['/', '.']));
        let options = volume_options(options, if bind.is_some() { "bind" } else { "volume" })?;
        let read_only = options.read_only.unwrap_or(false);
        let kind = match (bind, source) {
            (Some(path), _) => MountKind::Bind {
                source: clean(&cwd.join(path)),
                propagation: options.propagation.unwrap_or_default(),
                non_recursive: false,
                relabel: options.relabel.unwrap_or_default(),
            },
            (None, name) => MountKind::volume(
                name.map(parse_volume_name).transpose()?,
                options.no_copy.unwrap_or(false),
            ),
        };
        let recursive_read_only = read_only && (bind.is_some() || options.recursive);
        Ok(Self {
            kind,
            target,
            read_only,
            recursive_read_only,
        })
    }

    /// Reads the value of `--mount`: comma-separated `key=value`, `type=volume` by default.
    ///
    /// A relative bind source is relative to `cwd` if it begins with `.`, else refused.
    pub fn parse_mount(text: &str, cwd: &Path) -> Result<Self, MountError> {
        let fail = || MountError::Csv(clip(text));
        if text.len() > SPEC_MAX || text.contains('\0') {
            return Err(fail());
        }
        let mut keys = Keys::default();
        for field in csv::fields(text).ok_or_else(fail)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field.as_str(), None),
            };
            keys.set(&key.to_ascii_lowercase(), value)?;
        }
        keys.finish(cwd)
    }

    /// Reads the value of `--tmpfs`: `/container[:options]`.
    ///
    /// The options are kept as typed, except size, mode and `ro`; Docker's defaults (noexec,
    /// nosuid, nodev) are added where the mount is planned.
    pub fn parse_tmpfs(text: &str) -> Result<Self, MountError> {
        tmpfs::parse(text)
    }
}

fn volume_options(text: &str, kind: &'static str) -> Result<VolumeOptions, MountError> {
    let mut options = VolumeOptions::default();
    for option in text.split(',').filter(|_| !text.is_empty()) {
        let invalid = || MountError::Option {
            option: clip(option),
            kind,
        };
        let fresh = match option {
            "ro" => options.read_only.replace(true).is_none(),
            "rw" => options.read_only.replace(false).is_none(),
            "rro" => {
                options.recursive = true;
                options.read_only.replace(true).is_none()
            }
            "z" => options.relabel.replace(Relabel::Shared).is_none(),
            "Z" => options.relabel.replace(Relabel::Private).is_none(),
            "nocopy" if kind == "volume" => options.no_copy.replace(true).is_none(),
            "copy" if kind == "volume" => options.no_copy.replace(false).is_none(),
            // Hints for Docker Desktop's file sharing; they mean nothing on Linux.
            "consistent" | "cached" | "delegated" => true,
            other if kind == "bind" => {
                let propagation = parse_propagation(other).ok_or_else(invalid)?;
                options.propagation.replace(propagation).is_none()
            }
            _ => false,
        };
        if !fresh {
            return Err(invalid());
        }
    }
    Ok(options)
}

pub(super) fn parse_propagation(text: &str) -> Option<Propagation> {
    Some(match text {
        "rprivate" => Propagation::Rprivate,
        "private" => Propagation::Private,
        "rshared" => Propagation::Rshared,
        "shared" => Propagation::Shared,
        "rslave" => Propagation::Rslave,
        "slave" => Propagation::Slave,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
