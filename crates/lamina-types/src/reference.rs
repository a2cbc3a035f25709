//! Image references, parsed and normalised as Docker does (distribution/reference).
//!
//! Written by hand because the grammar is small and this is on the path of every `run`: the
//! usual regular expression takes tens of milliseconds to compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

/// The registry that a reference without one means.
const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag that a reference without tag or digest means.
const DEFAULT_TAG: &str = "latest";
/// distribution/reference: the longest repository name.
const NAME_MAX: usize = 255;
/// distribution/reference: the longest tag.
const TAG_MAX: usize = 128;

/// A reference to an image: `domain/path[:tag][@digest]`, with Docker's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar at all.
    #[error("invalid reference format: {0:?}")]
    Format(String),
    /// It would be valid if it had no capitals, the commonest mistake.
    #[error("invalid reference format: repository name {0:?} must be lowercase")]
    Uppercase(String),
    /// The repository name is too long.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    /// The part after `@` is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Sixty-four hexadecimal digits are an image id, not a name.
    #[error("invalid repository name {0:?}, cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

impl Reference {
    /// Returns the registry's host and optional port: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository's path within the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag; `latest` was filled in unless there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the reference pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the repository with its domain: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Returns the repository as people type it: `debian`, `me/app`, `localhost:5000/app`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        self.path
            .strip_prefix("library/")
            .unwrap_or(&self.path)
            .to_owned()
    }

    /// Returns the whole reference as people type it: `debian:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_repository(), self.suffix())
    }

    /// Returns the same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format(clip(tag)));
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the same repository pinned to `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    fn suffix(&self) -> String {
        let tag = self
            .tag
            .as_ref()
            .map(|t| format!(":{t}"))
            .unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|d| format!("@{d}"))
            .unwrap_or_default();
        tag + &digest
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon after the last slash separates the tag; one before it a port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_start..].find(':') {
            Some(colon) => {
                let (name, tag) = rest.split_at(name_start + colon);
                (name, Some(&tag[1..]))
            }
            None => (rest, None),
        };
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if name.len() == 64 && name.bytes().all(is_hex) {
            return Err(ReferenceError::LooksLikeId(clip(name)));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(&domain) || !path.split('/').all(is_component) {
            let lower = path.to_ascii_lowercase();
            if is_domain(&domain) && lower != path && lower.split('/').all(is_component) {
                return Err(ReferenceError::Uppercase(clip(name)));
            }
            return Err(ReferenceError::Format(clip(text)));
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        if tag.is_some_and(|t| !is_tag(t)) {
            return Err(ReferenceError::Format(clip(text)));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self {
            domain,
            path,
            tag,
            digest,
        })
    }
}

/// Splits off the registry: the first component is one if it has a dot or a colon, is
/// `localhost`, or has a capital (which no path component may have).
fn split_domain(name: &str) -> (String, String) {
    let registry = |first: &str| {
        first.contains(['.', ':']) || first == "localhost" || first != first.to_ascii_lowercase()
    };
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if registry(first) => (first, path),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("library/{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((address, rest))
                if address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') =>
            {
                (None, rest)
            }
            _ => return false,
        },
        None => match domain.find(':') {
            Some(colon) => (Some(&domain[..colon]), &domain[colon..]),
            None => (Some(domain), ""),
        },
    };
    let port_ok = match port.strip_prefix(':') {
        Some(digits) => {
            !digits.is_empty() && digits.parse::<u16>().is_ok() && !digits.starts_with('+')
        }
        None => port.is_empty(),
    };
    port_ok && host.is_none_or(|host| host.split('.').all(is_host_label))
}

fn is_host_label(label: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(label.as_bytes().first())
        && ends(label.as_bytes().last())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case words joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    ends && component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= TAG_MAX
        && bytes.first().is_some_and(|b| word(*b))
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

fn clip(text: &str) -> String {
    text.chars().take(160).collect()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests;
