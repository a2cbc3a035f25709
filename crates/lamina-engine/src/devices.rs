//! The host's devices that a container is given: `--device`, and all of them with `--privileged`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use lamina_runtime::spec_default;
use lamina_types::{DeviceSpec, ErrorKind};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{FileType, Stat, major, minor};

use crate::process::lexically;
use crate::spec::GrantedDevice;

/// What Docker leaves out of `/dev` for a privileged container: it has its own of these.
const OWN: [&str; 8] = [
    "console", "fd", "mqueue", "pts", "ptmx", "shm", ".lxc", ".udev",
];
/// How deep `/dev` is searched.
const DEPTH: u32 = 8;

/// Why a device cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It cannot be looked at.
    #[error("error gathering device information")]
    Path(#[from] PathError),
    /// It is something else.
    #[error("{path} is not a device", path = .0.display())]
    NotADevice(PathBuf),
    /// The rights are not some of `r`, `w`, `m`.
    #[error("invalid device permissions {0:?}")]
    Permissions(String),
}

impl DeviceError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::NotADevice(_) | Self::Permissions(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// Looks up the devices that were asked for; a directory gives all devices in it.
pub(crate) fn granted(
    asked: &[DeviceSpec],
    privileged: bool,
) -> Result<Vec<GrantedDevice>, DeviceError> {
    let mut devices = Vec::new();
    if privileged {
        walk(Path::new("/dev"), Path::new("/dev"), "rwm", 0, &mut devices)?;
    }
    for spec in asked {
        let rights = &spec.permissions;
        if rights.is_empty() || !rights.bytes().all(|b| b"rwm".contains(&b)) {
            return Err(DeviceError::Permissions(rights.chars().take(40).collect()));
        }
        let stat = rustix::fs::stat(&spec.host).at("stat", &spec.host)?;
        let target = lexically(&spec.container);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            walk(&spec.host, &target, rights, 0, &mut devices)?;
        } else {
            let device = device(&stat, &target, rights)
                .ok_or_else(|| DeviceError::NotADevice(spec.host.clone()))?;
            devices.retain(|other| other.node.path() != device.node.path());
            devices.push(device);
        }
    }
    Ok(devices)
}

fn walk(
    from: &Path,
    to: &Path,
    rights: &str,
    depth: u32,
    devices: &mut Vec<GrantedDevice>,
) -> Result<(), DeviceError> {
    let dir = Dir::open(from)?;
    for entry in dir.entries()? {
        let top = depth == 0 && from == Path::new("/dev");
        if top
            && OWN
                .iter()
                .any(|own| entry.name.as_bytes() == own.as_bytes())
        {
            continue;
        }
        let (path, target) = (from.join(&entry.name), to.join(&entry.name));
        match entry.kind {
            FileType::Directory if depth < DEPTH => {
                walk(&path, &target, rights, depth + 1, devices)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                // A device that goes away meanwhile is not worth a failed start.
                if let Ok(stat) = dir.stat(&entry.name) {
                    devices.extend(device(&stat, &target, rights));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn device(stat: &Stat, target: &Path, rights: &str) -> Option<GrantedDevice> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => LinuxDeviceType::C,
        FileType::BlockDevice => LinuxDeviceType::B,
        _ => return None,
    };
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    let mut node = LinuxDevice::default();
    node.set_path(target.to_owned())
        .set_typ(kind)
        .set_major(major.into())
        .set_minor(minor.into())
        .set_file_mode(Some(stat.st_mode & 0o7777))
        .set_uid(Some(stat.st_uid))
        .set_gid(Some(stat.st_gid));
    Some(GrantedDevice {
        node,
        rule: spec_default::device_rule(true, Some(kind), Some(major), Some(minor), rights),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(host: &str, container: &str, permissions: &str) -> DeviceSpec {
        DeviceSpec {
            host: host.into(),
            container: container.into(),
            permissions: permissions.to_owned(),
        }
    }

    #[test]
    fn a_device_keeps_its_numbers_under_its_new_name() {
        let found = granted(&[spec("/dev/null", "/dev/../dev/nothing", "rw")], false).unwrap();
        assert_eq!(found[0].node.path(), Path::new("/dev/nothing"));
        assert_eq!((found[0].node.major(), found[0].node.minor()), (1, 3));
        assert_eq!(found[0].rule.access().as_deref(), Some("rw"));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(matches!(
            granted(&[spec("/etc/passwd", "/dev/x", "rwm")], false),
            Err(DeviceError::NotADevice(_))
        ));
        assert!(matches!(
            granted(&[spec("/dev/no-such-device", "/dev/x", "rwm")], false),
            Err(DeviceError::Path(_))
        ));
        for rights in ["", "x", "rwx", "r w"] {
            assert!(granted(&[spec("/dev/null", "/dev/x", rights)], false).is_err());
        }
    }

    #[test]
    fn privileged_containers_keep_their_own_terminals() {
        let found = granted(&[], true).unwrap();
        assert!(
            found
                .iter()
                .any(|d| d.node.path() == Path::new("/dev/null"))
        );
        assert!(!found.iter().any(|d| d.node.path().starts_with("/dev/pts")));
    }
}
