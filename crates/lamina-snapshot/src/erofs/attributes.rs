//! Which extended attributes of a layer an image keeps: those that the unpacker could set.

/// What an attribute is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file or directory.
    Other,
    /// Anything else, which has no attributes of users (xattr(7)).
    Special,
}

/// Returns whether an attribute is kept. Those of other namespaces no filesystem of ours takes.
pub(super) fn kept(name: &[u8], value: &[u8], kind: Kind) -> bool {
    if name == b"system.posix_acl_access" || name == b"system.posix_acl_default" {
        return kind == Kind::Other && is_acl(value);
    }
    let after = |prefix: &str| {
        let rest = name.strip_prefix(prefix.as_bytes());
        rest.is_some_and(|rest| !rest.is_empty())
    };
    after("security.") || after("trusted.") || (kind == Kind::Other && after("user."))
}

/// Returns whether the kernel would read this as an access control list
/// (`posix_acl_xattr_header`): one that it would not makes its file unusable.
fn is_acl(value: &[u8]) -> bool {
    const VERSION: u32 = 2;
    let Some((version, entries)) = value.split_first_chunk::<4>() else {
        return false;
    };
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    // Each entry once, but for those of named users and groups, in this order.
    let known = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20];
    let (entries, rest) = entries.as_chunks::<8>();
    u32::from_le_bytes(*version) == VERSION
        && rest.is_empty()
        && entries
            .iter()
            .all(|entry| known.contains(&tag(entry)) && entry[2] <= 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_set_is_kept() {
        let acl = [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255];
        let table: [(&str, &[u8], Kind, bool); 9] = [
            ("user.a", b"", Kind::Other, true),
            ("user.a", b"", Kind::Special, false),
            ("security.capability", b"x", Kind::Special, true),
            ("trusted.a", b"x", Kind::Other, true),
            ("trusted.", b"x", Kind::Other, false),
            ("com.apple.thing", b"x", Kind::Other, false),
            ("system.posix_acl_access", &acl, Kind::Other, true),
            ("system.posix_acl_access", &acl[..11], Kind::Other, false),
            ("system.nfs4_acl", b"x", Kind::Other, false),
        ];
        for (name, value, kind, expected) in table {
            assert_eq!(kept(name.as_bytes(), value, kind), expected, "{name}");
        }
    }
}
