//! The keys of `--mount`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::parse::{MountError, parse_propagation};
use super::parts::{clean, clip, pair, parse_subpath, parse_target, parse_volume_name};
use super::{MountKind, MountSpec, Propagation, Relabel, tmpfs};

/// The keys for a part of what is mounted: a volume's, an image's, and podman's for both.
const SUBPATHS: [&str; 3] = ["volume-subpath", "image-subpath", "subpath"];

/// What the keys of one `--mount` said.
#[derive(Default)]
pub(super) struct Keys {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<Propagation>,
    recursive: Option<String>,
    no_copy: Option<bool>,
    /// The key that was given, since a volume's is no image's, and the path.
    subpath: Option<(&'static str, PathBuf)>,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    size: Option<u64>,
    mode: Option<u32>,
}

impl Keys {
    pub(super) fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), MountError> {
        let invalid = || MountError::Value {
            key: clip(key),
            value: clip(value.unwrap_or_default()),
        };
        let flag = || match value {
            None | Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(_) => Err(invalid()),
        };
        let needed = || value.filter(|v| !v.is_empty()).ok_or_else(invalid);
        match key {
            "type" => self.kind = Some(needed()?.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(needed()?.to_owned()),
            "readonly" | "ro" => self.read_only = flag()?,
            "bind-propagation" => {
                self.propagation = Some(parse_propagation(needed()?).ok_or_else(invalid)?);
            }
            "bind-nonrecursive" => {
                let word = if flag()? { "disabled" } else { "enabled" };
                self.recursive = Some(word.to_owned());
            }
            "bind-recursive" => match needed()? {
                word @ ("enabled" | "disabled" | "writable" | "readonly") => {
                    self.recursive = Some(word.to_owned());
                }
                _ => return Err(invalid()),
            },
            "volume-nocopy" => self.no_copy = Some(flag()?),
            "volume-subpath" | "image-subpath" | "subpath" => {
                let path = parse_subpath(needed()?).ok_or_else(invalid)?;
                let key = SUBPATHS.into_iter().find(|known| *known == key);
                self.subpath = key.map(|key| (key, path));
            }
            "volume-label" => {
                let (key, value) = pair(needed()?);
                self.labels.insert(key, value);
            }
            "volume-opt" => {
                let (key, value) = pair(needed()?);
                self.options.insert(key, value);
            }
            "volume-driver" => match needed()? {
                "local" => {}
                _ => return Err(invalid()),
            },
            "tmpfs-size" => self.size = Some(crate::quantity::parse_bytes(needed()?)?),
            "tmpfs-mode" => {
                self.mode = Some(tmpfs::parse_mode(needed()?).ok_or_else(invalid)?);
            }
            "consistency" => {}
            _ => {
                return Err(MountError::Option {
                    option: clip(key),
                    kind: "mount",
                });
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, cwd: &Path) -> Result<MountSpec, MountError> {
        let target = parse_target(
            self.target
                .as_deref()
                .ok_or(MountError::Missing("target"))?,
        )?;
        let (kind, recursive_read_only) = match self.kind.as_deref().unwrap_or("volume") {
            "bind" => self.bind(cwd)?,
            "volume" => (self.volume()?, false),
            "image" => (self.image()?, false),
            "tmpfs" => (self.tmpfs()?, false),
            other => return Err(MountError::Type(clip(other))),
        };
        Ok(MountSpec {
            kind,
            target,
            read_only: self.read_only || self.kind.as_deref() == Some("image"),
            recursive_read_only,
        })
    }

    fn bind(&self, cwd: &Path) -> Result<(MountKind, bool), MountError> {
        self.refuse(
            "bind",
            &[
                ("volume-nocopy", self.no_copy.is_some()),
                self.has_subpath(&SUBPATHS),
                ("volume-label", !self.labels.is_empty()),
                ("volume-opt", !self.options.is_empty()),
                ("tmpfs-size", self.size.is_some()),
                ("tmpfs-mode", self.mode.is_some()),
            ],
        )?;
        let source = self
            .source
            .as_deref()
            .ok_or(MountError::Missing("source"))?;
        if !source.starts_with(['/', '.']) {
            return Err(MountError::Source(clip(source)));
        }
        let recursive = self.recursive.as_deref();
        if recursive == Some("readonly") && !self.read_only {
            return Err(MountError::Option {
                option: "bind-recursive=readonly".to_owned(),
                kind: "writable bind",
            });
        }
        let kind = MountKind::Bind {
            source: clean(&cwd.join(source)),
            propagation: self.propagation.unwrap_or_default(),
            non_recursive: recursive == Some("disabled"),
            relabel: Relabel::None,
        };
        let submounts = !matches!(recursive, Some("disabled" | "writable"));
        Ok((kind, self.read_only && submounts))
    }

    fn volume(&self) -> Result<MountKind, MountError> {
        self.refuse(
            "volume",
            &[
                ("bind-propagation", self.propagation.is_some()),
                ("bind-recursive", self.recursive.is_some()),
                self.has_subpath(&["image-subpath"]),
                ("tmpfs-size", self.size.is_some()),
                ("tmpfs-mode", self.mode.is_some()),
            ],
        )?;
        Ok(MountKind::Volume {
            name: self.source.as_deref().map(parse_volume_name).transpose()?,
            no_copy: self.no_copy.unwrap_or(false),
            subpath: self.subpath.as_ref().map(|(_, path)| path.clone()),
            labels: self.labels.clone(),
            options: self.options.clone(),
        })
    }

    fn image(&self) -> Result<MountKind, MountError> {
        self.refuse(
            "image",
            &[
                ("bind-propagation", self.propagation.is_some()),
                ("bind-recursive", self.recursive.is_some()),
                ("volume-nocopy", self.no_copy.is_some()),
                self.has_subpath(&["volume-subpath"]),
                ("volume-label", !self.labels.is_empty()),
                ("volume-opt", !self.options.is_empty()),
                ("tmpfs-size", self.size.is_some()),
                ("tmpfs-mode", self.mode.is_some()),
            ],
        )?;
        Ok(MountKind::Image {
            source: self.source.clone().ok_or(MountError::Missing("source"))?,
            subpath: self.subpath.as_ref().map(|(_, path)| path.clone()),
        })
    }

    fn tmpfs(&self) -> Result<MountKind, MountError> {
        self.refuse(
            "tmpfs",
            &[
                ("source", self.source.is_some()),
                ("bind-propagation", self.propagation.is_some()),
                ("bind-recursive", self.recursive.is_some()),
                ("volume-nocopy", self.no_copy.is_some()),
                self.has_subpath(&SUBPATHS),
                ("volume-label", !self.labels.is_empty()),
                ("volume-opt", !self.options.is_empty()),
            ],
        )?;
        Ok(MountKind::Tmpfs {
            size: self.size,
            mode: self.mode,
            options: Vec::new(),
        })
    }

    /// Returns the key of a subpath, and whether it is one of those that do not fit.
    fn has_subpath(&self, unfit: &[&'static str]) -> (&'static str, bool) {
        let key = self.subpath.as_ref().map_or("", |(key, _)| *key);
        (key, unfit.contains(&key))
    }

    fn refuse(&self, kind: &'static str, keys: &[(&str, bool)]) -> Result<(), MountError> {
        match keys.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(MountError::Option {
                option: (*key).to_owned(),
                kind,
            }),
            None => Ok(()),
        }
    }
}
