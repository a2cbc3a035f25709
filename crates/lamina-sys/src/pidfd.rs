//! PIDFD_GET_INFO (Linux 6.13; exit information 6.15).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::checked;

/// What the kernel tells about the process of a pidfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidfdInfo {
    /// The process id in the caller's pid namespace.
    pub pid: u32,
    /// The id of its cgroup2 cgroup, if the kernel gave it.
    pub cgroup: Option<u64>,
    /// The wait status, once the process has been reaped; `None` before, or on kernels before 6.15.
    pub exit_status: Option<i32>,
}

/// The fields of struct pidfd_info in its first version, 64 bytes (include/uapi/linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const MASK_CGROUP: u64 = 1 << 2;
const MASK_EXIT: u64 = 1 << 3;

/// Asks the kernel about the process of `pidfd`.
///
/// `ESRCH` where it is gone and the kernel kept nothing; `ENOTTY` or `EINVAL` on old kernels.
pub fn pidfd_info(pidfd: BorrowedFd<'_>) -> Result<PidfdInfo, Errno> {
    let mut raw = RawInfo {
        mask: MASK_CGROUP | MASK_EXIT | 0b11,
        ..RawInfo::default()
    };
    // _IOWR(0xFF, 11, struct pidfd_info), the size being that of our version of the struct.
    let size = size_of::<RawInfo>() as u64;
    let request: u64 = (3 << 30) | (size << 16) | (0xff << 8) | 11;
    // SAFETY: the request's size field is the size of `raw`, so the kernel writes within it, and
    // every bit pattern is a valid RawInfo.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), request as libc::Ioctl, &raw mut raw) };
    checked(libc::c_long::from(result))?;
    Ok(PidfdInfo {
        pid: raw.pid,
        cgroup: (raw.mask & MASK_CGROUP != 0).then_some(raw.cgroupid),
        exit_status: (raw.mask & MASK_EXIT != 0).then_some(raw.exit_code),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn own_pid_is_told() {
        let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        match pidfd_info(me.as_fd()) {
            Ok(info) => {
                assert_eq!(info.pid, getpid().as_raw_nonzero().get().cast_unsigned());
                assert_eq!(info.exit_status, None);
            }
            Err(error) => eprintln!("SKIP: PIDFD_GET_INFO: {error}"),
        }
    }
}
