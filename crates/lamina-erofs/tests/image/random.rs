//! Random trees.

use std::collections::BTreeMap;

use lamina_erofs::{Directory, InodeId, Metadata, Node, Time, Tree};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::check;

/// One step of building a tree: what is made, and where it hangs.
#[derive(Debug, Clone)]
struct Step {
    metadata: Metadata,
    node: Node,
    name: Vec<u8>,
    /// Which of the directories made so far.
    parent: prop::sample::Index,
    /// Another name for one of the inodes made so far, instead of a new one.
    links_to: Option<prop::sample::Index>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| match byte {
        0 | b'/' => b'_',
        byte => byte,
    });
    vec(byte, 1..40).prop_filter("special", |name| name != b"." && name != b"..")
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let namespace = prop::sample::select(vec!["user.", "trusted.", "security."]);
    let key = (namespace, "[a-z]{1,12}").prop_map(|(space, name)| format!("{space}{name}"));
    // Few values, so that some are shared.
    let value = prop_oneof![Just(b"same".to_vec()), vec(any::<u8>(), 0..300)];
    let xattrs = btree_map(key.prop_map(String::into_bytes), value, 0..4);
    let time = (any::<i32>(), 0..1_000_000_000_u32);
    (0..0o10000_u32, any::<u32>(), any::<u32>(), time, xattrs).prop_map(
        |(mode, uid, gid, (seconds, nanoseconds), xattrs)| Metadata {
            // The kernel does not give away the attributes of what overlayfs would interpret.
            mode,
            uid: uid & 0x7fff_ffff,
            gid: gid & 0x7fff_ffff,
            mtime: Time {
                seconds: seconds.into(),
                nanoseconds,
            },
            xattrs: xattrs.into_iter().collect::<BTreeMap<_, _>>(),
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    // Around the ends of blocks, where tails move.
    let length = prop_oneof![0..1200_usize, 3900..4200_usize, 8000..8300_usize];
    let target = vec(1..=255_u8, 1..4096);
    prop_oneof![
        3 => Just(Node::Directory(Directory::default())),
        4 => (length, any::<u8>()).prop_map(|(length, byte)| Node::File(vec![byte; length])),
        4 => (0..1_u64 << 44, "/[a-z]{2}/[A-Za-z0-9_-]{20}").prop_map(|(size, object)| {
            Node::External { size, object: object.into_bytes() }
        }),
        2 => target.prop_map(Node::Symlink),
        1 => (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| Node::Char { major, minor }),
        1 => (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| Node::Block { major, minor }),
        1 => Just(Node::Fifo),
        1 => Just(Node::Socket),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let links_to = prop::option::weighted(0.1, any::<prop::sample::Index>());
    let parent = any::<prop::sample::Index>();
    (metadata(), node(), name(), parent, links_to).prop_map(
        |(metadata, node, name, parent, links_to)| Step {
            metadata,
            node,
            name,
            parent,
            links_to,
        },
    )
}

fn build(root: Metadata, steps: Vec<Step>) -> Tree {
    let mut tree = Tree::new(root);
    let mut directories = vec![tree.root()];
    let mut files: Vec<InodeId> = Vec::new();
    for step in steps {
        let parent = *step.parent.get(&directories);
        if tree.lookup(parent, &step.name).is_some() {
            continue;
        }
        let is_directory = matches!(step.node, Node::Directory(_));
        let inode = match step.links_to {
            Some(index) if !files.is_empty() => *index.get(&files),
            _ => {
                let inode = tree.add(step.metadata, step.node);
                if is_directory {
                    directories.push(inode);
                } else {
                    files.push(inode);
                }
                inode
            }
        };
        tree.link(parent, &step.name, inode);
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn privileged_random_trees_are_what_the_kernel_sees(
        root in metadata(),
        steps in vec(step(), 0..120),
    ) {
        check(&build(root, steps)).map_err(TestCaseError::fail)?;
    }
}
