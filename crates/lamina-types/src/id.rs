//! Container ids and names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A container's id: 64 lower-case hexadecimal digits, random, never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a string is not a container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a container id of 64 hexadecimal digits")]
pub struct IdError(String);

impl ContainerId {
    /// Returns the id made of 32 random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    /// Returns all 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits: the default hostname, and what lists show.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && lower_hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

/// A container's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 128 bytes, as Docker's.
///
/// Names become file names, so the grammar has no slash and cannot start with a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Why a string is not a container name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid container name {0:?}, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct NameError(String);

impl ContainerName {
    /// Returns the name as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let head = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let tail = bytes
            .iter()
            .skip(1)
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if head && tail && (2..=128).contains(&bytes.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(160).collect()))
        }
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_grammar() {
        for good in ["ab", "a_b", "0.x-Y", "web1"] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good:?}");
        }
        for bad in ["", "a", ".a", "-a", "a/b", "../x", "a b", "a\n", "ä1"] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }
}
