//! Device nodes: those every container has, and those a spec adds.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::FileType;

use super::{PlanError, absolute};
use crate::spec_default::DEVICES;

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where, absolute in the container.
    pub(crate) path: PathBuf,
    pub(crate) kind: FileType,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Plans the nodes of a container: the OCI spec's default devices, then `added`, which replace a
/// default of the same path.
pub(crate) fn plan(added: &[LinuxDevice]) -> Result<Vec<Node>, PlanError> {
    let mut nodes: Vec<Node> = DEVICES
        .iter()
        .map(|(name, major, minor)| Node {
            path: Path::new("/dev").join(name),
            kind: FileType::CharacterDevice,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in added {
        let node = node(device)?;
        nodes.retain(|other| other.path != node.path);
        nodes.push(node);
    }
    Ok(nodes)
}

fn node(device: &LinuxDevice) -> Result<Node, PlanError> {
    let path = absolute("device", device.path())?;
    let shown = || path.to_string_lossy().into_owned();
    if path.components().any(|part| part == Component::ParentDir) || path.file_name().is_none() {
        return Err(PlanError::invalid(
            "device",
            shown(),
            "is not a path of a file",
        ));
    }
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(PlanError::invalid("device", shown(), "has no type"));
        }
    };
    let number = |value: i64| {
        u32::try_from(value)
            .map_err(|_| PlanError::invalid("device", shown(), "has a number out of range"))
    };
    Ok(Node {
        kind,
        major: number(device.major())?,
        minor: number(device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        path,
    })
}
