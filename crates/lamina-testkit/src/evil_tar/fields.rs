//! Numbers out of range, truncation, damage.

use super::{Case, Expect, Head, case, tar};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    use Expect::{Inside, Refused};
    let head = || Head::new(b'0', b"f");
    let base256 = |first: u8, last: u8| {
        let mut field = [0; 12];
        field[0] = first;
        field[11] = last;
        field
    };
    let mut cases = vec![
        case(
            "base-256 size",
            Inside(&["f"]),
            tar().claiming(head().bytes(124, &base256(0x80, 1)), b"x"),
        ),
        case(
            "negative base-256 size",
            Refused,
            tar().claiming(head().bytes(124, &[0xff; 12]), b""),
        ),
        case(
            "base-256 size beyond 64 bits",
            Refused,
            tar().claiming(
                head().bytes(124, &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                b"",
            ),
        ),
        case(
            "base-256 with bits in the first byte",
            Refused,
            tar().claiming(head().bytes(124, &base256(0x81, 1)), b""),
        ),
        case(
            "size that is no number",
            Refused,
            tar().claiming(head().bytes(124, b"0000000000z\0"), b""),
        ),
        case(
            "owner 2^31",
            Inside(&["f"]),
            tar().pax(&[("uid", b"2147483648")]).file("f", b""),
        ),
        case(
            "owner -1",
            Refused,
            tar().pax(&[("uid", b"4294967295")]).file("f", b""),
        ),
        case(
            "owner beyond 32 bits",
            Refused,
            tar().pax(&[("gid", b"4294967296")]).file("f", b""),
        ),
        case(
            "time out of range",
            Inside(&["f"]),
            tar()
                .pax(&[("mtime", b"9000000000000000000.5")])
                .file("f", b""),
        ),
        case(
            "time before 1970",
            Inside(&["f"]),
            tar().pax(&[("mtime", b"-1.5")]).file("f", b""),
        ),
        case(
            "unknown entry type",
            Refused,
            tar().entry(Head::new(b'Z', b"z"), b""),
        ),
        case(
            "attribute given twice",
            Refused,
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.a", b"2")])
                .file("f", b""),
        ),
        case(
            "attribute in an unknown namespace",
            Inside(&["f"]),
            tar()
                .pax(&[("SCHILY.xattr.nonsense.a", b"1")])
                .file("f", b""),
        ),
        case(
            "GNU long name of 2 GiB",
            Refused,
            tar().claiming(Head::new(b'L', b"l").size(2 << 30), b"x"),
        ),
        case(
            "PAX header of 8 EiB",
            Refused,
            tar().claiming(Head::new(b'x', b"l").bytes(124, &base256_max()), b"x"),
        ),
    ];
    let whole = tar()
        .dir("d")
        .file("d/f", &[7; 1500])
        .pax(&[("path", b"long")])
        .file("s", b"y")
        .end();
    for cut in [
        1,
        511,
        513,
        1025,
        1024 + 1499,
        1024 + 1535,
        2561,
        3072,
        3583,
        4095,
    ] {
        let tar = whole[..cut].to_vec();
        cases.push(Case {
            name: "truncated",
            tar,
            expect: Expect::Refused,
        });
    }
    let mut damaged = whole;
    damaged[0] ^= 1;
    cases.push(Case {
        name: "wrong checksum",
        tar: damaged,
        expect: Expect::Refused,
    });
    cases.push(Case {
        name: "not a tar",
        tar: vec![b'x'; 4096],
        expect: Expect::Refused,
    });
    cases.push(Case {
        name: "nothing at all",
        tar: Vec::new(),
        expect: Expect::Inside(&[]),
    });
    cases
}

fn base256_max() -> [u8; 12] {
    [
        0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ]
}
