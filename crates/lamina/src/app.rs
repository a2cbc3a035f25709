//! What every command has: the options before its name, the environment, and the engine on demand.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command, value_parser};
use lamina_distribution::{
    Client, ClientConfig, Credentials, DockerConfigFiles, FetchError, ProxyConfig,
};
use lamina_engine::{Early, Engine, EngineConfig};
use lamina_image::HostPaths;
use lamina_monitor::LogConfig;
use lamina_snapshot::StorageMode;
use lamina_types::ErrorKind;

use crate::commands::ForwardedSignals;
use crate::config::Config;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};

/// The options before the command's name, and the environment.
#[derive(Debug)]
pub(crate) struct App {
    /// The environment.
    pub(crate) environment: Environment,
    /// Where images and containers are kept.
    pub(crate) root: PathBuf,
    /// Where sockets and bundles are kept.
    pub(crate) run: PathBuf,
    /// `--storage-mode`.
    pub(crate) storage_mode: Option<String>,
    /// The monitor that was begun for a `run`.
    pub(crate) early: RefCell<Option<Early>>,
}

impl App {
    /// Adds the options to the command.
    pub(crate) fn augment(command: Command) -> Command {
        let path = |name, value, help| {
            let parser = value_parser!(PathBuf);
            Arg::new(name)
                .long(name)
                .value_name(value)
                .value_parser(parser)
                .help(help)
        };
        command
            .arg(path("root", "DIR", "Where images and containers are kept [env: LAMINA_ROOT] [default: /var/lib/lamina]"))
            .arg(path("run-root", "DIR", "Where sockets and bundles are kept [env: LAMINA_RUN] [default: /run/lamina]"))
            .arg(
                Arg::new("storage-mode")
                    .long("storage-mode")
                    .value_name("MODE")
                    .value_parser(["auto", "erofs", "plain"])
                    .help("How root filesystems are kept and mounted"),
            )
    }

    /// Returns what the options say, with the environment where they say nothing.
    pub(crate) fn new(
        matches: &ArgMatches,
        environment: Environment,
        early: Option<Early>,
    ) -> Self {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        // A relative path would mean another place to the monitor, which lives elsewhere.
        let absolute = |path: PathBuf| match environment.working_directory() {
            Ok(cwd) => cwd.join(path),
            Err(_) => path,
        };
        Self {
            root: absolute(path("root").unwrap_or_else(|| environment.root())),
            run: absolute(path("run-root").unwrap_or_else(|| environment.run())),
            storage_mode: matches.get_one::<String>("storage-mode").cloned(),
            early: RefCell::new(early),
            environment,
        }
    }

    /// Reads the configuration.
    pub(crate) fn config(&self) -> Outcome<Config> {
        Ok(Config::load(&self.environment)?)
    }

    /// Returns the working directory.
    pub(crate) fn working_directory(&self) -> Outcome<PathBuf> {
        self.environment.working_directory().map_err(|error| {
            let kind = ErrorKind::of_io(&error);
            Failure::new(error, kind).hint("the working directory is gone: cd to another one")
        })
    }

    /// Opens the engine for a command that neither pulls nor starts anything.
    pub(crate) fn engine(&self) -> Outcome<Engine> {
        self.engine_with(&Config::default(), Pulling::default())
    }

    /// Opens the engine with the configuration, for a command that brings or removes things.
    pub(crate) fn engine_configured(&self) -> Outcome<Engine> {
        self.engine_with(&self.config()?, Pulling::default())
    }

    /// Opens the engine.
    pub(crate) fn engine_with(&self, config: &Config, pulling: Pulling) -> Outcome<Engine> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::said(
                ErrorKind::PermissionDenied,
                "lamina must be run as root in this version",
            )
            .hint("sudo lamina …"));
        }
        let client = self.client_config(config, &pulling);
        let make_client = move || {
            // Ctrl-C ends a download; a program that could have the signal does not exist yet.
            if let Some(signals) = &pulling.signals {
                signals.give_back();
            }
            Client::new(client.clone())
        };
        let engine = Engine::open(self.engine_config(config)?, Box::new(make_client));
        engine.map_err(|error| with_hints(Failure::from(error), About::Store))
    }

    fn engine_config(&self, config: &Config) -> Outcome<EngineConfig> {
        let mode = self
            .storage_mode
            .as_deref()
            .or(config.storage_mode.as_deref());
        let storage = match mode {
            None | Some("auto") => StorageMode::Auto,
            Some("plain") => StorageMode::Plain,
            Some("erofs") => StorageMode::Erofs,
            Some(other) => {
                return Err(Failure::usage(format!(
                    "unknown storage mode {other:?}: expected auto, erofs or plain"
                )));
            }
        };
        let mut log = LogConfig::default();
        log.max_size = config.log_max_size()?.unwrap_or(log.max_size);
        log.max_files = config.log_max_files()?.unwrap_or(log.max_files);
        let binary = self.environment.binary().map_err(|error| {
            let kind = ErrorKind::of_io(&error);
            Failure::new(error, kind)
        })?;
        Ok(EngineConfig {
            root: self.root.clone(),
            run: self.run.clone(),
            binary,
            storage,
            keep_blobs: config.keep_blobs()?,
            host: HostPaths::default(),
            log,
            window: config.window(self.environment.words())?,
        })
    }

    /// Makes a client of registries.
    pub(crate) fn client(&self, config: &Config, pulling: &Pulling) -> Result<Client, FetchError> {
        Client::new(self.client_config(config, pulling))
    }

    /// Makes a client that uses these credentials and no others.
    pub(crate) fn client_as(
        &self,
        config: &Config,
        pulling: &Pulling,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Client, FetchError> {
        Client::new(ClientConfig {
            credentials,
            ..self.client_config(config, pulling)
        })
    }

    /// Returns the files that may have credentials, the first that has some deciding: Podman's
    /// first, then Docker's, since whoever has both uses the former on purpose.
    pub(crate) fn auth_files(&self) -> Vec<PathBuf> {
        let environment = &self.environment;
        let files = [
            environment
                .runtime_dir()
                .map(|dir| dir.join("containers/auth.json")),
            environment
                .config_home()
                .map(|dir| dir.join("containers/auth.json")),
            environment
                .docker_config()
                .map(|dir| dir.join("config.json")),
        ];
        files.into_iter().flatten().collect()
    }

    fn client_config(&self, config: &Config, pulling: &Pulling) -> ClientConfig {
        let environment = &self.environment;
        ClientConfig {
            registries: config.registries.clone(),
            tls_verify: pulling.tls_verify,
            credentials: Arc::new(DockerConfigFiles::new(self.auth_files())),
            proxy: environment
                .proxy()
                .map(|(url, no_proxy)| ProxyConfig { url, no_proxy }),
            ..ClientConfig::default()
        }
    }
}

/// How images are fetched for a container.
#[derive(Debug, Default)]
pub(crate) struct Pulling {
    /// `--tls-verify`.
    pub(crate) tls_verify: Option<bool>,
    /// Signals that are given back while an image is being fetched.
    pub(crate) signals: Option<ForwardedSignals>,
}
