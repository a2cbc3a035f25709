//! Docker's `config.json` and containers' `auth.json`, which have the same shape.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;

use super::{Credential, Credentials, CredentialsError, Secret, helper};

/// The longest file that is read.
const FILE_LIMIT: u64 = 4 << 20;
/// How Docker's files name Docker Hub.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Reads credentials from files in the format of `docker login` and `podman login`.
///
/// The files are tried in the order given; the first that has something for a registry decides.
/// Within a file: `credHelpers`, then `auths` (the longest matching repository first), then
/// `credsStore`. Files are read at each look-up and never kept.
#[derive(Debug, Clone)]
pub struct DockerConfigFiles {
    /// The files, such as `~/.docker/config.json`; missing ones are skipped.
    pub paths: Vec<PathBuf>,
    /// How long a helper program may take.
    pub helper_timeout: Duration,
}

impl DockerConfigFiles {
    /// Returns a source for these files, with 15 s for each helper.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            helper_timeout: Duration::from_secs(15),
        }
    }

    fn in_file(
        &self,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let Some(bytes) = read(path)? else {
            return Ok(None);
        };
        let file: ConfigFile =
            serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?;
        let names = names_of(registry);
        if let Some(helper) = file.helpers.own(&names) {
            return self.ask_helper(path, helper, registry);
        }
        if let Some(entry) = file.find(&names, registry, repository)
            && let Some(credential) = entry.credential(path)?
        {
            return Ok(Some(credential));
        }
        match file.helpers.store() {
            Some(store) => self.ask_helper(path, store, registry),
            None => Ok(None),
        }
    }

    fn ask_helper(
        &self,
        path: &Path,
        name: &str,
        registry: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        helper::get(path, name, server_of(registry), self.helper_timeout)
    }
}

impl Credentials for DockerConfigFiles {
    fn lookup(&self, registry: &str, path: &str) -> Result<Option<Credential>, CredentialsError> {
        for file in &self.paths {
            if let Some(found) = self.in_file(file, registry, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(flatten)]
    helpers: Helpers,
}

/// The helpers that a file names.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Helpers {
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

impl Helpers {
    /// Returns the helper of one registry.
    fn own(&self, names: &[&str]) -> Option<&str> {
        let found = names.iter().find_map(|name| self.cred_helpers.get(*name));
        found.map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns the helper of all others.
    fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|name| !name.is_empty())
    }

    /// Returns the helper that a login to `registry` is kept by, if any.
    pub(super) fn of(&self, registry: &str) -> Option<&str> {
        self.own(&names_of(registry)).or_else(|| self.store())
    }
}

/// Returns what helpers know a registry by.
pub(super) fn server_of(registry: &str) -> &str {
    match registry {
        "docker.io" => DOCKER_HUB_KEY,
        other => other,
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl ConfigFile {
    /// Finds the entry of the longest key that is a prefix of `registry/repository`
    /// (containers-auth.json(5)), or one of the registry's names.
    fn find(&self, names: &[&str], registry: &str, repository: &str) -> Option<&Entry> {
        let whole = format!("{registry}/{repository}");
        let mut key = whole.as_str();
        while let Some(slash) = key.rfind('/') {
            if let Some(entry) = self.auths.get(key) {
                return Some(entry);
            }
            key = &key[..slash];
        }
        names
            .iter()
            .find_map(|name| self.auths.get(*name))
            .or_else(|| {
                let matching = |key: &str| names.contains(&bare_host(key));
                let entry = self.auths.iter().find(|(key, _)| matching(key));
                entry.map(|(_, entry)| entry)
            })
    }
}

impl Entry {
    fn credential(&self, path: &Path) -> Result<Option<Credential>, CredentialsError> {
        let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = present(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(Secret::new(token))));
        }
        if let Some(token) = present(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(Secret::new(token))));
        }
        if let (Some(username), Some(password)) = (present(&self.username), present(&self.password))
        {
            return Ok(Some(password_of(username, password)));
        }
        let Some(auth) = present(&self.auth) else {
            return Ok(None);
        };
        let bad = || CredentialsError::Malformed {
            path: path.to_owned(),
            detail: "an \"auth\" field is not base64 of user:password".to_owned(),
        };
        let bytes = BASE64.decode(auth.trim().as_bytes()).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let (username, password) = text.split_once(':').ok_or_else(bad)?;
        // Docker has been seen to pad with zero bytes.
        let password = password.trim_matches('\0').to_owned();
        Ok(Some(password_of(username.to_owned(), password)))
    }
}

fn password_of(username: String, password: String) -> Credential {
    Credential::Password {
        username,
        password: Secret::new(password),
    }
}

/// Returns the keys that files use for `registry`, the best first.
pub(super) fn names_of(registry: &str) -> Vec<&str> {
    if registry == "docker.io" {
        vec![DOCKER_HUB_KEY, "docker.io", "index.docker.io"]
    } else {
        vec![registry]
    }
}

/// Returns the host of an old-style key: `https://host/v1/` is `host`.
pub(super) fn bare_host(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    // A key without a scheme but with a path is a repository's and was tried already.
    match rest {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key,
    }
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let failure = |source: io::Error| CredentialsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failure(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(failure)?;
    // An empty file is what an interrupted login leaves behind.
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

/// Says where a file is wrong without repeating what it holds: serde's own text may quote it.
pub(super) fn malformed(path: &Path, error: &serde_json::Error) -> CredentialsError {
    CredentialsError::Malformed {
        path: path.to_owned(),
        detail: format!("line {} column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests;
