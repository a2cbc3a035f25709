//! Loop devices: a file as a block device, for filesystems that are not mounted from files.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::checked;

/// `LOOP_CTL_GET_FREE` (loop.h).
const GET_FREE: libc::c_ulong = 0x4c82;
/// `LOOP_CONFIGURE` (Linux 5.8).
const CONFIGURE: libc::c_ulong = 0x4c0a;
/// `LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR`.
const FLAGS: u32 = 1 | 4;
/// Another process may be faster with the device that is free.
const ATTEMPTS: u32 = 32;

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A loop device that is released when nobody has it open or mounted.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its path.
    pub path: String,
    _open: OwnedFd,
}

/// Makes a read-only block device of a file.
pub fn attach(file: BorrowedFd<'_>) -> Result<LoopDevice, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", flags, Mode::empty())?;
    for _ in 0..ATTEMPTS {
        // SAFETY: this request takes no argument and returns a number.
        let free = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as libc::Ioctl) };
        let path = format!("/dev/loop{}", checked(free.into())?);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let device = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
            // The node of a new device is made by devtmpfs, perhaps not yet.
            Err(Errno::NOENT | Errno::NXIO) => continue,
            other => other?,
        };
        match configure(device.as_fd(), file) {
            Err(Errno::BUSY) => {}
            other => {
                other?;
                return Ok(LoopDevice {
                    path,
                    _open: device,
                });
            }
        }
    }
    Err(Errno::BUSY)
}

fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let config = Config {
        fd: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: FLAGS,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout of struct loop_config and outlives the call, which only
    // reads it.
    let result = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            CONFIGURE as libc::Ioctl,
            &raw const config,
        )
    };
    checked(result.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Config>(), 304);
    }
}
