//! Symbolic and hard links that lead out, in circles or nowhere.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Case, Expect, Head, case, tar};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases(outside: &Path) -> Vec<Case> {
    use Expect::{Inside, Refused};
    let out = outside.as_os_str().as_bytes();
    let secret = [out, b"/secret"].concat();
    let up = b"../../../../../../../../../../../../../../../..";
    let up_secret = [&up[..], &secret].concat();
    let pwn = |link: &[u8]| tar().link(b'2', "l", link).file("l/pwned", b"x");
    vec![
        case(
            "CVE-2014-6407 file through an absolute symlink",
            Inside(&["!pwned"]),
            pwn(out),
        ),
        case(
            "CVE-2018-20990 file through a relative symlink",
            Inside(&["pwned"]),
            pwn(up),
        ),
        case(
            "CVE-2021-38511 directory through a symlink",
            Inside(&["d/e"]),
            tar().link(b'2', "l", b"..").dir("l/d/e"),
        ),
        case(
            "symlink to a symlink to outside",
            Inside(&["m"]),
            tar()
                .link(b'2', "m", out)
                .link(b'2', "l", b"m")
                .file("l/pwned", b"x"),
        ),
        case(
            "symlink loop above a file",
            Refused,
            tar().link(b'2', "l", b"l").file("l/x", b"x"),
        ),
        case(
            "two symlinks in a circle",
            Refused,
            tar()
                .link(b'2', "a", b"b")
                .link(b'2', "b", b"a")
                .file("a/x", b""),
        ),
        case(
            "file over a symlink replaces it",
            Inside(&["l"]),
            tar().link(b'2', "l", &secret).file("l", b"x"),
        ),
        case(
            "CVE-2021-32760 directory over a symlink, mode 0777",
            Inside(&["l/"]),
            tar()
                .link(b'2', "l", out)
                .entry(Head::new(b'5', b"l").mode(0o777), b""),
        ),
        case(
            "CVE-2026-33056 directory metadata through a symlink",
            Inside(&[]),
            tar()
                .link(b'2', "l", out)
                .entry(Head::new(b'5', b"l/.").mode(0o777), b""),
        ),
        case(
            "symlink over a directory, then through it",
            Inside(&[]),
            tar()
                .dir("d")
                .file("d/x", b"")
                .link(b'2', "d", out)
                .file("d/pwned", b"x"),
        ),
        case(
            "hard link through the cached parent that became a symlink",
            Refused,
            tar()
                .dir("d")
                .file("d/x", b"")
                .link(b'1', "ok", b"d/x")
                .link(b'2', "d", out)
                .link(b'1', "h", b"d/secret"),
        ),
        case(
            "magic link as a parent",
            Inside(&[]),
            pwn(b"/proc/self/cwd"),
        ),
        case(
            "hard link to an absolute path outside",
            Refused,
            tar().link(b'1', "h", &secret),
        ),
        case(
            "hard link by dot-dot",
            Refused,
            tar().link(b'1', "h", &up_secret),
        ),
        case(
            "hard link through a symlink to outside",
            Refused,
            tar().link(b'2', "l", out).link(b'1', "h", b"l/secret"),
        ),
        case(
            "CVE-2026-50163 hard link relative to the working directory",
            Refused,
            tar().link(b'1', "h", b"Cargo.toml"),
        ),
        case(
            "hard link to a symlink, then written through",
            Inside(&["h"]),
            tar()
                .link(b'2', "l", &secret)
                .link(b'1', "h", b"l")
                .file("h", b"x"),
        ),
        case(
            "hard link to a later entry",
            Refused,
            tar().link(b'1', "h", b"later").file("later", b"x"),
        ),
        case(
            "hard link to itself",
            Refused,
            tar().file("h", b"x").link(b'1', "h", b"./h"),
        ),
        case(
            "hard link to a directory",
            Refused,
            tar().dir("d").link(b'1', "h", b"d"),
        ),
        case(
            "hard link to the root",
            Refused,
            tar().link(b'1', "h", b"/"),
        ),
        case(
            "hard link without a target",
            Refused,
            tar().link(b'1', "h", b""),
        ),
        case(
            "symbolic link without a target",
            Refused,
            tar().link(b'2', "l", b""),
        ),
        case(
            "symbolic link target with NUL",
            Refused,
            tar().pax(&[("linkpath", b"a\0b")]).link(b'2', "l", b"x"),
        ),
        case(
            "directory over a file",
            Inside(&["d/x"]),
            tar().file("d", b"").dir("d").file("d/x", b""),
        ),
        case(
            "file over a full directory",
            Inside(&["d", "!d/x"]),
            tar().dir("d").file("d/x", b"").file("d", b""),
        ),
    ]
}
