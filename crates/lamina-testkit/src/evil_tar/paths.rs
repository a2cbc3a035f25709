//! Names that lead out, are impossible, or are the root.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Case, Expect, Head, case, tar};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases(outside: &Path) -> Vec<Case> {
    use Expect::{Inside, Refused};
    let absolute = format!("{}/pwned", outside.display());
    let long = "a/".repeat(3000);
    let mut cases = vec![
        case(
            "CVE-2014-9356 dot-dot name",
            Refused,
            tar().file("../pwned", b"x"),
        ),
        case(
            "CVE-2016-7569 dot-dot inside",
            Refused,
            tar().file("a/../../pwned", b"x"),
        ),
        case(
            "dot-dot that stays inside",
            Inside(&["b"]),
            tar().file("a/../b", b"x"),
        ),
        case("absolute name", Inside(&[]), tar().file(&absolute, b"x")),
        case(
            "absolute dot-dot name stays at the root",
            Inside(&["etc/x"]),
            tar().file("/../../etc/x", b"x"),
        ),
        case("empty name", Refused, tar().file("", b"x")),
        case(
            "NUL in a PAX name",
            Refused,
            tar().pax(&[("path", b"a\0b")]).file("x", b""),
        ),
        case(
            "empty PAX name",
            Refused,
            tar().pax(&[("path", b"")]).file("x", b""),
        ),
        case(
            "component of 256 bytes",
            Refused,
            tar().pax(&[("path", &[b'n'; 256])]).file("x", b""),
        ),
        case(
            "path beyond PATH_MAX",
            Refused,
            tar().pax(&[("path", long.as_bytes())]).dir("x"),
        ),
        case(
            "control characters in a name",
            Inside(&["\u{1b}[2J\n"]),
            tar().file("\u{1b}[2J\n", b"x"),
        ),
        case(
            "name that is not UTF-8",
            Inside(&[]),
            tar().entry(Head::new(b'0', b"\xff\xfe"), b"x"),
        ),
        case(
            "file under a file",
            Refused,
            tar().file("f", b"x").file("f/g", b"x"),
        ),
    ];
    for (name, flag) in [
        ("symlink", b'2'),
        ("hardlink", b'1'),
        ("character device", b'3'),
        ("file", b'0'),
        ("fifo", b'6'),
    ] {
        for root in [".", "./", "/", "/.", "//", ""] {
            let head = Head::new(flag, root.as_bytes()).link(outside.as_os_str().as_bytes());
            let title: &'static str = match name {
                "symlink" => "CVE-2021-29136 root as a symlink",
                "hardlink" => "CVE-2021-29136 root as a hard link",
                _ => "CVE-2021-29136 root as something else",
            };
            // A name ending in a slash makes an old-style file a directory.
            let expect = if flag == b'0' && root.ends_with('/') {
                Inside(&[])
            } else {
                Refused
            };
            cases.push(case(title, expect, tar().entry(head, b"")));
        }
    }
    cases
}
