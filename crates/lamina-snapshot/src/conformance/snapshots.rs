//! The cases of writable layers and of what containers get beside the image.

use std::path::Path;

use lamina_fs::{Dir, Durability};
use lamina_store::SnapshotId;
use lamina_types::{DiffId, Digest, ErrorKind};
use rustix::fs::{AtFlags, FileType, Mode};

use super::tree::{TIME, dir, fifo, file, symlink, tar, walk};
use super::{Failure, Subject, ensure, mounted, walk_mounted};
use crate::snapshotter::{ImageLayers, PrepareError, PrepareOptions};

pub(super) fn mount_points(subject: &Subject) -> Result<(), Failure> {
    let layers = [
        vec![
            dir("", 0o711).owner(9, 9),
            dir("etc", 0o700).owner(5, 6),
            file("etc/passwd", "root"),
            file("etc/hosts", "the image's own"),
            dir("proc", 0o555),
        ],
        vec![file("etc/group", "wheel")],
    ];
    let image = subject.image(&layers)?;
    let rootfs = subject
        .snapshotter
        .prepare(&id("points")?, &image, &PrepareOptions::default())?;
    let found = walk_mounted(&rootfs)?;
    let root = mounted(&rootfs)?;
    for wanted in [
        "dev",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "proc",
        "sys",
        "etc",
    ] {
        root.open_at(wanted)?;
    }
    let etc = root.open_at("etc")?;
    for wanted in ["hosts", "hostname", "resolv.conf"] {
        let kind = FileType::from_raw_mode(etc.stat(wanted)?.st_mode);
        ensure(
            kind == FileType::RegularFile,
            format!("etc/{wanted} is no file"),
        )?;
    }
    let stat = root.stat("etc")?;
    ensure(
        (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o700, 5, 6) && stat.st_mtime == TIME,
        "/etc has not the image's metadata",
    )?;
    let stat = rustix::fs::fstat(&root)?;
    ensure(
        (stat.st_mode & 0o7777, stat.st_uid) == (0o711, 9),
        "the root directory has not the image's metadata",
    )?;
    ensure(
        etc.read("passwd", 100)? == b"root",
        "/etc does not show the image's files",
    )?;
    ensure(
        etc.read("group", 100)? == b"wheel",
        "/etc does not show all layers",
    )?;
    ensure(
        found.len() > layers.concat().len(),
        "the mount points are missing",
    )?;
    view_has_no_mount_points(subject, &image)
}

/// The image itself is as it was built.
fn view_has_no_mount_points(subject: &Subject, image: &ImageLayers) -> Result<(), Failure> {
    let view = mounted(&subject.snapshotter.view(image)?)?;
    ensure(!view.exists("sys")?, "a view has mount points")?;
    let hosts = view.open_at("etc")?.read("hosts", 100)?;
    ensure(
        hosts == b"the image's own",
        "a view hides the image's files",
    )
}

pub(super) fn hostile_mount_points(subject: &Subject) -> Result<(), Failure> {
    let image = subject.image(&[vec![
        dir("elsewhere", 0o755),
        symlink("etc", "/elsewhere"),
        symlink("dev", "../../../../tmp"),
        file("proc", "a file"),
        fifo("sys"),
    ]])?;
    let rootfs =
        subject
            .snapshotter
            .prepare(&id("hostile")?, &image, &PrepareOptions { volatile: true })?;
    let root = mounted(&rootfs)?;
    for wanted in ["etc", "dev", "proc", "sys"] {
        let stat = root.stat(wanted)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        ensure(
            kind == FileType::Directory && stat.st_mode & 0o777 == 0o755,
            format!("/{wanted} is {kind:?}, not a plain directory"),
        )?;
    }
    ensure(
        root.open_at("etc")?.exists("hosts")?,
        "/etc/hosts is missing",
    )
}

pub(super) fn upper(subject: &Subject) -> Result<(), Failure> {
    let snapshots = &subject.snapshotter;
    let image = subject.image(&[vec![
        dir("d", 0o755),
        file("d/read", "image"),
        file("d/removed", "image"),
        dir("replaced", 0o755),
        file("replaced/x", "x"),
    ]])?;
    let (one, two) = (id("one")?, id("two")?);
    let options = PrepareOptions::default();
    let rootfs = snapshots.prepare(&one, &image, &options)?;
    let empty = snapshots.usage(&one)?;
    ensure(empty.inodes == 0, "a new snapshot holds something")?;
    {
        let root = mounted(&rootfs)?;
        let d = root.open_at("d")?;
        d.replace("read", b"container", 0o600, Durability::Volatile)?;
        d.unlink("removed")?;
        root.remove_tree("replaced")?;
        root.mkdir("replaced", 0o711)?;
        rustix::fs::chmodat(&root, "d", Mode::from_raw_mode(0o750), AtFlags::empty())?;
    }
    let again = snapshots.get(&one)?;
    ensure(again == rootfs, "get differs from prepare")?;
    is_changed(&mounted(&again)?)?;
    ensure(
        snapshots.usage(&one)?.inodes > 0,
        "usage does not see what was written",
    )?;

    let other = snapshots.prepare(&two, &image, &options)?;
    let other = mounted(&other)?.open_at("d")?.read("read", 100)?;
    ensure(other == b"image", "snapshots see each other")?;
    let view = walk(&mounted(&snapshots.view(&image)?)?)?;
    ensure(
        view.contains_key(Path::new("d/removed")),
        "the image was changed",
    )?;

    snapshots.remove(&one)?;
    snapshots.remove(&one)?;
    snapshots.remove(&two)?;
    let gone = snapshots.get(&one).map_err(|error| error.kind());
    ensure(
        gone == Err(ErrorKind::NotFound),
        "a removed snapshot is there",
    )
}

/// Whether a tree has what the case of the upper wrote.
fn is_changed(root: &Dir) -> Result<(), Failure> {
    let d = root.open_at("d")?;
    ensure(
        d.read("read", 100)? == b"container",
        "a written file is lost",
    )?;
    ensure(!d.exists("removed")?, "a removed file is back")?;
    let replaced = root.open_at("replaced")?.entries()?;
    ensure(
        replaced.is_empty(),
        "a replaced directory shows what it replaced",
    )?;
    ensure(root.stat("d")?.st_mode & 0o777 == 0o750, "a mode is lost")
}

pub(super) fn no_layers(subject: &Subject) -> Result<(), Failure> {
    let image = ImageLayers::default();
    let view = walk_mounted(&subject.snapshotter.view(&image)?)?;
    ensure(view.len() == 1, "the view of an empty image is not empty")?;
    let rootfs =
        subject
            .snapshotter
            .prepare(&id("scratch")?, &image, &PrepareOptions { volatile: true })?;
    let root = mounted(&rootfs)?;
    ensure(root.exists("proc")?, "an empty image has no mount points")?;
    root.create_exclusive("file", b"x", 0o644, Durability::Volatile)?;
    Ok(())
}

pub(super) fn errors(subject: &Subject) -> Result<(), Failure> {
    let snapshots = &subject.snapshotter;
    let options = PrepareOptions::default();
    let missing = DiffId(Digest::from_sha256([1; 32]));
    let image = ImageLayers {
        diff_ids: vec![missing.clone()],
        ..ImageLayers::default()
    };
    let found = snapshots.prepare(&id("a")?, &image, &options);
    let right = matches!(&found, Err(PrepareError::MissingLayer(diff_id)) if *diff_id == missing);
    ensure(right, format!("a missing layer gives {found:?}"))?;
    let found = snapshots.get(&id("a")?).map_err(|error| error.kind());
    ensure(
        found == Err(ErrorKind::NotFound),
        "a failed prepare left something",
    )?;

    let image = subject.image(&[vec![file("f", "1")]])?;
    ensure(!tar(&[file("f", "1")])?.is_empty(), "a layer has no bytes")?;
    snapshots.prepare(&id("a")?, &image, &options)?;
    let found = snapshots.prepare(&id("a")?, &image, &options);
    let found = found.map_err(|error| error.kind());
    ensure(
        found == Err(ErrorKind::AlreadyExists),
        "a second snapshot of the same name is allowed",
    )?;
    let kept = snapshots.get(&id("a")?).is_ok();
    ensure(
        kept,
        "a refused prepare removed the snapshot that was there",
    )
}

pub(super) fn id(name: &str) -> Result<SnapshotId, Failure> {
    Ok(name.parse()?)
}
