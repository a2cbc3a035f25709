//! What is tried from inside a container, by this program itself.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::UnshareFlags;

/// Runs one probe and prints what happened, one line per attempt.
pub(crate) fn main(args: &[String]) {
    match args.first().map(String::as_str) {
        Some("calls") => calls(),
        Some("chroot") => chroot(),
        other => panic!("unknown probe {other:?}"),
    }
}

fn told<T>(what: &str, result: Result<T, Errno>) {
    match result.err() {
        None => println!("{what} ok"),
        Some(errno) => println!("{what} {}", errno.raw_os_error()),
    }
}

/// Calls that a container has no business with, and some it has.
fn calls() {
    told(
        "mount",
        rustix::mount::mount("x", "/etc", "tmpfs", MountFlags::empty(), None),
    );
    told(
        "umount",
        rustix::mount::unmount("/proc", UnmountFlags::DETACH),
    );
    told(
        "fsopen",
        rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()),
    );
    told(
        "unshare",
        lamina_sys::namespace::unshare(UnshareFlags::NEWNS),
    );
    told(
        "newuser",
        lamina_sys::namespace::unshare(UnshareFlags::NEWUSER),
    );
    told("sethostname", rustix::system::sethostname(b"x"));
    told("keyctl", lamina_sys::keyring::join_session(c"x"));
    let socket =
        |family| rustix::net::socket(AddressFamily::from_raw(family), SocketType::SEQPACKET, None);
    told("alg", socket(38));
    told("vsock", socket(40));
    told("unix", socket(1));
    told("chroot", rustix::process::chroot("/"));
    let clone = lamina_sys::clone::clone3(&lamina_sys::clone::CloneRequest::default());
    told("clone3", clone.map(|_| ()));
}

/// The classic break-out: keep a descriptor of the root, change the root below it, climb.
fn chroot() {
    rustix::fs::mkdir("/jail", Mode::RWXU).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let root = rustix::fs::openat(CWD, "/", flags, Mode::empty()).unwrap();
    rustix::process::chroot("/jail").unwrap();
    rustix::process::fchdir(root.as_fd()).unwrap();
    for _ in 0..64 {
        rustix::process::chdir("..").unwrap();
    }
    rustix::process::chroot(".").unwrap();
    for name in std::fs::read_dir("/").unwrap() {
        println!("{}", name.unwrap().file_name().display());
    }
}
