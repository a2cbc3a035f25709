//! What becomes of a container's output: `--log-driver` and `--log-opt`, in Docker's words.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use lamina_monitor::log::Format;
use lamina_monitor::{LogConfig, LogDriver, SinkAddress, SinkConfig, SinkProtocol};
use lamina_types::{ContainerId, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::container::list::labels;
use crate::process;
use crate::record::Record;
use crate::request::CreateRequest;

/// Where journald takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslogd takes lines.
const SYSLOG: &str = "/dev/log";

/// The names of syslog's facilities, by number (RFC 5424).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const DAEMON: u8 = 3;

/// The options of `json-file`.
const JSON_FILE: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

/// The drivers, as `info` tells them.
pub(crate) const DRIVERS: [&str; 6] = [
    "journald",
    "json-file",
    "local",
    "none",
    PASSTHROUGH,
    "syslog",
];

/// The driver that hands the program what the caller writes to.
pub(crate) const PASSTHROUGH: &str = "passthrough";

/// What becomes of the output, as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRequest {
    /// The driver; `None` is `json-file`.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Why a driver or an option cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRequestError {
    /// There is no such driver.
    #[error("error looking up logging plugin {0}: plugin {0:?} not found")]
    Driver(String),
    /// The driver has no options.
    #[error("invalid logging opts for driver {0}")]
    None(String),
    /// What passes through must not be a terminal.
    #[error("the '--log-driver passthrough' option cannot be used on a TTY")]
    Terminal,
    /// The driver `local` does not know the option.
    #[error("unknown log opt '{0}' for log driver local")]
    LocalOption(String),
    /// The driver does not know the option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Option {
        /// The option.
        option: String,
        /// The driver.
        driver: String,
    },
    /// The value of an option makes no sense.
    #[error("failed to initialize logging driver: {0}")]
    Value(String),
    /// The same, of what is looked at first.
    #[error("{0}")]
    Early(String),
}

impl LogRequestError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Who a container is, for what its entries are marked with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) env: &'a [String],
}

/// Refuses what no monitor could do.
pub(crate) fn check(request: &CreateRequest, id: &ContainerId) -> Result<(), LogRequestError> {
    let who = Who {
        id,
        name: "",
        image: "",
        labels: &BTreeMap::new(),
        env: &[],
    };
    if request.log.driver() == PASSTHROUGH && request.process.tty {
        return Err(LogRequestError::Terminal);
    }
    request.log.plan(&LogConfig::default(), who).map(drop)
}

/// Returns what the monitor of a container does with its output.
pub(crate) fn of(record: &Record, default: &LogConfig) -> LogConfig {
    let image = record.request.image.familiar();
    let plan = process::plan(&record.request, &record.image_config, &record.id);
    let who = Who {
        id: &record.id,
        name: record.name.as_str(),
        image: &image,
        labels: &labels(&record.request.labels, &record.image_config),
        env: &plan.map(|plan| plan.env).unwrap_or_default(),
    };
    // What cannot be done was refused when the container was made.
    let planned = record.request.log.plan(default, who);
    planned.unwrap_or_else(|_| default.clone())
}

impl LogRequest {
    /// Returns the driver's name.
    pub(crate) fn driver(&self) -> &str {
        self.driver.as_deref().unwrap_or("json-file")
    }

    /// Returns in which form what was written can be read again; `None` if it cannot.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.driver() {
            "json-file" => Some(Format::Json),
            "local" => Some(Format::Framed),
            _ => None,
        }
    }

    /// Decides what the monitor does; `default` is what the configuration says.
    pub(crate) fn plan(
        &self,
        default: &LogConfig,
        who: Who<'_>,
    ) -> Result<LogConfig, LogRequestError> {
        let known: &[&str] = match self.driver() {
            "json-file" => &JSON_FILE,
            "local" => &local::OPTIONS,
            "none" | PASSTHROUGH if self.options.is_empty() => &[],
            driver @ ("none" | PASSTHROUGH) => {
                return Err(LogRequestError::None(driver.to_owned()));
            }
            "syslog" => &[
                "syslog-address",
                "syslog-facility",
                "tag",
                "mode",
                "max-buffer-size",
            ],
            "journald" => &["tag", "mode", "max-buffer-size"],
            other => return Err(LogRequestError::Driver(other.to_owned())),
        };
        if let Some(option) = self
            .options
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            return Err(match self.driver() {
                "local" => LogRequestError::LocalOption(option.clone()),
                driver => LogRequestError::Option {
                    option: option.clone(),
                    driver: driver.to_owned(),
                },
            });
        }
        self.check_mode()?;
        let mut config = default.clone();
        match self.driver() {
            "none" => config.driver = LogDriver::None,
            PASSTHROUGH => config.driver = LogDriver::Passthrough,
            "json-file" => {
                self.sizes(&mut config)?;
                config.attributes = self.attributes(who)?;
            }
            "local" => config = self.local()?,
            _ => {
                config.driver = LogDriver::Sink;
                config.sink = Some(self.sink(who)?);
            }
        }
        Ok(config)
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Whatever the mode, a daemon that does not keep up never holds the container up.
    fn check_mode(&self) -> Result<(), LogRequestError> {
        match self.option("mode") {
            None | Some("blocking") if self.option("max-buffer-size").is_some() => {
                let text =
                    "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
                Err(LogRequestError::Early(text.to_owned()))
            }
            None | Some("blocking" | "non-blocking") => Ok(()),
            Some(other) => {
                let text = format!("logger: logging mode not supported: {other}");
                Err(LogRequestError::Early(text))
            }
        }
    }

    fn sizes(&self, config: &mut LogConfig) -> Result<(), LogRequestError> {
        if let Some(text) = self.option("max-size") {
            let size = size(text).filter(|size| *size > 0);
            let bad = || LogRequestError::Value(format!("invalid size: '{text}'"));
            config.max_size = size.ok_or_else(bad)?;
        }
        if let Some(text) = self.option("max-file") {
            let bad = |_| format!("strconv.Atoi: parsing {text:?}: invalid syntax");
            let count: i64 = text.parse().map_err(bad).map_err(LogRequestError::Value)?;
            let few = || LogRequestError::Value("max-file cannot be less than 1".to_owned());
            let count = u32::try_from(count).ok().filter(|count| *count > 0);
            config.max_files = count.ok_or_else(few)?;
        }
        if let Some(text) = self.option("compress") {
            let bad = || format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            let wanted = boolean(text).ok_or_else(|| LogRequestError::Value(bad()))?;
            if wanted && config.max_files < 2 {
                let text =
                    "compress cannot be true when max-file is less than 2 or max-size is not set";
                return Err(LogRequestError::Value(text.to_owned()));
            }
            config.compress = wanted;
        }
        Ok(())
    }

    /// Returns what entries are marked with: the labels and variables that are asked for.
    fn attributes(&self, who: Who<'_>) -> Result<BTreeMap<String, String>, LogRequestError> {
        for option in ["labels-regex", "env-regex"] {
            if self.option(option).is_some() {
                let text = format!("{option} is not supported: name them with labels and env");
                return Err(LogRequestError::Value(text));
            }
        }
        let mut found = BTreeMap::new();
        if let Some(template) = self.option("tag") {
            found.insert("tag".to_owned(), tag(template, who));
        }
        let asked = |option| {
            self.option(option)
                .into_iter()
                .flat_map(|text| text.split(','))
        };
        for name in asked("labels") {
            let value = who.labels.get(name);
            found.extend(value.map(|value| (name.to_owned(), value.clone())));
        }
        for name in asked("env") {
            // The last of a name counts, as for the program.
            let mut variables = who.env.iter().rev().filter_map(|pair| pair.split_once('='));
            let value = variables.find(|(key, _)| *key == name);
            found.extend(value.map(|(_, value)| (name.to_owned(), value.to_owned())));
        }
        Ok(found)
    }

    fn sink(&self, who: Who<'_>) -> Result<SinkConfig, LogRequestError> {
        let tag = tag(self.option("tag").unwrap_or("{{.ID}}"), who);
        if self.driver() == "journald" {
            let fields = [
                ("CONTAINER_ID", who.id.short()),
                ("CONTAINER_ID_FULL", who.id.as_str()),
                ("CONTAINER_NAME", who.name),
                ("CONTAINER_TAG", &tag),
                ("SYSLOG_IDENTIFIER", &tag),
                ("IMAGE_NAME", who.image),
            ];
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            return Ok(SinkConfig {
                protocol: SinkProtocol::Journald,
                address: SinkAddress::Unix(PathBuf::from(JOURNAL)),
                fields: fields.map(own).into(),
                tag,
            });
        }
        Ok(SinkConfig {
            protocol: SinkProtocol::Syslog {
                facility: facility(self.option("syslog-facility"))?,
            },
            address: address(self.option("syslog-address"))?,
            fields: BTreeMap::new(),
            tag,
        })
    }
}

/// Reads a truth value as Docker's options have it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a size of a log file, which counts in thousands as in Docker.
fn size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let units = [('k', 1_000), ('m', 1_000_000), ('g', 1_000_000_000)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (text.trim_end_matches(*unit), *factor),
        None => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Fills in Docker's words for who a container is.
fn tag(template: &str, who: Who<'_>) -> String {
    template
        .replace("{{.ID}}", who.id.short())
        .replace("{{.FullID}}", who.id.as_str())
        .replace("{{.Name}}", who.name)
        .replace("{{.ImageName}}", who.image)
}

fn facility(text: Option<&str>) -> Result<u8, LogRequestError> {
    let Some(text) = text else { return Ok(DAEMON) };
    let named = FACILITIES
        .iter()
        .position(|name| !name.is_empty() && *name == text);
    let number = text
        .parse::<usize>()
        .ok()
        .filter(|number| *number < FACILITIES.len());
    let found = named
        .or(number)
        .and_then(|number| u8::try_from(number).ok());
    found.ok_or_else(|| LogRequestError::Early("invalid syslog facility".to_owned()))
}

fn address(text: Option<&str>) -> Result<SinkAddress, LogRequestError> {
    let Some(text) = text else {
        return Ok(SinkAddress::Unix(PathBuf::from(SYSLOG)));
    };
    let bad = |text: String| LogRequestError::Early(text);
    let (protocol, rest) = text.split_once("://").ok_or_else(|| {
        bad(format!(
            "syslog-address should be in form proto://address, got {text}"
        ))
    })?;
    match protocol {
        "unixgram" | "unix" => Ok(SinkAddress::Unix(PathBuf::from(rest))),
        "udp" => {
            let with_port = match rest.parse::<SocketAddr>() {
                Ok(address) => Some(address),
                Err(_) => rest.parse().ok().map(|ip| SocketAddr::new(ip, 514)),
            };
            let address = with_port.map(SinkAddress::Udp);
            address.ok_or_else(|| bad(format!("syslog-address {rest:?} is no IP address and port")))
        }
        other => Err(bad(format!(
            "syslog-address with {other}:// is not supported: udp:// and unixgram:// never wait"
        ))),
    }
}

mod local;
#[cfg(test)]
mod tests;
