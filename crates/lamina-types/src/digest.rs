//! Content digests (OCI image-spec, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hash algorithm that may name content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what everyone uses.
    Sha256,
    /// SHA-512, which the specification registers too.
    Sha512,
}

impl Algorithm {
    /// Returns the registered name, as it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many hexadecimal digits a hash of this algorithm has.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest `algorithm:hex`, checked on parsing: a registered algorithm, the exact number of
/// digits, lower case only.
///
/// Digests become file names and parts of URLs, so nothing looser is ever accepted
/// (CVE-2024-3727).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// Why a string is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon, or nothing before it.
    #[error("digest {0:?} is not of the form algorithm:hex")]
    Form(String),
    /// The algorithm is not one that content may be named by.
    #[error("digest {0:?} has an unknown algorithm")]
    Algorithm(String),
    /// The part after the colon has the wrong length or a character that is not 0-9a-f.
    #[error("digest {0:?} has a malformed hash")]
    Hex(String),
}

impl Digest {
    /// Returns the digest whose SHA-256 hash has these bytes.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: data_encoding::HEXLOWER.encode(&hash),
        }
    }

    /// Returns the digest whose SHA-512 hash has these bytes.
    pub fn from_sha512(hash: [u8; 64]) -> Self {
        Self {
            algorithm: Algorithm::Sha512,
            hex: data_encoding::HEXLOWER.encode(&hash),
        }
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hash in lower-case hexadecimal: safe as a file name.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Returns the first twelve digits, as lists show them.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Form(clip(text)))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(clip(text))),
        };
        let lower_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.hex_len() || !lower_hex {
            return Err(DigestError::Hex(clip(text)));
        }
        Ok(Self {
            algorithm,
            hex: hex.to_owned(),
        })
    }
}

/// Shortens hostile input before it goes into a message.
fn clip(text: &str) -> String {
    text.chars().take(160).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The digest of a layer's uncompressed tar: a layer's identity, whatever lies below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The digest of an image's configuration document: an image's identity on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_the_strict_grammar() {
        let hex = "a".repeat(64);
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        assert!(
            format!("sha512:{}", "0".repeat(128))
                .parse::<Digest>()
                .is_ok()
        );
        for bad in [
            hex.clone(),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "a".repeat(63)),
            format!("sha256:{}", "a".repeat(65)),
            format!("sha999:{hex}"),
            "sha256:../../../../etc/passwd".to_owned(),
            format!("sha256:{}/..", "a".repeat(61)),
            ":".to_owned(),
            String::new(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn round_trips_through_json() {
        let digest = Digest::from_sha256([7; 32]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }
}
