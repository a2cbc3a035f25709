//! The read-only door: this program, opened so that no container can ever write to it.
//!
//! A container reaches the file its init was made from as `/proc/self/exe`, and can keep a handle
//! on it until the program is no longer busy (CVE-2019-5736). So what is executed is a detached,
//! read-only clone of the binary's mount, where a later open for writing gives EROFS; or, where a
//! mount cannot be cloned, a sealed copy in memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::{At, PathError};
use lamina_sys::mount::{Attributes, NODEV, NOSUID, RDONLY, set_attributes};
use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat, sendfile,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

/// How the program was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// A read-only detached clone of the mount it lies on.
    MountClone,
    /// A sealed copy in memory.
    SealedCopy,
}

/// Opens `binary` to be executed from, read-only for all who will ever reach it.
///
/// A process that came through a door itself, as what a monitor executes does, opens the same again:
/// the path may lead to another program by now.
pub(crate) fn open(binary: &Path) -> Result<(OwnedFd, Door), PathError> {
    if let Some(own) = own() {
        return Ok(own);
    }
    match clone_mount(binary) {
        Ok(fd) => Ok((fd, Door::MountClone)),
        Err(Errno::NOENT) => Err(Errno::NOENT).at("open", binary),
        // No right to clone this mount (another user namespace's), or a kernel before 5.12.
        Err(_) => Ok((sealed_copy(binary)?, Door::SealedCopy)),
    }
}

/// Returns the door that this process came through: its program has no path, or is in memory.
fn own() -> Option<(OwnedFd, Door)> {
    let exe = rustix::fs::readlink(c"/proc/self/exe", Vec::new()).ok()?;
    let door = match exe.to_bytes() {
        b"/" | b"/ (deleted)" => Door::MountClone,
        path if path.starts_with(b"/memfd:lamina") => Door::SealedCopy,
        _ => return None,
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = openat(CWD, c"/proc/self/exe", flags, Mode::empty()).ok()?;
    Some((fd, door))
}

fn clone_mount(binary: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, binary, flags)?;
    let read_only = Attributes {
        set: RDONLY | NOSUID | NODEV,
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &read_only)?;
    Ok(tree)
}

fn sealed_copy(binary: &Path) -> Result<OwnedFd, PathError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let from = openat(CWD, binary, flags, Mode::empty()).at("open", binary)?;
    let copy = || -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // MFD_EXEC is needed where vm.memfd_noexec is 1, and unknown before Linux 6.3.
        let to = memfd_create(c"lamina", flags | MemfdFlags::EXEC)
            .or_else(|_| memfd_create(c"lamina", flags))?;
        while sendfile(&to, &from, None, 1 << 30)? > 0 {}
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&to, seals)?;
        Ok(to)
    };
    copy().at("copy to memory", binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopen(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        openat(CWD, path, OFlags::WRONLY, Mode::empty())
    }

    #[test]
    fn privileged_a_cloned_mount_cannot_be_written_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Ok(tree) = clone_mount(file.path()) else {
            eprintln!("SKIP: no right to clone a mount");
            return;
        };
        assert_eq!(reopen(&tree).unwrap_err(), Errno::ROFS);
    }

    #[test]
    fn a_sealed_copy_has_the_content_and_cannot_be_written_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), b"program").unwrap();
        let copy = sealed_copy(file.path()).unwrap();
        let written = reopen(&copy).and_then(|fd| rustix::io::write(&fd, b"x"));
        assert!(matches!(written, Err(Errno::PERM | Errno::ACCESS)));
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::pread(&copy, &mut buffer, 0), Ok(7));
        assert_eq!(&buffer[..7], b"program");
    }
}
