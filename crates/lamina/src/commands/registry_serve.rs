//! `registry serve`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lamina_registry::{Access, Limits, ServerConfig, Tls, Told, Users, serve};
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::ServeArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// No certificate, key or list of users is longer.
const FILE_MAX: u64 = 4 << 20;

impl Verb for ServeArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let config = self.config()?;
        let secure = config.tls.is_some();
        self.warn(secure);
        let engine = app.engine()?;
        let partly = engine.images().without_blobs().map_err(Failure::from)?;
        if let Some(first) = partly.first() {
            ui::err(&format!(
                "WARNING! {} of the images cannot be pulled from here: their compressed layers were \
                 not kept ({} …).\n",
                partly.len(),
                ui::escape(&first.familiar())
            ));
        }
        let store = engine.store().clone();
        let quiet = self.quiet;
        let scheme = if secure { "https" } else { "http" };
        serve(store, config, move |told| show(told, scheme, quiet)).map_err(|error| {
            let failure = Failure::from(error);
            match failure.kind() {
                ErrorKind::AlreadyExists => failure
                    .hint("another program listens there: --listen 127.0.0.1:0 takes a free port"),
                _ => failure,
            }
        })?;
        Ok(exit_codes::SUCCESS)
    }
}

impl ServeArgs {
    fn config(&self) -> Outcome<ServerConfig> {
        let users = self.htpasswd.as_deref().map(|path| {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            Users::parse(&text).map_err(|error| {
                let kind = error.kind();
                unusable(path, error, kind)
            })
        });
        let tls = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        let tls = tls.map(|(certificate, key)| {
            Tls::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
                let kind = error.kind();
                unusable(certificate, error, kind)
            })
        });
        Ok(ServerConfig {
            listen: self.listen,
            access: Access {
                users: users.transpose()?,
                private: self.private,
                writable: self.writable,
                read_only: self.read_only,
            },
            tls: tls.transpose()?,
            limits: Limits::default(),
        })
    }

    /// Says what others on the network can do or see.
    fn warn(&self, secure: bool) {
        if self.listen.ip().is_loopback() {
            return;
        }
        if self.writable {
            ui::err("WARNING! Everybody who reaches this address can push images.\n");
        }
        if self.htpasswd.is_some() && !secure {
            ui::err("WARNING! Without --tls-cert passwords go over the network as they are.\n");
        }
    }
}

fn show(told: Told, scheme: &str, quiet: bool) {
    match told {
        Told::Listening(address) => {
            // Whoever waits for the line reads stdout; nobody need.
            let _ = ui::out(&format!("Listening on {scheme}://{address}\n"));
        }
        Told::Answered {
            peer,
            method,
            path,
            status,
        } if !quiet => {
            let (method, path) = (ui::escape(&method), ui::escape(&path));
            ui::err(&format!("{peer} {method} {path} {status}\n"));
        }
        Told::Failed(text) => ui::err(&format!("error: {}\n", ui::escape(&text))),
        Told::Ending if !quiet => ui::err("Ending\n"),
        Told::Answered { .. } | Told::Ending => {}
    }
}

/// A file that was named on the command line cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
struct FileError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn unusable(
    path: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
    kind: ErrorKind,
) -> Failure {
    let error = FileError {
        path: path.to_owned(),
        source: Box::new(source),
    };
    Failure::new(error, kind)
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read: io::Result<usize> = file.and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    read.map_err(|error| {
        let kind = ErrorKind::of_io(&error);
        unusable(path, error, kind)
    })?;
    Ok(bytes)
}
