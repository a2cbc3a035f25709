//! The Debian packages that the tests and benchmarks drive.

use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::shell;

/// A package, and a program of it that tells whether it is there.
pub(crate) type Package = (&'static str, &'static str);

/// What the tests drive.
pub(crate) const TESTS: [Package; 12] = [
    ("busybox-static", "busybox"),
    ("strace", "strace"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("docker-registry", "docker-registry"),
    ("debootstrap", "debootstrap"),
    ("e2fsprogs", "mkfs.ext4"),
    ("xfsprogs", "xfs_io"),
    ("apache2-utils", "htpasswd"),
    ("iproute2", "ip"),
    ("attr", "setfattr"),
    ("erofs-utils", "fsck.erofs"),
];

/// What `vm` needs besides.
pub(crate) const VM: [Package; 2] = [("qemu-system-x86", "qemu-system-x86_64"), ("cpio", "cpio")];

/// Installs the packages whose program is not there. Without apt-get or its rights the tests
/// that need a missing program say SKIP.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, program)| !present(program))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() {
        println!(
            "no apt-get: tests that need {} will be skipped",
            missing.join(", ")
        );
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    let mut update = shell::command("apt-get", &["update", "-qq"]);
    shell::run(&mut update).context("apt-get update")?;
    let mut install = shell::command(
        "apt-get",
        &["install", "-y", "-qq", "--no-install-recommends"],
    );
    install
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    shell::run(&mut install).context("apt-get install")
}

fn present(program: &str) -> bool {
    shell::find(program).is_some()
        || ["/usr/sbin", "/sbin"]
            .iter()
            .any(|f| std::path::Path::new(f).join(program).is_file())
}
