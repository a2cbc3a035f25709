//! What a new volume is filled with, and how long it stays.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lamina_testkit::{Host, tree};

use crate::volumes::data;

/// Everything that a directory of an image may have.
const EVERYTHING: &str = "mkdir -p /srv/sub; cd /srv; echo a > f; ln f hard; ln -s f soft; mkfifo pipe; \
     mknod null c 1 3; chown 7:8 f; chmod 4750 f; truncate -s 1M holes; echo b > sub/g; \
     touch -d @1000000000 sub/g; chmod 2711 sub; chown 5:6 .; chmod 1770 .";

#[test]
fn privileged_a_volume_is_filled_with_all_that_the_image_has() {
    let host = Host::new();
    host.ok(&["run", "--name", "make", "minimal", "sh", "-c", EVERYTHING]);
    let volume = ["commit", "-c", "VOLUME /srv", "make", "filled"];
    host.ok(&volume);
    host.ok(&["rm", "--now", "make"]);
    let count = || host.ok(&["volume", "ls", "-q"]).lines().count();
    // The image's own: there for each container, and gone with it.
    host.ok(&["run", "--rm", "filled", "sh", "-c", "test -p /srv/pipe"]);
    assert_eq!(count(), 0);
    host.ok(&["run", "--name", "one", "filled", "true"]);
    let name = host.ok(&["volume", "ls", "-q"]);
    let filled = tree::read(&data(&host, &name));
    let of = |path: &str| fs::symlink_metadata(data(&host, &name).join(path)).unwrap();
    assert_eq!(
        (of("f").uid(), of("f").gid(), of("f").mode() & 0o7777),
        (7, 8, 0o4750)
    );
    assert_eq!(
        (of("").uid(), of("").gid(), of("").mode() & 0o7777),
        (5, 6, 0o1770)
    );
    assert_eq!(of("hard").ino(), of("f").ino());
    assert_eq!(
        (of("sub").mode() & 0o7777, of("sub/g").mtime()),
        (0o2711, 1_000_000_000)
    );
    let null = rustix::fs::makedev(1, 3);
    assert_eq!((of("null").rdev(), of("pipe").mode() >> 12), (null, 1));
    // Attributes and all, through a tar and back.
    let mark = data(&host, &name).join("f");
    rustix::fs::setxattr(&mark, "user.mine", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let marked = tree::read(&data(&host, &name));
    host.ok(&["volume", "export", "-o", "all.tar", &name]);
    host.ok(&["volume", "import", "again", "all.tar"]);
    host.ok(&["volume", "clone", &name, "cloned"]);
    for other in ["again", "cloned"] {
        let differences =
            tree::differences(&marked, &tree::read(&data(&host, other)), 5, |_| false);
        assert!(differences.is_empty(), "{other}: {differences:?}");
    }
    // Whoever has begun with something of his own keeps it.
    host.ok(&["volume", "create", "begun"]);
    fs::create_dir(data(&host, "begun").join("own")).unwrap();
    host.ok(&["run", "--rm", "-v", "begun:/srv", "filled", "true"]);
    assert_eq!(fs::read_dir(data(&host, "begun")).unwrap().count(), 1);
    // Another container's is filled alike.
    host.ok(&["run", "--rm", "-v", "named:/srv", "filled", "true"]);
    let named = tree::read(&data(&host, "named"));
    let differences = tree::differences(&filled, &named, 5, |_| false);
    assert!(differences.is_empty(), "{differences:?}");
    host.ok(&["rm", "-v", "--now", "one"]);
    assert_eq!(count(), 4);
    let rest = ["again", "begun", "cloned", "named"];
    host.ok(&[&["volume", "rm", "--now"], &rest[..]].concat());
    host.sweep();
}
