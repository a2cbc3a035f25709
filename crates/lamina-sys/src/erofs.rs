//! Mounting an EROFS image file, detached: directly (Linux 6.12), else by a loop device.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::loop_device;

/// An image could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("{act}{}", said(message))]
pub struct ErofsError {
    /// What was being done.
    pub act: &'static str,
    /// What the kernel wrote about it, if it did.
    pub message: String,
    /// The errno.
    pub source: Errno,
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" (the kernel says: {message})"),
    }
}

fn failed(act: &'static str) -> impl Fn(Errno) -> ErofsError {
    move |source| ErofsError {
        act,
        message: String::new(),
        source,
    }
}

/// Mounts an image read-only and returns the mount, which no namespace shows.
///
/// Where the kernel has no filesystem on files, or not on files of this filesystem, it is given a
/// loop device; that is released with the mount.
pub fn mount(file: &Path) -> Result<OwnedFd, ErofsError> {
    match mount_source(file.to_string_lossy().as_ref()) {
        // No block device, and no file that could be one.
        Err(error) if error.source == Errno::NOTBLK || is_too_long(file) => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(file, flags, Mode::empty());
            let opened = opened.map_err(failed("open the image"))?;
            if is_too_long(file) {
                let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
                match mount_source(&link) {
                    Err(error) if error.source == Errno::NOTBLK => {}
                    other => return other,
                }
            }
            let device = loop_device::attach(opened.as_fd());
            let device = device.map_err(failed("attach a loop device to the image"))?;
            mount_source(&device.path)
        }
        other => other,
    }
}

/// Whether a path is longer than the kernel takes as a parameter.
fn is_too_long(file: &Path) -> bool {
    file.as_os_str().len() > 255
}

/// Returns whether the kernel mounts this image from its file, and needs no loop device for it.
pub fn mounts_from_file(file: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(file, flags, Mode::empty())
        .is_ok_and(|opened| mount_source(&format!("/proc/self/fd/{}", opened.as_raw_fd())).is_ok())
}

fn mount_source(source: &str) -> Result<OwnedFd, ErofsError> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(failed("open the filesystem type erofs"))?;
    let build = || -> Result<OwnedFd, Errno> {
        fsconfig_set_string(&context, "source", source)?;
        fsconfig_set_flag(&context, "ro")?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    build().map_err(|source| ErofsError {
        act: "mount the image",
        message: log(&context),
        source,
    })
}

/// Reads what the kernel wrote about a filesystem context.
fn log(context: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut line = [0_u8; 1024];
    while let Ok(read) = rustix::io::read(context, &mut line) {
        if read == 0 || text.len() > 2048 {
            break;
        }
        // Each message is "e text", "w text" or "i text".
        text.push(b' ');
        text.extend_from_slice(line[..read].get(2..).unwrap_or_default());
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}
