//! Deletions of what cannot be deleted, and overlayfs' own forms smuggled in.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Case, Expect, Head, case, tar};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases(outside: &Path) -> Vec<Case> {
    use Expect::{Inside, Refused};
    let out = outside.as_os_str().as_bytes();
    let overlay = |key: &'static str| tar().pax(&[(key, b"y")]).dir("d");
    vec![
        case("whiteout of nothing", Refused, tar().file(".wh.", b"")),
        case("whiteout of dot", Refused, tar().file("a/.wh..", b"")),
        case("whiteout of dot-dot", Refused, tar().file("a/.wh...", b"")),
        case(
            "opaque mark through a symlink",
            Inside(&[]),
            tar().link(b'2', "l", out).file("l/.wh..wh..opq", b""),
        ),
        case(
            "whiteout through a symlink",
            Inside(&[]),
            tar().link(b'2', "l", out).file("l/.wh.secret", b""),
        ),
        case(
            "whiteout below a whiteout's name",
            Inside(&["!.wh.", "!.wh./x"]),
            tar().file(".wh.a", b"").file("a/x", b""),
        ),
        case(
            "whiteout and entry of one name, in this order",
            Inside(&["x"]),
            tar().file(".wh.x", b"").file("x", b"new"),
        ),
        case(
            "whiteout and entry of one name, in the other order",
            Inside(&["x"]),
            tar().file("x", b"new").file(".wh.x", b""),
        ),
        case(
            "aufs bookkeeping is ignored",
            Inside(&["!.wh..wh.plnk", "!.wh..wh.aufs"]),
            tar()
                .dir(".wh..wh.plnk")
                .file(".wh..wh.plnk/1.2", b"x")
                .file(".wh..wh.aufs", b""),
        ),
        case(
            "hard link to a whiteout",
            Refused,
            tar().file(".wh.x", b"").link(b'1', "h", b"x"),
        ),
        case(
            "overlay whiteout device in a tar",
            Refused,
            tar().entry(Head::new(b'3', b"dev"), b""),
        ),
        case(
            "trusted overlay attribute",
            Inside(&["d/"]),
            overlay("SCHILY.xattr.trusted.overlay.opaque"),
        ),
        case(
            "overlay redirect attribute",
            Inside(&["d/"]),
            tar()
                .pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/x")])
                .dir("d"),
        ),
        case(
            "user overlay attribute",
            Inside(&["d/"]),
            overlay("SCHILY.xattr.user.overlay.opaque"),
        ),
    ]
}
