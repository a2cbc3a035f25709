//! Platforms: `os/arch[/variant]`, normalised as Docker does (containerd's `platforms`).

use std::env::consts::ARCH;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and an architecture that an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux`.
    pub os: String,
    /// The architecture by its Go name: `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// The variant of the architecture, such as `v7` for `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected os/architecture[/variant], such as linux/amd64")]
pub struct PlatformError(String);

impl Platform {
    /// Returns the platform this binary was built for.
    pub fn host() -> Self {
        let (architecture, variant) = normalise(ARCH, None);
        Self {
            os: "linux".to_owned(),
            architecture,
            variant,
        }
    }

    /// Returns the same platform under its canonical names (`x86_64` is `amd64`, `aarch64` `arm64/v8`).
    #[must_use]
    pub fn normalised(&self) -> Self {
        let (architecture, variant) = normalise(&self.architecture, self.variant.as_deref());
        Self {
            os: self.os.to_ascii_lowercase(),
            architecture,
            variant,
        }
    }

    /// Returns how well an image for `self` serves a machine that wants `wanted`: `None` if it
    /// does not, else a rank where more is better.
    ///
    /// The same architecture is required; of several variants the newest that `wanted` can run
    /// is best, and an image that names no variant counts as its architecture's baseline.
    pub fn rank_for(&self, wanted: &Self) -> Option<u32> {
        let (have, want) = (self.normalised(), wanted.normalised());
        if have.os != want.os || have.architecture != want.architecture {
            return None;
        }
        let level =
            |platform: &Self| variant_level(&platform.architecture, platform.variant.as_deref());
        let (have_level, want_level) = (level(&have)?, level(&want)?);
        (have_level <= want_level).then_some(have_level)
    }
}

/// Returns the place of a variant among those of its architecture; `None` for an unknown one.
fn variant_level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let default = match architecture {
        "arm" => 7,
        "arm64" => 8,
        _ => 1,
    };
    match variant {
        None => Some(default),
        Some(v) => v.strip_prefix('v').unwrap_or(v).parse().ok(),
    }
}

fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant
        .map(str::to_ascii_lowercase)
        .filter(|v| !v.is_empty());
    let (name, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("powerpc64" | "ppc64el", v) => ("ppc64le", v),
        (_, v) => (architecture.as_str(), v),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let fail = || PlatformError(text.chars().take(80).collect());
        let mut parts = text.split('/');
        let os = parts.next().filter(|p| is_word(p)).ok_or_else(fail)?;
        let architecture = parts.next();
        let variant = parts.next();
        if parts.next().is_some()
            || [architecture, variant]
                .iter()
                .flatten()
                .any(|p| !is_word(p))
        {
            return Err(fail());
        }
        // A single word names an architecture, as in `--platform arm64`.
        let (os, architecture) = match architecture {
            Some(architecture) => (os, architecture),
            None if os == "linux" => ("linux", ARCH),
            None => ("linux", os),
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
        .normalised())
    }
}

fn is_word(part: &str) -> bool {
    part.len() <= 64
        && part
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_the_names_people_type() {
        for (typed, means) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(typed.parse::<Platform>().unwrap().to_string(), means);
        }
        for bad in [
            "",
            "linux/",
            "/amd64",
            "linux/amd64/v8/x",
            "linux/a b",
            "../x/y",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranks_the_newest_variant_that_runs() {
        let wanted: Platform = "linux/arm/v7".parse().unwrap();
        let rank = |text: &str| text.parse::<Platform>().unwrap().rank_for(&wanted);
        assert!(rank("linux/arm/v7") > rank("linux/arm/v6"));
        assert_eq!(rank("linux/arm/v8"), None);
        assert_eq!(rank("linux/amd64"), None);
    }
}
