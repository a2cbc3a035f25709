//! The parser of accounts against real trees, and the matrix of users.

use std::fs::{create_dir_all, read_link, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Layers {
    dir: tempfile::TempDir,
}

impl Layers {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn put(&self, layer: &str, name: &str, content: &str) -> &Self {
        let path = self.dir.path().join(layer).join(name);
        create_dir_all(path.parent().unwrap()).unwrap();
        Dir::open(path.parent().unwrap())
            .unwrap()
            .replace(
                path.file_name().unwrap(),
                content.as_bytes(),
                0o644,
                Durability::Volatile,
            )
            .unwrap();
        self
    }

    fn rootfs(&self, layers: &[&str], upper: Option<&str>) -> Rootfs {
        for layer in layers.iter().chain(&upper) {
            create_dir_all(self.dir.path().join(layer)).unwrap();
        }
        Rootfs::Overlay {
            lowers: layers
                .iter()
                .map(|layer| Source::Dir(self.dir.path().join(layer)))
                .collect(),
            data: None,
            upper: upper.map(|upper| self.dir.path().join(upper)),
            work: None,
            options: Vec::new(),
        }
    }
}

use lamina_fs::{Dir, Durability};

fn text(rootfs: &Rootfs) -> (String, String) {
    let accounts = read(rootfs).unwrap();
    (
        String::from_utf8(accounts.passwd).unwrap(),
        String::from_utf8(accounts.group).unwrap(),
    )
}

#[test]
fn the_topmost_layer_that_has_the_file_counts() {
    let layers = Layers::new();
    layers
        .put("base", "etc/passwd", "old")
        .put("base", "etc/group", "groups")
        .put("top", "etc/passwd", "new")
        .put("init", "etc/hosts", "");
    let rootfs = layers.rootfs(&["init", "top", "base"], Some("upper"));
    assert_eq!(text(&rootfs), ("new".to_owned(), "groups".to_owned()));
    let bare = layers.rootfs(&["init"], None);
    assert_eq!(text(&bare), (String::new(), String::new()));
}

#[test]
fn what_is_too_large_is_refused() {
    let layers = Layers::new();
    layers.put("base", "etc/passwd", "");
    let file = File::create(layers.dir.path().join("base/etc/passwd")).unwrap();
    file.set_len(2 << 30).unwrap();
    let error = read(&layers.rootfs(&["base"], None)).unwrap_err();
    let RootfsError::Path(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.source.kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn a_link_in_an_image_stays_in_the_image() {
    let layers = Layers::new();
    layers
        .put("base", "usr/passwd", "own")
        .put("base", "etc/x", "");
    symlink("/usr/passwd", layers.dir.path().join("base/etc/passwd")).unwrap();
    symlink(
        "/etc/../../../../etc/group",
        layers.dir.path().join("base/etc/group"),
    )
    .unwrap();
    assert!(read_link(layers.dir.path().join("base/etc/group")).is_ok());
    let rootfs = layers.rootfs(&["base"], None);
    // The group file links to itself once resolved in the image.
    assert!(read(&rootfs).is_err());
    layers.put("base", "etc/real", "");
    std::fs::remove_file(layers.dir.path().join("base/etc/group")).unwrap();
    assert_eq!(text(&rootfs), ("own".to_owned(), String::new()));
}

#[test]
fn a_fifo_is_refused_and_nothing_hangs() {
    let layers = Layers::new();
    layers.put("base", "etc/group", "");
    let etc = Dir::open(layers.dir.path().join("base/etc")).unwrap();
    let (fifo, mode) = (FileType::Fifo, Mode::RUSR | Mode::WUSR);
    rustix::fs::mknodat(&etc, "passwd", fifo, mode, 0).unwrap();
    assert!(read(&layers.rootfs(&["base"], None)).is_err());
}

#[test]
fn privileged_whiteouts_hide_what_lies_below() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root to make a whiteout");
        return;
    }
    let layers = Layers::new();
    layers
        .put("base", "etc/passwd", "old")
        .put("base", "etc/group", "groups")
        .put("top", "etc/other", "");
    let etc = Dir::open(layers.dir.path().join("top/etc")).unwrap();
    rustix::fs::mknodat(&etc, "passwd", FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let rootfs = layers.rootfs(&["top", "base"], None);
    assert_eq!(text(&rootfs), (String::new(), "groups".to_owned()));
}

#[test]
fn privileged_a_written_upper_is_read_through_overlayfs() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root to mount overlayfs");
        return;
    }
    let layers = Layers::new();
    layers
        .put("base", "etc/passwd", "image")
        .put("base", "etc/group", "groups")
        .put("upper", "etc/passwd", "changed");
    let rootfs = layers.rootfs(&["base"], Some("upper"));
    assert_eq!(text(&rootfs), ("changed".to_owned(), "groups".to_owned()));
    set_permissions(layers.dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
}
