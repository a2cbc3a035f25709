//! Headers that disagree about where an entry ends or what it is called.

use super::{Case, Expect, Head, case, record, tar};

/// An inner archive in the content, and headers that disagree about how long the content is.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    use Expect::{Inside, Refused};
    let inner = tar().file("smuggled", b"x").unfinished();
    let size = inner.len().to_string();
    let size = size.as_bytes();
    let no_smuggling = Inside(&["outer", "!smuggled"]);
    let outer = |size: u64| Head::new(b'0', b"outer").size(size);
    vec![
        case(
            "CVE-2025-62518 TARmageddon: size 0 and a PAX size",
            no_smuggling,
            tar().pax(&[("size", size)]).claiming(outer(0), &inner),
        ),
        case(
            "CVE-2026-33055 size 512 and a PAX size",
            no_smuggling,
            tar().pax(&[("size", size)]).claiming(outer(512), &inner),
        ),
        case(
            "PAX size smaller than the header's",
            no_smuggling,
            tar()
                .pax(&[("size", b"1")])
                .claiming(outer(1024), &[b'x'; 512]),
        ),
        case(
            "PAX size given twice",
            Refused,
            tar()
                .pax(&[("size", b"0"), ("size", size)])
                .claiming(outer(0), &inner),
        ),
        case(
            "global PAX size",
            Refused,
            tar()
                .extended(b'g', &record("size", size))
                .claiming(outer(0), &inner),
        ),
        case(
            "global PAX path",
            Refused,
            tar()
                .extended(b'g', &record("path", b"x"))
                .file("a", b"")
                .file("b", b""),
        ),
        case(
            "global comment is harmless",
            Inside(&["a"]),
            tar()
                .extended(b'g', &record("comment", b"x"))
                .file("a", b""),
        ),
        case(
            "CVE-2026-32766 PAX record too long",
            Refused,
            tar().extended(b'x', b"99 path=x\n").file("a", b""),
        ),
        case(
            "PAX record without a length",
            Refused,
            tar().extended(b'x', b"path=x\n").file("a", b""),
        ),
        case(
            "PAX record without an equals sign",
            Refused,
            tar().extended(b'x', b"7 path\n").file("a", b""),
        ),
        case(
            "PAX record without its newline",
            Refused,
            tar().extended(b'x', b"9 path=xx").file("a", b""),
        ),
        case(
            "PAX record after which comes rubbish",
            Refused,
            tar().extended(b'x', b"9 path=x\n\0\0\0").file("a", b""),
        ),
        case(
            "PAX size negative",
            Refused,
            tar().pax(&[("size", b"-1")]).file("a", b""),
        ),
        case(
            "PAX size with a plus sign",
            Refused,
            tar().pax(&[("size", b"+1")]).claiming(outer(1), b"x"),
        ),
        case(
            "PAX size beyond 63 bits",
            Refused,
            tar()
                .pax(&[("size", b"9223372036854775808")])
                .file("a", b""),
        ),
        case(
            "two PAX headers for one entry",
            Refused,
            tar()
                .pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("c", b""),
        ),
        case(
            "PAX and GNU long names that differ",
            Refused,
            tar()
                .pax(&[("path", b"a")])
                .extended(b'L', b"b\0")
                .file("c", b""),
        ),
        case(
            "long name, long link, records in any order",
            Inside(&["name"]),
            tar()
                .extended(b'K', b"t\0")
                .pax(&[("mtime", b"1")])
                .extended(b'L', b"name\0")
                .link(b'2', "x", b"y"),
        ),
        case(
            "two GNU long names",
            Refused,
            tar()
                .extended(b'L', b"a\0")
                .extended(b'L', b"b\0")
                .file("c", b""),
        ),
        case(
            "GNU long name with NUL inside",
            Refused,
            tar().extended(b'L', b"a\0b\0").file("c", b""),
        ),
        case(
            "metadata and then the end",
            Refused,
            tar().pax(&[("path", b"a")]),
        ),
        case(
            "seventeen headers before one entry",
            Refused,
            (0..17)
                .fold(tar(), |t, _| t.extended(b'g', b""))
                .file("a", b""),
        ),
        case(
            "directory with content",
            Refused,
            tar().claiming(Head::new(b'5', b"d").size(inner.len() as u64), &inner),
        ),
        case(
            "symlink with content",
            Refused,
            tar().claiming(Head::new(b'2', b"l").link(b"x").size(512), &inner[..512]),
        ),
        case(
            "hard link with content",
            Refused,
            tar()
                .file("x", b"")
                .claiming(Head::new(b'1', b"l").link(b"x").size(512), &inner[..512]),
        ),
        case(
            "lone zero block",
            Refused,
            tar().file("a", b"").claiming_zero().file("b", b""),
        ),
        case(
            "PAX sparse major without a size",
            Refused,
            tar()
                .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")])
                .file("a", b"0\n"),
        ),
        case(
            "PAX sparse of an unknown version",
            Refused,
            tar()
                .pax(&[
                    ("GNU.sparse.major", b"2"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"1"),
                ])
                .file("a", b"0\n"),
        ),
        case(
            "PAX sparse map beyond the end",
            Refused,
            tar()
                .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"8,4")])
                .file("a", b"xxxx"),
        ),
        case(
            "PAX sparse map overlapping",
            Refused,
            tar()
                .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,4,2,4")])
                .file("a", b"xxxxxxxx"),
        ),
        case(
            "PAX sparse map not adding up",
            Refused,
            tar()
                .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,4")])
                .file("a", b"xxxxxxxx"),
        ),
        case(
            "sparse file of 8 EiB",
            Refused,
            tar()
                .pax(&[
                    ("GNU.sparse.size", b"9223372036854775807"),
                    ("GNU.sparse.map", b"0,1"),
                ])
                .file("a", b"x"),
        ),
    ]
}
