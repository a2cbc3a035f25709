//! Images are read by the kernel and by `fsck.erofs`, not by code of ours.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod limits;
mod mounted;
mod random;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use lamina_erofs::{Metadata, Node, Time, Tree, write};
use mounted::{Seen, compare, mount};

/// Says why a test cannot run here.
fn skip(reason: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

fn meta(mode: u32) -> Metadata {
    Metadata {
        mode,
        mtime: Time {
            seconds: 1_234_567_890,
            nanoseconds: 5,
        },
        ..Metadata::default()
    }
}

fn bytes(tree: &Tree) -> Vec<u8> {
    let mut image = Vec::new();
    let written = write(tree, [1; 16], &mut image).unwrap();
    assert_eq!(written.bytes, image.len() as u64);
    image
}

/// Writes the image into a file, has it checked and mounted, and compares what the mount shows.
fn check(tree: &Tree) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image.erofs");
    std::fs::File::create(&file)
        .unwrap()
        .write_all(&bytes(tree))
        .unwrap();
    fsck(&file)?;
    check_mounted(tree, &file)
}

fn check_mounted(tree: &Tree, file: &Path) -> Result<(), String> {
    match mount(file) {
        Ok(root) => compare(&Seen::of_tree(tree), &Seen::of_mount(&root)),
        Err(error) => {
            skip(&format!("mount an EROFS image: {error}"));
            Ok(())
        }
    }
}

/// Asks erofs-utils.
fn fsck(file: &Path) -> Result<(), String> {
    let output = match Command::new("fsck.erofs").arg(file).output() {
        Ok(output) => output,
        Err(error) => {
            skip(&format!("run fsck.erofs: {error}"));
            return Ok(());
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("fsck.erofs: {}", String::from_utf8_lossy(&text)))
}

#[test]
fn privileged_every_kind_of_inode_is_what_the_kernel_sees() {
    let mut tree = Tree::new(meta(0o751));
    let root = tree.root();
    // Version 2, nothing permitted: the kernel reads it (capabilities(7)).
    let capability = [[0, 0, 0, 2].as_slice(), &[0; 16]].concat();
    let owned = Metadata {
        uid: 2_000_000_000,
        gid: 4_000_000_000,
        mtime: Time {
            seconds: -5,
            nanoseconds: 999_999_999,
        },
        xattrs: [
            (b"user.name".to_vec(), b"value".to_vec()),
            (b"security.capability".to_vec(), capability),
            (b"trusted.empty".to_vec(), Vec::new()),
        ]
        .into(),
        ..meta(0o6755)
    };
    let nodes = [
        ("file", Node::File(b"content".to_vec())),
        ("empty", Node::File(Vec::new())),
        (
            "external",
            Node::External {
                size: 12_345,
                object: b"/ab/0123456789abcdefghij".to_vec(),
            },
        ),
        ("link", Node::Symlink(b"../no/where".to_vec())),
        ("char", Node::Char { major: 5, minor: 1 }),
        (
            "block",
            Node::Block {
                major: 259,
                minor: 70_000,
            },
        ),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
        ("-sorts before dot", Node::Directory(Default::default())),
    ];
    for (name, node) in nodes {
        let first = tree.add(owned.clone(), node.clone());
        tree.link(root, name.as_bytes(), first);
        let second = tree.add(meta(0o4), node);
        tree.link(root, format!("{name} 2").as_bytes(), second);
    }
    let file = tree.lookup(root, b"file").unwrap();
    let dir = tree.lookup(root, b"-sorts before dot").unwrap();
    tree.link(dir, b"another name", file);
    check(&tree).unwrap();
}

#[test]
fn the_bytes_do_not_depend_on_the_order_of_building() {
    let build = |names: &[&str]| {
        let mut tree = Tree::new(meta(0o755));
        for name in names {
            let inode = tree.add(meta(0o644), Node::File(name.as_bytes().to_vec()));
            tree.link(tree.root(), name.as_bytes(), inode);
        }
        // What has no name is not written.
        tree.unlink(tree.root(), b"gone");
        bytes(&tree)
    };
    assert_eq!(build(&["a", "b", "c"]), build(&["c", "gone", "a", "b"]));
}

/// Prints what an image of a distribution's size costs; no bound, the machine is shared.
#[test]
fn privileged_an_image_of_many_files_is_quick_to_write() {
    let mut tree = Tree::new(meta(0o755));
    for d in 0..600_u32 {
        let dir = tree.add(meta(0o755), Node::Directory(Default::default()));
        tree.link(tree.root(), format!("directory-{d}").as_bytes(), dir);
        for f in 0..30_u32 {
            let node = match f % 4 {
                0 => Node::File(vec![b'x'; (f * 34) as usize]),
                _ => Node::External {
                    size: u64::from(f) * 1000,
                    object: format!("/ab/{d:010}{f:010}").into_bytes(),
                },
            };
            let inode = tree.add(meta(0o644), node);
            tree.link(dir, format!("some-file-name-{f}.py").as_bytes(), inode);
        }
    }
    let begun = std::time::Instant::now();
    let length = bytes(&tree).len();
    println!("18,600 entries: {length} bytes in {:?}", begun.elapsed());
    check(&tree).unwrap();
}
