//! Resource limits and devices as `--ulimit` and `--device` give them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mount::clean;

/// A resource limit (getrlimit(2)) that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// The name without `RLIMIT_`, in lower case: `nofile`.
    pub name: String,
    /// The soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// A host device given to a container (`--device`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// The device on the host.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Why a string is no resource limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// There is no `=`.
    #[error("invalid ulimit {0:?}: expected name=soft[:hard], such as nofile=1024:2048")]
    Form(String),
    /// No resource has this name.
    #[error("invalid ulimit type {0:?}")]
    Name(String),
    /// A limit is not a number.
    #[error("invalid ulimit value {0:?}: expected a number, -1 or unlimited")]
    Value(String),
    /// The soft limit is above the hard one.
    #[error("ulimit {name}: the soft limit must be at most the hard limit: {soft} > {hard}")]
    Order {
        /// The resource.
        name: String,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    },
}

/// Why a string is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There are too many parts, or none.
    #[error("invalid device {0:?}: expected host-path[:container-path][:rwm]")]
    Form(String),
    /// A path is not absolute.
    #[error("invalid device path {0:?}: it must be absolute")]
    Relative(String),
}

/// The resources of getrlimit(2) by their `RLIMIT_` names.
const RESOURCES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = UlimitError;

    /// Reads `name=soft[:hard]`; a missing hard limit is the soft one, -1 is unlimited.
    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let form = || UlimitError::Form(clip(text));
        let (name, limits) = text.split_once('=').ok_or_else(form)?;
        if !RESOURCES.contains(&name) {
            return Err(UlimitError::Name(clip(name)));
        }
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        if soft > hard {
            return Err(UlimitError::Order {
                name: name.to_owned(),
                soft,
                hard,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            soft,
            hard,
        })
    }
}

fn limit(text: &str) -> Result<u64, UlimitError> {
    if matches!(text, "-1" | "unlimited") {
        return Ok(u64::MAX);
    }
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Docker's limits are 63 bits.
    match text.parse::<u64>() {
        Ok(value) if plain && value <= u64::MAX >> 1 => Ok(value),
        _ => Err(UlimitError::Value(clip(text))),
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    /// Reads `host[:container][:permissions]`; the second part is permissions if it looks like it.
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let form = || DeviceError::Form(clip(text));
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, permissions) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, permissions] if is_permissions(permissions) => (host, host, permissions),
            [host, container] => (host, container, "rwm"),
            [host, container, permissions] if is_permissions(permissions) => {
                (host, container, permissions)
            }
            _ => return Err(form()),
        };
        let [host, container] = [host, container].map(|path| {
            if path.starts_with('/') && !path.contains('\0') {
                Ok(clean(Path::new(path)))
            } else {
                Err(DeviceError::Relative(clip(path)))
            }
        });
        Ok(Self {
            host: host?,
            container: container?,
            permissions: permissions.to_owned(),
        })
    }
}

fn is_permissions(text: &str) -> bool {
    let once = |c: char| text.matches(c).count() <= 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c)) && "rwm".chars().all(once)
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ulimits() {
        for (text, name, soft, hard) in [
            ("nofile=1024", "nofile", 1024, 1024),
            ("nofile=1024:2048", "nofile", 1024, 2048),
            ("core=-1", "core", u64::MAX, u64::MAX),
            ("memlock=unlimited:unlimited", "memlock", u64::MAX, u64::MAX),
            ("stack=8388608:-1", "stack", 8_388_608, u64::MAX),
        ] {
            let limit: Ulimit = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (limit.name.as_str(), limit.soft, limit.hard),
                (name, soft, hard)
            );
        }
        for bad in [
            "",
            "nofile",
            "nofile=",
            "=1",
            "nofile=2:1",
            "nofile=-1:5",
            "bogus=1",
            "NOFILE=1",
            "nofile=1:2:3",
            "nofile=-2",
            "nofile=+1",
            "nofile=99999999999999999999",
            "nofile=1k",
        ] {
            assert!(bad.parse::<Ulimit>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn reads_devices() {
        for (text, host, container, permissions) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse", "rwm"),
            ("/dev/fuse:r", "/dev/fuse", "/dev/fuse", "r"),
            ("/dev/sda:/dev/xvda", "/dev/sda", "/dev/xvda", "rwm"),
            ("/dev/sda:/dev/xvda:rw", "/dev/sda", "/dev/xvda", "rw"),
            ("/dev/x/../sda", "/dev/sda", "/dev/sda", "rwm"),
        ] {
            let device: DeviceSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(device.host, Path::new(host));
            assert_eq!(device.container, Path::new(container));
            assert_eq!(device.permissions, permissions);
        }
        for bad in [
            "",
            ":",
            "fuse",
            "/dev/fuse:x",
            "/dev/fuse:/a:rr",
            "/a:/b:rwm:x",
            "/a:/b:",
            "/a::r",
        ] {
            assert!(
                bad.parse::<DeviceSpec>().is_err(),
                "{bad:?} must be refused"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text in "(nofile=)?.{0,24}") {
            let _ = text.parse::<Ulimit>();
            let _ = text.parse::<DeviceSpec>();
        }
    }
}
