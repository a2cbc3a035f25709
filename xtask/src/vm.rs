//! `cargo xtask vm`: the privileged tests on Debian's kernel (6.1) with pure cgroup v2: the kernel
//! and the cgroup version that most users have.
//!
//! The kernel comes from Debian's package, unpacked and not installed; the guest is one
//! initramfs with a static busybox, the static binary and the static test programs. It runs
//! under software emulation, because a stock guest hangs under the test machine's /dev/kvm.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{debian, shell};

/// The script that is the guest's pid 1; it prints `vm: ok` or what failed.
const INIT: &str = include_str!("vm/init.sh");
/// Kernel modules the tests need, in the order they are loaded.
const MODULES: [&str; 9] = [
    "kernel/fs/overlayfs/overlay.ko",
    "kernel/crypto/crc32c_generic.ko",
    "kernel/lib/libcrc32c.ko",
    "kernel/fs/erofs/erofs.ko",
    "kernel/drivers/block/loop.ko",
    "kernel/lib/crc16.ko",
    "kernel/fs/mbcache.ko",
    "kernel/fs/jbd2/jbd2.ko",
    "kernel/fs/ext4/ext4.ko",
];
/// Folders of the crates whose `privileged_` tests run in the guest; of `cli`, the command line's,
/// those that `init.sh` names.
const SUITES: [&str; 5] = [
    "lamina-runtime",
    "lamina-monitor",
    "lamina-snapshot",
    "lamina-engine",
    "cli",
];
/// Seconds until the guest is given up.
const PATIENCE: &str = "600";

/// Boots the guest and fails unless everything in it passed.
pub(crate) fn run() -> Result<()> {
    debian::install(&debian::VM)?;
    if shell::find("qemu-system-x86_64").is_none() || shell::find("apt-get").is_none() {
        println!("SKIP vm: it needs qemu-system-x86_64, and apt-get for Debian's kernel");
        return Ok(());
    }
    let work = shell::root().join("target/vm");
    std::fs::create_dir_all(&work)?;
    let kernel = kernel(&work)?;
    let initramfs = initramfs(&work, &kernel)?;
    boot(&work, &kernel.image, &initramfs)
}

/// An unpacked kernel package.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

/// Downloads and unpacks the kernel that `linux-image-amd64` stands for, once.
fn kernel(work: &Path) -> Result<Kernel> {
    let depends = shell::output(&mut shell::command(
        "apt-cache",
        &["depends", "linux-image-amd64"],
    ))?;
    let package = depends
        .split_whitespace()
        .find(|word| word.starts_with("linux-image-") && *word != "linux-image-amd64")
        .context("linux-image-amd64 depends on no kernel: run apt-get update")?;
    let version = package.trim_start_matches("linux-image-");
    let tree = work.join(version);
    let kernel = Kernel {
        image: tree.join(format!("boot/vmlinuz-{version}")),
        modules: tree.join(format!("lib/modules/{version}")),
    };
    if !kernel.image.is_file() {
        let script = r#"cd "$1" && rm -f linux-image-*.deb && apt-get download -qq "$2" && dpkg-deb -x linux-image-*.deb "$2.part" && rm linux-image-*.deb && rm -rf "$3" && mv "$2.part" "$3""#;
        let mut fetch = Command::new("sh");
        shell::run(
            fetch
                .arg("-c")
                .arg(script)
                .arg("sh")
                .arg(work)
                .arg(package)
                .arg(&tree),
        )?;
    }
    Ok(kernel)
}

fn initramfs(work: &Path, kernel: &Kernel) -> Result<PathBuf> {
    shell::build()?;
    let tree = work.join("tree");
    let _ = std::fs::remove_dir_all(&tree);
    for folder in [
        "bin", "modules", "tests", "proc", "sys", "dev", "tmp", "etc",
    ] {
        std::fs::create_dir_all(tree.join(folder))?;
    }
    let busybox = shell::find("busybox").context("no busybox")?;
    std::fs::copy(busybox, tree.join("bin/busybox"))?;
    strip(&shell::binary("debug"), &tree.join("bin/lamina"))?;
    for (number, module) in MODULES.iter().enumerate() {
        let name = Path::new(module)
            .file_name()
            .context("a module without a name")?;
        let to = tree.join(format!("modules/{number}-{}", name.to_string_lossy()));
        std::fs::copy(kernel.modules.join(module), to)?;
    }
    for (name, program) in test_programs()? {
        strip(&program, &tree.join("tests").join(name))?;
    }
    std::fs::write(tree.join("init"), INIT)?;
    let image = work.join("initramfs");
    let script =
        r#"chmod 755 "$1/init" && cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 > "$2""#;
    shell::run(
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg("sh")
            .arg(&tree)
            .arg(&image),
    )?;
    Ok(image)
}

/// Builds the suites and returns each test program with the name it gets in the guest.
fn test_programs() -> Result<Vec<(String, PathBuf)>> {
    let mut build = shell::command(
        shell::cargo_path(),
        &[
            "test",
            "--workspace",
            "--all-targets",
            "--no-run",
            "--message-format=json",
            "--quiet",
        ],
    );
    let messages = shell::output(&mut build)?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let is_test = message["profile"]["test"] == true;
        let of_suite = SUITES.iter().any(|suite| {
            let manifest = message["manifest_path"].as_str().unwrap_or_default();
            manifest.ends_with(&format!("/{suite}/Cargo.toml"))
        });
        if let (true, Some(path)) = (is_test && of_suite, message["executable"].as_str()) {
            let name = message["target"]["name"].as_str().unwrap_or("test");
            // path+file:///…/crates/lamina-runtime#0.1.0
            let package = message["package_id"].as_str().unwrap_or_default();
            let package = package.rsplit('/').next().unwrap_or_default();
            let package = package.split('#').next().unwrap_or_default();
            programs.push((format!("{package}.{name}"), PathBuf::from(path)));
        }
    }
    Ok(programs)
}

/// Copies a program without its symbols: the guest's memory holds all of them.
fn strip(from: &Path, to: &Path) -> Result<()> {
    shell::run(Command::new("strip").arg("-o").arg(to).arg(from))
}

fn boot(work: &Path, kernel: &Path, initramfs: &Path) -> Result<()> {
    let log = work.join("console.log");
    let mut qemu = Command::new("timeout");
    qemu.args([
        PATIENCE,
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
    ])
    .args([
        "-smp",
        "2",
        "-m",
        "2048",
        "-nographic",
        "-no-reboot",
        "-nic",
        "none",
    ])
    .arg("-kernel")
    .arg(kernel)
    .arg("-initrd")
    .arg(initramfs)
    .args(["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"])
    .stdin(Stdio::null())
    .stdout(std::fs::File::create(&log)?);
    let status = qemu.status().context("qemu")?;
    let console = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    for line in console
        .lines()
        .filter(|line| line.starts_with("vm: ") || line.starts_with("test result"))
    {
        println!("{}", line.trim_end());
    }
    if !console.lines().any(|line| line.trim_end() == "vm: ok") {
        let tail: Vec<&str> = console.lines().rev().take(60).collect();
        for line in tail.iter().rev() {
            println!("| {line}");
        }
        bail!(
            "the guest did not pass ({status}); its console is in {}",
            log.display()
        );
    }
    Ok(())
}
