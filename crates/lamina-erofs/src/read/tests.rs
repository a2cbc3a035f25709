//! Names are found again, and damage is survived.

use std::collections::BTreeMap;

use super::*;
use crate::tree::{Node, Time, Tree};

fn meta(mode: u32, xattrs: &[(&str, &[u8])]) -> Metadata {
    let xattrs = xattrs.iter();
    Metadata {
        mode,
        uid: 1,
        gid: 2,
        mtime: Time {
            seconds: -3,
            nanoseconds: 4,
        },
        xattrs: xattrs
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
            .collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn what_was_written_is_found() {
    let label: (&str, &[u8]) = ("security.selinux", b"shared");
    let mut tree = Tree::new(meta(0o751, &[label, ("user.own", b"1")]));
    let dir = tree.add(meta(0o700, &[label]), Node::Directory(Default::default()));
    tree.link(tree.root(), b"etc", dir);
    for (name, length) in [("small", 5), ("tail", 4100), ("large", 8190), ("empty", 0)] {
        let content = Node::File(vec![b'x'; length]);
        let inode = tree.add(meta(0o644, &[label]), content);
        tree.link(dir, name.as_bytes(), inode);
    }
    let object = b"/ab/cd".to_vec();
    let size = 1 << 40;
    let external = Node::External { size, object };
    for name in [b"external".as_slice(), b"twice"] {
        let inode = tree.add(meta(0o600, &[label]), external.clone());
        tree.link(dir, name, inode);
    }
    // Many, so that the directory has several blocks.
    for n in 0..500 {
        let inode = tree.add(meta(0o777, &[]), Node::Symlink(b"target".to_vec()));
        tree.link(dir, format!("link-{n}").as_bytes(), inode);
    }
    let mut bytes = Vec::new();
    crate::write(&tree, [0; 16], &mut bytes).unwrap();

    let image = Image::open(bytes.as_slice()).unwrap();
    let root = image.root().unwrap();
    assert_eq!(root.metadata, *tree.metadata(tree.root()));
    let etc = image.lookup(&root, b"etc").unwrap().unwrap();
    assert_eq!(etc.metadata, *tree.metadata(dir));
    for (name, length) in [("small", 5), ("tail", 4100), ("large", 8190), ("empty", 0)] {
        let file = image.lookup(&etc, name.as_bytes()).unwrap().unwrap();
        assert_eq!(file.content, Content::File);
        assert_eq!(file.metadata, meta(0o644, &[label]));
        assert_eq!(image.read(&file, 10_000).unwrap(), vec![b'x'; length]);
    }
    let file = image.lookup(&etc, b"external").unwrap().unwrap();
    let object = b"/ab/cd".to_vec();
    assert_eq!(file.content, Content::External { object });
    assert_eq!(file.metadata, meta(0o600, &[label]));
    let link = image.lookup(&etc, b"link-499").unwrap().unwrap();
    assert_eq!(image.read(&link, 100).unwrap(), b"target");
    assert_eq!(image.lookup(&etc, b"missing").unwrap(), None);
    assert_eq!(image.lookup(&link, b"in a link").unwrap(), None);
}

#[test]
fn a_damaged_image_gives_an_error_and_no_panic() {
    let mut tree = Tree::new(meta(0o755, &[("user.a", b"value"), ("trusted.b", b"")]));
    for n in 0..200 {
        let inode = tree.add(meta(0o644, &[("user.a", b"value")]), Node::Fifo);
        tree.link(tree.root(), format!("name-{n}").as_bytes(), inode);
    }
    let mut good = Vec::new();
    crate::write(&tree, [0; 16], &mut good).unwrap();
    for at in (1024..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        if let Ok(image) = Image::open(bytes.as_slice())
            && let Ok(root) = image.root()
        {
            let _ = image.lookup(&root, b"name-77");
        }
    }
    assert!(Image::open(&good[..1100]).is_err());
    assert!(Image::open([0; 4096].as_slice()).is_err());
}
