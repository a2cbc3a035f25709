//! The largest of everything, and what is too large.

use lamina_erofs::{MAX_NAME, MAX_TARGET, Metadata, Node, Tree, WriteError, write};

use crate::{check, check_mounted, meta};

fn with(name: &[u8], metadata: Metadata, node: Node) -> Tree {
    let mut tree = Tree::new(meta(0o755));
    let inode = tree.add(metadata, node);
    tree.link(tree.root(), name, inode);
    tree
}

#[test]
fn privileged_the_largest_of_everything_is_read() {
    let mut tree = Tree::new(meta(0o755));
    let root = tree.root();
    let mut put = |name: &[u8], metadata, node| {
        let inode = tree.add(metadata, node);
        tree.link(root, name, inode);
        inode
    };
    put(&[b'n'; MAX_NAME], meta(0o644), Node::File(b"x".to_vec()));
    put(
        b"target",
        meta(0o777),
        Node::Symlink(vec![b't'; MAX_TARGET]),
    );
    for (name, size) in [("5g", 5 << 30), ("20t", 20 << 40)] {
        let object = b"/ab/cd".to_vec();
        put(
            name.as_bytes(),
            meta(0o644),
            Node::External { size, object },
        );
    }
    let last = Node::Char {
        major: 4095,
        minor: (1 << 20) - 1,
    };
    put(b"device", meta(0o600), last);
    let mut many = meta(0o644);
    for n in 0..250 {
        let value = vec![b'v'; n];
        many.xattrs.insert(format!("user.a{n}").into_bytes(), value);
    }
    put(b"attributes", many.clone(), Node::File(b"tail".to_vec()));
    put(b"the same", many, Node::Fifo);
    let mut long = meta(0o644);
    long.xattrs.insert(
        [b"user.".as_slice(), &[b'k'; 250]].concat(),
        vec![b'v'; 65_535],
    );
    put(b"long attribute", long, Node::File(vec![b'c'; 4000]));
    check(&tree).unwrap();
}

#[test]
fn privileged_a_file_may_have_very_many_names() {
    let mut tree = Tree::new(meta(0o755));
    let file = tree.add(meta(0o644), Node::File(b"one".to_vec()));
    for n in 0..70_000_u32 {
        tree.link(tree.root(), format!("name-{n}").as_bytes(), file);
    }
    check(&tree).unwrap();
}

#[test]
fn privileged_a_tree_may_be_very_deep() {
    let mut tree = Tree::new(meta(0o755));
    let mut at = tree.root();
    // fsck.erofs calls itself for each level, and overflows its stack at more.
    for _ in 0..200 {
        let below = tree.add(meta(0o700), Node::Directory(Default::default()));
        tree.link(at, b"d", below);
        at = below;
    }
    check(&tree).unwrap();
    for _ in 0..1500 {
        let below = tree.add(meta(0o700), Node::Directory(Default::default()));
        tree.link(at, b"d", below);
        at = below;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image.erofs");
    write(&tree, [0; 16], std::fs::File::create(&file).unwrap()).unwrap();
    check_mounted(&tree, &file).unwrap();
}

/// Checks that a tree with one such inode is refused in the right way.
fn refused(name: &[u8], metadata: Metadata, node: Node, matches: fn(&WriteError) -> bool) {
    let mut image = Vec::new();
    let error = write(&with(name, metadata, node), [0; 16], &mut image).unwrap_err();
    assert!(matches(&error), "{error}");
    assert!(image.is_empty(), "something was written");
}

#[test]
fn names_and_content_that_cannot_be_stored_are_errors() {
    for name in [&[b'n'; 256], b"".as_slice(), b"a/b", b"..", b"zero\0"] {
        refused(name, meta(0), Node::Fifo, |error| {
            matches!(error, WriteError::Name(_))
        });
    }
    for target in [vec![b't'; 4096], Vec::new(), b"zero\0".to_vec()] {
        refused(b"a", meta(0), Node::Symlink(target), |error| {
            matches!(error, WriteError::Target(_))
        });
    }
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        refused(b"a", meta(0), Node::Char { major, minor }, |error| {
            matches!(error, WriteError::Device { .. })
        });
    }
    let huge = Node::External {
        size: u64::MAX,
        object: b"/a".to_vec(),
    };
    refused(b"a", meta(0), huge, |error| {
        matches!(error, WriteError::FileSize(_))
    });
}

#[test]
fn attributes_that_cannot_be_stored_are_errors() {
    let with = |name: &[u8], length| {
        let mut metadata = meta(0o644);
        metadata.xattrs.insert(name.to_vec(), vec![0; length]);
        metadata
    };
    for name in ["other.name", "user.", "system.posix_acl_access_not"] {
        refused(b"a", with(name.as_bytes(), 1), Node::Fifo, |error| {
            matches!(error, WriteError::Namespace(_))
        });
    }
    let long = [b"user.".as_slice(), &[b'k'; 251]].concat();
    for (name, length) in [(b"user.long".as_slice(), 65_536), (&long, 1)] {
        refused(b"a", with(name, length), Node::Fifo, |error| {
            matches!(error, WriteError::Attribute { .. })
        });
    }
    let mut crowded = meta(0o644);
    for n in 0..5 {
        let name = format!("user.{n}").into_bytes();
        crowded.xattrs.insert(name, vec![0; 60_000]);
    }
    refused(b"a", crowded, Node::Fifo, |error| {
        matches!(error, WriteError::Attributes(_))
    });
}

#[test]
fn a_directory_has_one_name() {
    let mut tree = Tree::new(meta(0o755));
    let dir = tree.add(meta(0o755), Node::Directory(Default::default()));
    tree.link(tree.root(), b"one", dir);
    tree.link(dir, b"itself", dir);
    let error = write(&tree, [0; 16], Vec::new()).unwrap_err();
    assert!(matches!(error, WriteError::SecondName(_)), "{error}");
}
