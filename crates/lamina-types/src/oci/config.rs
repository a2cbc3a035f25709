//! The image configuration document, OCI's fields and Docker's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::DiffId;

/// An image configuration. Fields that are not known here are kept in `other`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The architecture it is for, by its Go name.
    #[serde(default)]
    pub architecture: String,
    /// The operating system it is for.
    #[serde(default)]
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container of the image runs with.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Config,
    /// The layers by diff id.
    #[serde(default)]
    pub rootfs: RootfsSection,
    /// How it was made, the oldest step first.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<HistoryEntry>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsSection {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Diff ids, the bottom-most first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One step of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// What a container of an image runs with, unless told otherwise.
///
/// A closed list: nothing of the host's is ever decided by a field or label that is not read
/// here (CVE-2026-53488).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports the program listens on, `80/tcp`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Value>,
    /// The environment, `NAME=value`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and first arguments; `None` and empty are the same.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// The default arguments, or the program where there is no entrypoint.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Paths that become volumes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Value>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program, by name or number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Everything else: `Healthcheck`, `Shell`, `OnBuild`, `StopTimeout`, `ArgsEscaped`, …
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Docker writes `null` for an empty list or map.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_fields_survive_a_round_trip() {
        let text = r#"{"architecture":"amd64","os":"linux","docker_version":"20.10",
            "config":{"Cmd":["sh"],"Env":null,"Healthcheck":{"Test":["CMD","x"]},"OnBuild":["RUN y"]},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty());
        let again: Value = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again["config"]["Healthcheck"]["Test"][1], "x");
        assert_eq!(again["docker_version"], "20.10");
    }

    #[test]
    fn a_null_config_is_an_empty_one() {
        let config: ImageConfig = serde_json::from_str(r#"{"config":null}"#).unwrap();
        assert_eq!(config.config, Config::default());
    }
}
