//! Health checks, as images and flags describe them and `inspect` shows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::oci::Config;

/// What tells whether a program is well. Zero and empty say nothing, as in Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, …]`, or `["CMD-SHELL", text]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Nanoseconds after which a check has failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Nanoseconds after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Nanoseconds between two checks until the first success, in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Healthcheck {
    /// Returns the check that does nothing, not even an image's.
    pub fn none() -> Self {
        Self {
            test: vec!["NONE".to_owned()],
            ..Self::default()
        }
    }

    /// Returns what an image says; one that makes no sense is none.
    pub fn of_image(image: &Config) -> Option<Self> {
        let check = image.other.get("Healthcheck")?;
        serde_json::from_value(check.clone()).ok()
    }

    /// Returns what is said here, and where nothing is, what the image says.
    #[must_use]
    pub fn over(mut self, image: Self) -> Self {
        if self.test.is_empty() {
            self.test = image.test;
        }
        for (own, other) in [
            (&mut self.interval, image.interval),
            (&mut self.timeout, image.timeout),
            (&mut self.start_period, image.start_period),
            (&mut self.start_interval, image.start_interval),
            (&mut self.retries, image.retries),
        ] {
            if *own == 0 {
                *own = other;
            }
        }
        self
    }

    /// Returns what is executed in a container of an image; `None` if nothing is.
    pub fn command(&self, image: &Config) -> Option<Vec<String>> {
        let (kind, words) = self.test.split_first()?;
        if words.is_empty() {
            return None;
        }
        match kind.as_str() {
            "CMD" => Some(words.to_vec()),
            "CMD-SHELL" => Some([&shell(image), words].concat()),
            // `NONE`, and what nobody knows.
            _ => None,
        }
    }
}

/// The shell of an image's (`SHELL` of a Dockerfile), or the usual one.
fn shell(image: &Config) -> Vec<String> {
    let own = image.other.get("Shell").and_then(Value::as_array);
    let own = own.map(|words| {
        let words = words.iter().filter_map(Value::as_str);
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    match own {
        Some(words) if !words.is_empty() => words,
        _ => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
    }
}

/// What is done with a container that has become unhealthy (`--health-on-failure`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// It is stopped and started again.
    Restart,
    /// It is stopped, and stays so.
    Stop,
    /// It is killed; its restart policy decides what follows.
    Kill,
}

impl OnFailure {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid on-failure action {0:?} for health check: expected none, restart, stop or kill")]
pub struct OnFailureError(String);

impl FromStr for OnFailure {
    type Err = OnFailureError;

    fn from_str(text: &str) -> Result<Self, OnFailureError> {
        [Self::None, Self::Restart, Self::Stop, Self::Kill]
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| OnFailureError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(other: Value) -> Config {
        serde_json::from_value(other).unwrap()
    }

    #[test]
    fn a_flag_replaces_its_field_only() {
        let image = image(json!({"Healthcheck": {
            "Test": ["CMD", "probe"], "Interval": 7, "Retries": 2,
        }}));
        let said = Healthcheck {
            interval: 5,
            start_period: 1,
            ..Healthcheck::default()
        };
        let merged = said.over(Healthcheck::of_image(&image).unwrap());
        assert_eq!(
            serde_json::to_value(&merged).unwrap(),
            json!({"Test": ["CMD", "probe"], "Interval": 5, "StartPeriod": 1, "Retries": 2})
        );
        assert_eq!(Healthcheck::none().over(merged).test, ["NONE"]);
    }

    #[test]
    fn commands_are_dockers() {
        let plain = Config::default();
        let shell = image(json!({"Shell": ["/bin/ash", "-ec"]}));
        let check = |test: &[&str]| Healthcheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            ..Healthcheck::default()
        };
        for (test, image, expected) in [
            (&["CMD", "a", "b"][..], &plain, Some("a b")),
            (&["CMD-SHELL", "a b"], &plain, Some("/bin/sh -c a b")),
            (&["CMD-SHELL", "a b"], &shell, Some("/bin/ash -ec a b")),
            (&["NONE"], &plain, None),
            (&["CMD"], &plain, None),
            (&["what", "a"], &plain, None),
            (&[], &plain, None),
        ] {
            let command = check(test).command(image).map(|words| words.join(" "));
            assert_eq!(command.as_deref(), expected, "{test:?}");
        }
    }

    #[test]
    fn nonsense_in_an_image_is_no_check() {
        for nonsense in [json!(7), json!({"Test": 7}), json!({"Interval": "1s"})] {
            let image = image(json!({ "Healthcheck": nonsense }));
            assert_eq!(Healthcheck::of_image(&image), None);
        }
        assert!("again".parse::<OnFailure>().is_err());
        assert_eq!("stop".parse(), Ok(OnFailure::Stop));
    }
}
