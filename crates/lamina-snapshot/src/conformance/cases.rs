//! The cases, and those of images without a writable layer.

use std::path::PathBuf;

use super::snapshots::{errors, hostile_mount_points, id, mount_points, no_layers, upper};
use super::tree::{Item, dir, fifo, file, hardlink, name, opaque, symlink, whiteout};
use super::{Case, Failure, Subject, ensure, mounted, tree, walk_mounted};
use crate::snapshotter::PrepareOptions;

/// Everything a mode must do.
pub const CASES: &[Case] = &[
    Case {
        name: "layers merge, whiteouts and opaque directories hide",
        check: layers_merge,
    },
    Case {
        name: "implied directories keep the metadata of the layer that describes them",
        check: implied_directories,
    },
    Case {
        name: "owners, modes, times and links are exact",
        check: metadata,
    },
    Case {
        name: "names may have any bytes",
        check: names,
    },
    Case {
        name: "an image may have very many layers",
        check: many_layers,
    },
    Case {
        name: "mount points exist and do not disturb the image",
        check: mount_points,
    },
    Case {
        name: "mount points shadow what a hostile image has there",
        check: hostile_mount_points,
    },
    Case {
        name: "what is written stays in the snapshot, and stays",
        check: upper,
    },
    Case {
        name: "an image without layers is empty",
        check: no_layers,
    },
    Case {
        name: "what is missing or there already is an error with its kind",
        check: errors,
    },
];

fn layers_merge(subject: &Subject) -> Result<(), Failure> {
    subject.view_is_merged(&[
        vec![
            dir("etc", 0o755),
            file("etc/kept", "1"),
            file("etc/changed", "1"),
            file("etc/deleted", "1"),
            dir("cache", 0o750),
            file("cache/a", "a"),
            dir("cache/sub", 0o700),
            file("cache/sub/b", "b"),
            dir("becomes-file", 0o755),
            file("becomes-file/x", "x"),
            file("becomes-dir", "f"),
            dir("gone", 0o755),
            file("gone/x", "x"),
            symlink("link", "etc/kept"),
            fifo("pipe"),
        ],
        vec![
            dir("etc", 0o700),
            file("etc/changed", "22"),
            whiteout("etc/deleted"),
            dir("cache", 0o755),
            opaque("cache"),
            file("cache/new", "n"),
            file("becomes-file", "now a file"),
            whiteout("becomes-dir"),
            dir("becomes-dir", 0o711),
            file("becomes-dir/y", "y"),
            whiteout("gone"),
        ],
        vec![file("etc/deleted", "back"), dir("gone", 0o1777)],
    ])?;
    Ok(())
}

fn implied_directories(subject: &Subject) -> Result<(), Failure> {
    let layers = [
        vec![
            dir("", 0o751).owner(3, 4),
            dir("tmp", 0o1777),
            dir("home", 0o755),
            dir("home/u", 0o700).owner(1000, 1000),
            dir("home/u/mail", 0o2770).owner(1000, 8).time(-5, 0),
            dir("old", 0o1700),
            dir("opaque", 0o1700),
            dir("opaque/in", 0o1700),
        ],
        vec![file("tmp/f", "implies tmp"), whiteout("old")],
        vec![file("home/u/mail/new/m", "implies four")],
        vec![
            file("tmp/g", "again"),
            file("old/f", "nothing below describes it"),
            opaque("opaque"),
            file("opaque/in/f", "hidden below"),
        ],
    ];
    let image = subject.image(&layers)?;
    let found = walk_mounted(&subject.snapshotter.view(&image)?)?;
    let mut expected = tree::merge(&layers);
    tree::forget_what_is_not_kept(&mut expected, subject.store.root());
    // Whether an opaque mark alone hides its own directory's metadata is open; its content is not.
    let path = PathBuf::from("opaque");
    if let Some(node) = found.get(&path) {
        expected.insert(path, node.clone());
    }
    tree::compare(&expected, &found)?;
    let prepared =
        subject
            .snapshotter
            .prepare(&id("implied")?, &image, &PrepareOptions::default())?;
    let root = mounted(&prepared)?;
    let tmp = root.stat("tmp")?;
    ensure(
        tmp.st_mode & 0o7777 == 0o1777,
        "/tmp of a container is not 1777",
    )
}

fn metadata(subject: &Subject) -> Result<(), Failure> {
    let layers = [
        vec![
            dir("bin", 0o2755)
                .owner(5, 6)
                .time(1, 2)
                .xattr("user.of.directory", b"d"),
            file("bin/su", "s").mode(0o4755).owner(0, 42),
            file("bin/old", "o").time(-1, 500_000_000),
            file("bin/new", "n")
                .time(4_000_000_000, 1)
                .xattr("user.one", b"1")
                .xattr("user.two", b""),
            file("bin/big-ids", "b").owner(2_000_000_000, 4_000_000_000),
            hardlink("bin/su2", "bin/su"),
            hardlink("su3", "bin/su"),
            symlink("bin/sh", "/no/where").owner(7, 8),
        ],
        vec![file("bin/none", "").mode(0o000)],
    ];
    let image = subject.view_is_merged(&layers)?;
    let root = mounted(&subject.snapshotter.view(&image)?)?;
    let inode = |path: &str| -> Result<u64, Failure> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        Ok(root.open_at(parent)?.stat(name)?.st_ino)
    };
    ensure(
        inode("bin/su")? == inode("bin/su2")? && inode("bin/su")? == inode("su3")?,
        "names of one file have several inode numbers",
    )
}

fn names(subject: &Subject) -> Result<(), Failure> {
    let odd: [&[u8]; 8] = [
        b"a:b,c=d",
        b"back\\slash",
        b"new\nline",
        b"caf\xe9",
        b" lead and trail ",
        b"-rf",
        b"wh.not-a-whiteout",
        &[b'x'; 255],
    ];
    let layer: Vec<Item> = odd
        .iter()
        .flat_map(|odd| {
            let folder = name(b"d").join(name(odd));
            [
                dir(folder.clone(), 0o755),
                file(folder.join(name(odd)), "x"),
            ]
        })
        .collect();
    let deep: PathBuf = std::iter::repeat_n("deep", 100).collect();
    let above = vec![file(deep.join("f"), "far down")];
    subject.view_is_merged(&[layer, above])?;
    Ok(())
}

fn many_layers(subject: &Subject) -> Result<(), Failure> {
    for count in [130, subject.max_layers] {
        let layer = |number: usize| {
            let mut layer = vec![
                file("last", &number.to_string()),
                file(format!("d/{}", number % 7), &number.to_string()),
                file(format!("each/{number}"), ""),
            ];
            if number == 0 {
                layer.insert(0, dir("each", 0o1777));
            } else if number.is_multiple_of(3) {
                layer.push(whiteout(format!("each/{}", number - 1)));
            }
            layer
        };
        let layers: Vec<Vec<Item>> = (0..count).map(layer).collect();
        subject.view_is_merged(&layers)?;
    }
    Ok(())
}
