//! Writing `config.json`: what a login leaves behind and a logout takes away.
//!
//! The file is Docker's and people's; other programs keep settings in it. Every member that a
//! login is not about stays as it was, byte for byte and in its place. A new file replaces the old
//! one at once, with mode 0600; whatever fails leaves the old one.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use lamina_fs::{At, Dir, Durability, PathError};
use rustix::fs::{AtFlags, FlockOperation, Gid, Uid, chownat, flock};
use rustix::io::Errno;
use serde_json::value::{RawValue, to_raw_value};

use super::docker_config::{Helpers, bare_host, malformed, names_of, read, server_of};
use super::{CredentialsError, Secret, helper};

/// How long another login may hold the file.
const WAIT: Duration = Duration::from_secs(10);
const AUTHS: &str = "auths";

/// The file that logins are kept in.
#[derive(Debug, Clone)]
pub struct LoginFile {
    path: PathBuf,
    helper_timeout: Duration,
}

/// Where a login is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the file, as it was typed.
    InFile(PathBuf),
    /// By this helper program.
    ByHelper(String),
}

/// A JSON object as it stands in a file: its members in order, their values as they were written.
#[derive(Debug, Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl LoginFile {
    /// Returns the file at `path`, usually `~/.docker/config.json`, with 15 s for each helper.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            helper_timeout: Duration::from_secs(15),
        }
    }

    /// Keeps a user name and password for `registry`, a domain as references have it: by the
    /// helper that the file names for it, or in the file. Durable on return.
    pub fn store(
        &self,
        registry: &str,
        username: &str,
        password: &Secret,
    ) -> Result<Kept, CredentialsError> {
        if username.contains(':') || username.contains('\0') || password.expose().contains('\0') {
            return Err(CredentialsError::Unusable(
                "a user name has no colon, and neither it nor a password has a zero byte",
            ));
        }
        let change = |members: &mut Members, path: &Path| {
            let helper = helpers(members, path)?.of(registry).map(str::to_owned);
            let (entry, kept) = match helper {
                Some(name) => {
                    let (server, limit) = (server_of(registry), self.helper_timeout);
                    helper::store(path, &name, server, username, password, limit)?;
                    (serde_json::json!({}), Kept::ByHelper(name))
                }
                None => {
                    let pair = format!("{username}:{}", password.expose());
                    let auth = BASE64.encode(pair.as_bytes());
                    let entry = serde_json::json!({ "auth": auth });
                    (entry, Kept::InFile(self.path.clone()))
                }
            };
            let mut auths = auths(members, path)?;
            let key = names_of(registry)[0];
            auths
                .0
                .retain(|(name, _)| name == key || !is_of(name, registry));
            auths.set(key, raw(&entry, path)?);
            members.set(AUTHS, auths.to_raw(1, path)?);
            Ok(Some(kept))
        };
        let kept = self.change(change)?;
        Ok(kept.unwrap_or_else(|| Kept::InFile(self.path.clone())))
    }

    /// Forgets what is kept for `registry`; says whether there was anything.
    pub fn erase(&self, registry: &str) -> Result<bool, CredentialsError> {
        let change = |members: &mut Members, path: &Path| {
            let mut auths = auths(members, path)?;
            let before = auths.0.len();
            auths.0.retain(|(name, _)| !is_of(name, registry));
            let known = auths.0.len() < before;
            if let Some(name) = helpers(members, path)?.of(registry) {
                let server = server_of(registry);
                helper::erase(path, name, server, self.helper_timeout)?;
            }
            if !known {
                return Ok(None);
            }
            members.set(AUTHS, auths.to_raw(1, path)?);
            Ok(Some(()))
        };
        if read(&self.path)?.is_none() {
            return Ok(false);
        }
        Ok(self.change(change)?.is_some())
    }

    /// Reads the file, changes it, and puts it in place of the old one unless nothing changed.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Members, &Path) -> Result<Option<T>, CredentialsError>,
    ) -> Result<Option<T>, CredentialsError> {
        // A link to the file stays one: people keep their settings elsewhere.
        let path = canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(CredentialsError::Busy(path));
        };
        let dir = Dir::create_all(folder, 0o700)?;
        lock(&dir, &path)?;
        let mut members = match read(&path)? {
            Some(bytes) => Members::parse(&bytes, &path)?,
            None => Members::default(),
        };
        let Some(result) = change(&mut members, &path)? else {
            return Ok(None);
        };
        let text = members.text(0) + "\n";
        let owner = match dir.stat(name) {
            Ok(stat) => Some((stat.st_uid, stat.st_gid)),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        dir.replace(name, text.as_bytes(), 0o600, Durability::Durable)?;
        if let Some((uid, gid)) = owner {
            // A login by sudo must not take the file from its owner.
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(&dir, name, Some(uid), Some(gid), flags).at("set the owner of", &path)?;
        }
        Ok(Some(result))
    }
}

/// Locks the folder against other logins of this program; the lock ends with `dir`.
fn lock(dir: &Dir, path: &Path) -> Result<(), CredentialsError> {
    let deadline = Instant::now() + WAIT;
    loop {
        match flock(dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => {
                let failed: Result<(), PathError> = Err(error).at("lock", dir.path());
                return Ok(failed?);
            }
        }
        if Instant::now() >= deadline {
            return Err(CredentialsError::Busy(path.to_owned()));
        }
        sleep(Duration::from_millis(5));
    }
}

fn is_of(key: &str, registry: &str) -> bool {
    names_of(registry).contains(&bare_host(key)) || names_of(registry).contains(&key)
}

fn helpers(members: &Members, path: &Path) -> Result<Helpers, CredentialsError> {
    let text = members.text(0);
    serde_json::from_str(&text).map_err(|error| malformed(path, &error))
}

fn auths(members: &Members, path: &Path) -> Result<Members, CredentialsError> {
    match members.get(AUTHS).map(RawValue::get) {
        None | Some("null") => Ok(Members::default()),
        Some(text) => Members::parse(text.as_bytes(), path),
    }
}

fn raw(value: &serde_json::Value, path: &Path) -> Result<Box<RawValue>, CredentialsError> {
    to_raw_value(value).map_err(|error| malformed(path, &error))
}

impl Members {
    fn parse(bytes: &[u8], path: &Path) -> Result<Self, CredentialsError> {
        serde_json::from_slice(bytes).map_err(|error| malformed(path, &error))
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// Sets a member, in its place if it has one.
    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Writes the object as Docker does, a member a line, `depth` objects deep.
    fn text(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let (inner, outer) = ("\t".repeat(depth + 1), "\t".repeat(depth));
        let lines = self.0.iter().map(|(name, value)| {
            let name = serde_json::Value::String(name.clone());
            format!("{inner}{name}: {}", value.get())
        });
        let lines: Vec<String> = lines.collect();
        format!("{{\n{}\n{outer}}}", lines.join(",\n"))
    }

    fn to_raw(&self, depth: usize, path: &Path) -> Result<Box<RawValue>, CredentialsError> {
        RawValue::from_string(self.text(depth)).map_err(|error| malformed(path, &error))
    }
}

mod members {
    //! Reading an object without losing the order of its members.

    use std::fmt;

    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

    use super::Members;

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(InOrder)
        }
    }

    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Members;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Vec::new();
            while let Some(entry) = map.next_entry()? {
                members.push(entry);
            }
            Ok(Members(members))
        }
    }
}

#[cfg(test)]
mod tests;
