//! `volume create`.

use std::collections::BTreeMap;

use lamina_fs::Durability;
use lamina_monitor::Time;
use lamina_monitor::events::Kind;
use lamina_store::{Area, Draft};

use super::{DATA, FILE, VolumeError, VolumeFile, anonymous_name, check_name};
use crate::Engine;

/// A volume as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Its name; `None` makes an anonymous one.
    pub name: Option<String>,
    /// Its driver; there is `local`.
    pub driver: Option<String>,
    /// `type`, `o` and `device`, as mount(8) knows them.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume, durably, and returns its name. One that is there stays as it is.
    pub fn create_volume(&self, request: &VolumeRequest) -> Result<String, VolumeError> {
        let name = match &request.name {
            Some(name) => name.clone(),
            None => anonymous_name()?,
        };
        check(&name, request.driver.as_deref(), &request.options)?;
        let volumes = self.store.dir(Area::Volumes)?;
        if volumes.exists(&name)? {
            return Ok(name);
        }
        let operation = self.store.ops().begin("volume create", &[])?;
        let draft = operation.draft()?;
        draft.dir().mkdir(DATA, 0o755)?;
        let file = VolumeFile {
            labels: request.labels.clone(),
            options: request.options.clone(),
            ..VolumeFile::new(&Time::now().to_string(), request.name.is_none())
        };
        // Of two makers one wins, and both have the same volume.
        self.publish_volume(draft, &file, &name)?;
        operation.finish()?;
        Ok(name)
    }

    /// Completes a draft and gives it the name, durably; false where that is taken.
    pub(super) fn publish_volume(
        &self,
        draft: Draft,
        file: &VolumeFile,
        name: &str,
    ) -> Result<bool, VolumeError> {
        let volumes = self.store.dir(Area::Volumes)?;
        let bytes = file.to_bytes();
        draft
            .dir()
            .create_exclusive(FILE, &bytes, 0o600, Durability::Durable)?;
        let published = draft.publish(volumes, name)?;
        volumes.sync()?;
        if published {
            self.note_volume("create", name);
        }
        Ok(published)
    }
}

impl Engine {
    /// Tells what was done to a volume.
    pub(super) fn note_volume(&self, action: &str, name: &str) {
        self.note(Kind::Volume, action, name, &[("driver", "local")]);
    }
}

/// Checks what a volume is to be, in Docker's words.
pub(super) fn check(
    name: &str,
    driver: Option<&str>,
    options: &BTreeMap<String, String>,
) -> Result<(), VolumeError> {
    check_name(name)?;
    if let Some(driver) = driver.filter(|driver| !matches!(*driver, "" | "local")) {
        return Err(VolumeError::Driver {
            name: name.to_owned(),
            driver: driver.chars().take(160).collect(),
        });
    }
    let refuse = |why: String| {
        Err(VolumeError::Option {
            name: name.to_owned(),
            why,
        })
    };
    for key in options.keys() {
        match key.as_str() {
            "type" | "o" | "device" => {}
            "size" => return refuse("quota size requested but no quota support".to_owned()),
            other => return refuse(format!("invalid option: {other:?}")),
        }
    }
    let needs = [
        ("device", "type"),
        ("type", "device"),
        ("o", "device"),
        ("o", "type"),
    ];
    for (key, needed) in needs {
        if options.contains_key(key) && !options.contains_key(needed) {
            return refuse(format!("missing required option: {needed:?}"));
        }
    }
    let option = |key: &str| options.get(key).map_or("", String::as_str);
    if option("device").contains('\0') || (!options.is_empty() && option("device").is_empty()) {
        return refuse("missing required option: \"device\"".to_owned());
    }
    let bind = option("o").split(',').any(|o| o == "bind" || o == "rbind");
    if bind && !option("device").starts_with('/') {
        return refuse(format!("device {:?} is no absolute path", option("device")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_may_be_is_checked_in_dockers_words() {
        let said = |name: &str, driver: Option<&str>, options: &[(&str, &str)]| {
            let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            let options = options.iter().map(pair).collect();
            check(name, driver, &options).map_err(|error| error.to_string())
        };
        assert_eq!(said("db", Some("local"), &[]), Ok(()));
        let tmpfs = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
        assert_eq!(said("db", None, &tmpfs), Ok(()));
        for (name, driver, options, expected) in [
            (
                "a",
                None,
                &[][..],
                "create a: volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                "a/b",
                None,
                &[],
                "create a/b: \"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
            ),
            (
                "db",
                Some("foo"),
                &[],
                "create db: error looking up volume plugin foo: plugin \"foo\" not found",
            ),
            (
                "db",
                None,
                &[("bar", "1")],
                "create db: invalid option: \"bar\"",
            ),
            (
                "db",
                None,
                &[("type", "nfs")],
                "create db: missing required option: \"device\"",
            ),
            (
                "db",
                None,
                &[("device", "/x")],
                "create db: missing required option: \"type\"",
            ),
            (
                "db",
                None,
                &[("size", "1m")],
                "create db: quota size requested but no quota support",
            ),
        ] {
            assert_eq!(said(name, driver, options), Err(expected.to_owned()));
        }
    }
}
