//! Restart policies, as `--restart` writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When a container whose program has ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it ends, unless somebody stops it; after a reboot even then.
    Always,
    /// Whenever it ends, unless somebody has stopped it; not after a reboot either.
    UnlessStopped,
    /// When it ends with another code than 0.
    OnFailure {
        /// How often in a row at most; 0 is without end.
        most: u32,
    },
}

/// Why a text is no restart policy, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartPolicyError {
    /// There is only a colon.
    #[error("invalid restart policy format: no policy provided before colon")]
    NoName,
    /// What stands behind the colon is no number.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    Count,
    /// The number is below zero.
    #[error("maximum retry count cannot be negative")]
    Negative,
    /// A number with another policy than on-failure.
    #[error("maximum retry count cannot be used with restart policy '{0}'")]
    CountOf(String),
    /// There is no such policy.
    #[error("invalid restart policy '{0}'")]
    Unknown(String),
}

impl RestartPolicy {
    /// Returns the policy's name, without the number.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
        }
    }

    /// Returns how often on-failure restarts in a row; 0 for the others and for ever.
    pub fn most(self) -> u32 {
        match self {
            Self::OnFailure { most } => most,
            _ => 0,
        }
    }

    /// Returns whether a container that nobody has stopped is started again after it has ended
    /// with `code` and has been restarted so many times in a row.
    pub fn restarts(self, code: u8, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure { most } => code != 0 && (most == 0 || restarts < most),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = RestartPolicyError;

    fn from_str(text: &str) -> Result<Self, RestartPolicyError> {
        if text.is_empty() {
            return Ok(Self::No);
        }
        let (name, count) = match text.split_once(':') {
            None => (text, 0),
            Some(("", _)) => return Err(RestartPolicyError::NoName),
            Some((name, "")) => (name, 0),
            Some((name, count)) => {
                let count = count
                    .parse::<i64>()
                    .map_err(|_| RestartPolicyError::Count)?;
                (name, count)
            }
        };
        let policy = match name {
            "on-failure" if count < 0 => return Err(RestartPolicyError::Negative),
            "on-failure" => Self::OnFailure {
                most: u32::try_from(count).unwrap_or(u32::MAX),
            },
            "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            other => {
                return Err(RestartPolicyError::Unknown(
                    other.chars().take(64).collect(),
                ));
            }
        };
        if count != 0 && policy.most() == 0 {
            return Err(RestartPolicyError::CountOf(name.to_owned()));
        }
        Ok(policy)
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.most() {
            0 => Ok(()),
            most => write!(f, ":{most}"),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = RestartPolicyError;

    fn try_from(text: String) -> Result<Self, RestartPolicyError> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_refused_as_docker_does() {
        for (text, shown) in [
            ("", "no"),
            ("no", "no"),
            ("always", "always"),
            ("always:0", "always"),
            ("unless-stopped", "unless-stopped"),
            ("on-failure", "on-failure"),
            ("on-failure:", "on-failure"),
            ("on-failure:3", "on-failure:3"),
        ] {
            let policy: RestartPolicy = text.parse().unwrap();
            assert_eq!(policy.to_string(), shown);
            assert_eq!(shown.parse(), Ok(policy));
        }
        let retries = "maximum retry count";
        for (text, error) in [
            ("foo", "invalid restart policy 'foo'".to_owned()),
            (
                "always:3",
                format!("{retries} cannot be used with restart policy 'always'"),
            ),
            (
                "no:1",
                format!("{retries} cannot be used with restart policy 'no'"),
            ),
            ("on-failure:-1", format!("{retries} cannot be negative")),
            (
                "on-failure:x",
                format!("invalid restart policy format: {retries} must be an integer"),
            ),
            (
                "on-failure:1:2",
                format!("invalid restart policy format: {retries} must be an integer"),
            ),
            (
                ":3",
                "invalid restart policy format: no policy provided before colon".to_owned(),
            ),
        ] {
            assert_eq!(
                text.parse::<RestartPolicy>().unwrap_err().to_string(),
                error
            );
        }
    }

    #[test]
    fn what_is_restarted_depends_on_code_and_number() {
        let few = RestartPolicy::OnFailure { most: 2 };
        let many = RestartPolicy::OnFailure { most: 0 };
        assert!(!RestartPolicy::No.restarts(1, 0));
        assert!(
            RestartPolicy::Always.restarts(0, 900) && RestartPolicy::UnlessStopped.restarts(0, 9)
        );
        assert!(few.restarts(1, 1) && !few.restarts(1, 2) && !few.restarts(0, 0));
        assert!(many.restarts(137, 900) && !many.restarts(0, 0));
    }
}
