//! The fuzzing corpus of images as an ordinary test: damage gives an error, never a panic.
#![expect(clippy::disallowed_methods, reason = "the corpus is a folder of files")]

use std::fs;
use std::path::{Path, PathBuf};

use lamina_erofs::{Directory, Image, Node, Tree, write};

use super::meta;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/erofs")
}

#[test]
fn the_corpus_is_read_without_a_panic() {
    let mut found = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for at in 0..bytes.len().min(6000) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            for bytes in [&bytes, &damaged] {
                found += usize::from(look(bytes));
            }
        }
    }
    assert!(found > 0);
}

/// Looks for what the images of the corpus have.
fn look(bytes: &[u8]) -> bool {
    let Ok(image) = Image::open(bytes) else {
        return false;
    };
    let Ok(root) = image.root() else {
        return false;
    };
    let Ok(Some(directory)) = image.lookup(&root, b"d") else {
        return false;
    };
    let file = image.lookup(&directory, b"file");
    file.ok()
        .flatten()
        .is_some_and(|file| image.read(&file, 1 << 16).is_ok())
}

/// Writes the corpus anew: `cargo test -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    let mut tree = Tree::new(meta(0o755));
    let directory = tree.add(meta(0o700), Node::Directory(Directory::default()));
    tree.link(tree.root(), b"d", directory);
    let link = tree.add(meta(0o777), Node::Symlink(b"d/file".to_vec()));
    tree.link(tree.root(), b"link", link);
    let mut with_attribute = meta(0o644);
    with_attribute
        .xattrs
        .insert(b"user.a".to_vec(), b"b".to_vec());
    let nodes = [
        (b"file".as_slice(), Node::File(vec![b'x'; 100])),
        (b"large", Node::File(vec![b'y'; 5000])),
        (
            b"external",
            Node::External {
                size: 1 << 30,
                object: b"/ab/cd".to_vec(),
            },
        ),
    ];
    for (name, node) in nodes {
        let file = tree.add(with_attribute.clone(), node);
        tree.link(directory, name, file);
    }
    let mut image = Vec::new();
    write(&tree, [1; 16], &mut image).unwrap();
    fs::create_dir_all(corpus()).unwrap();
    fs::write(corpus().join("small"), image).unwrap();
    let mut empty = Vec::new();
    write(&Tree::new(meta(0o755)), [2; 16], &mut empty).unwrap();
    fs::write(corpus().join("empty"), empty).unwrap();
}
