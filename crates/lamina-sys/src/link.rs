//! Network interfaces by ioctl: just enough to bring loopback up.

use rustix::fd::AsRawFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::checked;

/// `IFF_UP | IFF_LOOPBACK | IFF_RUNNING` (netdevice(7)), as the short that struct ifreq holds.
const FLAGS: libc::c_short = 0x1 | 0x8 | 0x40;

/// Brings `lo` up in the calling thread's network namespace (netdevice(7), `SIOCSIFFLAGS`).
pub fn loopback_up() -> Result<(), Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (slot, byte) in name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: FLAGS },
    };
    // SAFETY: `request` is a complete ifreq with a terminated name that outlives the call; the
    // kernel only reads it.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw const request,
        )
    };
    checked(libc::c_long::from(result))?;
    Ok(())
}
