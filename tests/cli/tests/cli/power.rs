//! The power goes out right after a command has said that it is done: what it did is there.
//!
//! `xfs_io -x -c shutdown` stops a filesystem at once, without writing what is in memory; the next
//! mount replays the journal, as after a power cut.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use lamina_testkit::Host;
use lamina_testkit::registry::{MemoryImage, Registry};

/// How long something may keep a filesystem busy.
const PATIENCE: usize = 600;

/// A filesystem in a file, mounted where the host has its store.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?}: {text}"))
}

impl Disk {
    fn new(host: &Host, kind: &str) -> Result<Self, String> {
        let disk = Self {
            image: host.folder().join("disk"),
            mount: host.root(),
        };
        fs::create_dir(&disk.mount).unwrap();
        let file = fs::File::create(&disk.image).unwrap();
        file.set_len(320 << 20).unwrap();
        run(Command::new(format!("mkfs.{kind}"))
            .arg("-q")
            .arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mount))
    }

    fn unmount(&self) -> Result<(), String> {
        let mut result = Ok(());
        for _ in 0..PATIENCE {
            result = run(Command::new("umount").arg(&self.mount));
            if result.is_ok() {
                return result;
            }
            // What a command leaves behind it at idle priority has not ended yet.
            sleep(Duration::from_millis(100));
        }
        result
    }

    /// Cuts the power and starts again. A reboot changes the boot id; here the markers of what was
    /// not synced are given another one instead.
    fn cut_power(&self) {
        run(Command::new("xfs_io")
            .args(["-x", "-c", "shutdown"])
            .arg(&self.mount))
        .unwrap();
        self.unmount().unwrap();
        self.mount().unwrap();
        let unsynced = self.mount.join("unsynced");
        for entry in fs::read_dir(&unsynced).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let foreign = format!("another-boot.{}", name.split_once('.').unwrap().1);
            fs::rename(unsynced.join(name), unsynced.join(foreign)).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Makes a tar of one large and many small files.
fn tar(folder: &Path, seed: u64) -> PathBuf {
    let tree = folder.join(format!("tree{seed}"));
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::write(tree.join("large"), noise(seed, 1 << 20)).unwrap();
    for n in 1..40_usize {
        fs::write(
            tree.join("many").join(n.to_string()),
            noise(seed + n as u64, 100 * n),
        )
        .unwrap();
    }
    let out = folder.join(format!("{seed}.tar"));
    run(Command::new("tar")
        .arg("-C")
        .arg(&tree)
        .arg("-cf")
        .arg(&out)
        .arg("."))
    .unwrap();
    out
}

/// Cuts the power, and compares which images are there; nothing is damaged.
fn cut(host: &Host, disk: &Disk, done: &str, expected: &[&str]) {
    disk.cut_power();
    let list = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    let text = host.ok(&list);
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    assert_eq!(names, expected, "after {done}");
    let checked = host.lamina(&["fsck", "--quiet"]);
    assert_eq!(
        checked.code, 0,
        "after {done}: {}{}",
        checked.stdout, checked.stderr
    );
}

fn survives(kind: &str, mode: &str) {
    let host = Host::new();
    let disk = match Disk::new(&host, kind) {
        Ok(disk) => disk,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
            return;
        }
    };
    let ok = |words: &[&str]| host.ok(&[&[mode], words].concat());
    let one = tar(host.folder(), 1000);
    let two = tar(host.folder(), 2000);
    ok(&["import", one.to_str().unwrap(), "imported:1"]);
    cut(&host, &disk, "import", &["imported:1"]);

    ok(&["save", "-o", "saved.tar", "imported:1"]);
    ok(&["rmi", "imported:1"]);
    cut(&host, &disk, "rmi", &[]);
    ok(&["load", "-q", "-i", "saved.tar"]);
    cut(&host, &disk, "load", &["imported:1"]);

    let registry = Registry::start();
    let image = MemoryImage::of_tars(vec![fs::read(&one).unwrap(), fs::read(&two).unwrap()]);
    registry.serve_image("app", "1", &image);
    let pulled = format!("{}/app:1", registry.domain());
    ok(&["pull", "-q", "--tls-verify=false", &pulled]);
    let mut both = [pulled.as_str(), "imported:1"];
    both.sort_unstable();
    cut(&host, &disk, "pull", &both);

    ok(&["tag", &pulled, "zz:1"]);
    cut(&host, &disk, "tag", &[both[0], both[1], "zz:1"]);
    ok(&["untag", &pulled, "zz:1"]);
    cut(&host, &disk, "untag", &both);
    // The blobs of what was pulled are not kept: the tars come from the layers.
    ok(&["image", "blobs", "--rebuild", &pulled]);
    cut(&host, &disk, "image blobs", &both);
    ok(&["rmi", &pulled]);
    cut(&host, &disk, "rmi of a pulled image", &["imported:1"]);
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_ext4() {
    survives("ext4", "--storage-mode=plain");
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_ext4_in_the_usual_mode() {
    survives("ext4", "--storage-mode=auto");
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_xfs() {
    survives("xfs", "--storage-mode=auto");
}
