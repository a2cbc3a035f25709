//! `login` and `logout`.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use lamina_distribution::{
    Credential, Credentials as _, DockerConfigFiles, Kept, LoginFile, OneCredential, Secret,
};
use lamina_types::{ErrorKind, Reference};

use crate::app::{App, Pulling};
use crate::args::{LoginArgs, LogoutArgs};
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// The longest password that is read.
const PASSWORD_MAX: u64 = 64 << 10;
const HUB: &str = "docker.io";

impl Verb for LoginArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let registry = registry(self.server.as_deref())?;
        let path = login_file(app)?;
        let file = LoginFile::new(path.clone());
        if self.username.is_none() && self.password.is_none() && !self.password_stdin {
            let files = DockerConfigFiles::new(vec![path.clone()]);
            let known = files.lookup(&registry, "").map_err(Failure::from)?;
            if let Some(known) = known {
                ui::err("Authenticating with existing credentials...\n");
                if self.verify(app, &registry, known).is_ok() {
                    ui::out("Login Succeeded\n")?;
                    return Ok(exit_codes::SUCCESS);
                }
                ui::err("Login did not succeed, the existing credentials are refused\n");
            }
        }
        let (username, password) = self.typed(&registry)?;
        let credential = Credential::Password {
            username: username.clone(),
            password: password.clone(),
        };
        self.verify(app, &registry, credential)?;
        let kept = file
            .store(&registry, &username, &password)
            .map_err(Failure::from)?;
        if let Kept::InFile(path) = kept {
            ui::err(&format!(
                "WARNING! Your password will be stored unencrypted in {}.\n\
                 A credential helper (\"credsStore\" in that file) keeps it encrypted.\n",
                ui::escape(&path.to_string_lossy())
            ));
        }
        warn_of_others(app, &registry, &path);
        ui::out("Login Succeeded\n")?;
        Ok(exit_codes::SUCCESS)
    }
}

impl LoginArgs {
    /// Asks the registry whether the credential is good.
    fn verify(&self, app: &App, registry: &str, credential: Credential) -> Outcome {
        let pulling = Pulling {
            tls_verify: self.registry.tls_verify,
            signals: None,
        };
        let only = OneCredential {
            registry: registry.to_owned(),
            credential,
        };
        let config = app.config()?;
        let client = app.client_as(&config, &pulling, Arc::new(only));
        let client = client.map_err(Failure::from)?;
        client.verify_login(registry).map_err(|error| {
            let failure = Failure::from(error);
            match failure.kind() {
                ErrorKind::Unavailable | ErrorKind::Timeout => {
                    failure.hint("--tls-verify=false allows http, and https without verification")
                }
                _ => failure,
            }
        })
    }

    /// Returns the user name and password: from the arguments, stdin or the terminal.
    fn typed(&self, registry: &str) -> Outcome<(String, Secret)> {
        let interactive = ui::in_is_terminal();
        if self.password_stdin {
            let Some(username) = &self.username else {
                return Err(Failure::usage(
                    "Must provide --username with --password-stdin",
                ));
            };
            return Ok((username.clone(), read_password()?));
        }
        if self.password.is_some() {
            ui::err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
        }
        let cannot_ask = || {
            Failure::said(
                ErrorKind::InvalidArgument,
                "cannot ask for a user name and password: stdin is no terminal",
            )
            .hint(format!(
                "lamina login -u NAME --password-stdin {registry} < FILE"
            ))
        };
        let username = match &self.username {
            Some(username) => username.clone(),
            None if interactive => prompted(ui::prompt("Username: "))?,
            None => return Err(cannot_ask()),
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if interactive => prompted(ui::prompt_secret("Password: "))?,
            None => return Err(cannot_ask()),
        };
        if username.is_empty() || password.is_empty() {
            let what = if username.is_empty() {
                "username"
            } else {
                "password"
            };
            return Err(Failure::said(
                ErrorKind::InvalidArgument,
                format!("{what} is empty"),
            ));
        }
        Ok((username, Secret::new(password)))
    }
}

impl Verb for LogoutArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let registry = registry(self.server.as_deref())?;
        let path = login_file(app)?;
        let known = LoginFile::new(path.clone())
            .erase(&registry)
            .map_err(Failure::from)?;
        ui::out(&match known {
            true => format!("Removing login credentials for {registry}\n"),
            false => format!("Not logged in to {registry}\n"),
        })?;
        warn_of_others(app, &registry, &path);
        Ok(exit_codes::SUCCESS)
    }
}

/// Says where credentials come from that are looked up before those of `path`.
fn warn_of_others(app: &App, registry: &str, path: &PathBuf) {
    let others = app.auth_files().into_iter().filter(|other| other != path);
    for other in others {
        let found = DockerConfigFiles::new(vec![other.clone()]).lookup(registry, "");
        if matches!(found, Ok(Some(_))) {
            ui::err(&format!(
                "WARNING! {} has credentials for {registry} too, and they come first.\n",
                ui::escape(&other.to_string_lossy())
            ));
        }
    }
}

fn login_file(app: &App) -> Outcome<PathBuf> {
    let folder = app.environment.docker_config();
    let folder = folder.ok_or_else(|| {
        Failure::said(
            ErrorKind::FailedPrecondition,
            "there is no place for logins: HOME is not set",
        )
        .hint("set HOME, or DOCKER_CONFIG to a directory")
    })?;
    Ok(folder.join("config.json"))
}

/// Returns the registry as references have it; people paste URLs.
fn registry(server: Option<&str>) -> Outcome<String> {
    let Some(text) = server else {
        return Ok(HUB.to_owned());
    };
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    let host = bare.split('/').next().unwrap_or(bare);
    if matches!(host, HUB | "index.docker.io" | "registry-1.docker.io") {
        return Ok(HUB.to_owned());
    }
    let name = format!("{host}/x").parse::<Reference>();
    match name {
        Ok(name) if name.domain() == host => Ok(host.to_owned()),
        _ => Err(Failure::said(
            ErrorKind::InvalidArgument,
            format!("{text:?} is no registry"),
        )
        .hint("a registry has a dot or a port: registry.example, host:5000, localhost")),
    }
}

fn read_password() -> Outcome<Secret> {
    let mut text = String::new();
    let read = io::stdin().take(PASSWORD_MAX).read_to_string(&mut text);
    prompted(read)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::said(
            ErrorKind::InvalidArgument,
            "password is empty",
        ));
    }
    Ok(Secret::new(text))
}

fn prompted<T>(result: io::Result<T>) -> Outcome<T> {
    result.map_err(|error| {
        let kind = ErrorKind::of_io(&error);
        let interrupted = kind == ErrorKind::Cancelled;
        let failure = Failure::new(error, kind);
        if interrupted {
            failure.exits(130)
        } else {
            failure
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_as_people_type_them() {
        for (typed, expected) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("r.test:5000"), "r.test:5000"),
            (Some("http://r.test/v2/"), "r.test"),
            (Some("localhost"), "localhost"),
        ] {
            assert_eq!(registry(typed).unwrap(), expected);
        }
        for bad in ["", "word", "u@h:1", "r.test:x", "a b.c", "https://"] {
            assert!(registry(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
