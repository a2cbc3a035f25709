//! Users and groups of an image: the one parser of its `/etc/passwd` and `/etc/group`.
//!
//! Numbers are never looked up as names (CVE-2016-3697, CVE-2026-46680): `UserSpec` has already
//! decided which of the two it is. The files come from an image, so they are bounded in size, and
//! a line that does not parse is skipped, as libc does.

use lamina_types::{ErrorKind, NameOrId, UserSpec};

/// What `/etc/passwd` and `/etc/group` of an image say; empty where there is no such file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// The bytes of `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// The bytes of `/etc/group`.
    pub group: Vec<u8>,
}

/// Whom the program runs as, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups, in ascending order, each once. The primary group is among them,
    /// so that a set-group-id program does not shed it (CVE-2022-36109).
    pub groups: Vec<u32>,
    /// The home directory; `/` where the files know none.
    pub home: String,
}

/// Why a user cannot be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// The image has no such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The image has no such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
}

impl UserError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The id that setresuid(2) reads as "unchanged", which would keep root.
const UNCHANGED: u32 = u32::MAX;

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves a user as Docker does.
///
/// Without a group, the primary group and every group that lists the user as a member come from
/// the files; with one, it is the only group. `group_add` is added in both cases.
pub(crate) fn resolve(
    user: Option<&UserSpec>,
    group_add: &[NameOrId],
    accounts: &Accounts,
) -> Result<ResolvedUser, UserError> {
    let root = NameOrId::Id(0);
    let who = user.map_or(&root, |user| &user.user);
    let entry = passwd(&accounts.passwd).find(|entry| match who {
        NameOrId::Id(id) => entry.uid == *id,
        NameOrId::Name(name) => entry.name == name,
    });
    let uid = match (who, &entry) {
        (NameOrId::Id(id), _) => *id,
        (NameOrId::Name(_), Some(entry)) => entry.uid,
        (NameOrId::Name(name), None) => return Err(UserError::NoUser(name.clone())),
    };
    let mut groups = Vec::new();
    let gid = match user.and_then(|user| user.group.as_ref()) {
        Some(group) => group_id(group, accounts)?,
        None => {
            if let Some(entry) = &entry {
                groups.extend(
                    group_entries(&accounts.group)
                        .filter(|group| group.members.split(',').any(|m| m == entry.name))
                        .map(|group| group.gid),
                );
            }
            entry.as_ref().map_or(0, |entry| entry.gid)
        }
    };
    for group in group_add {
        groups.push(group_id(group, accounts)?);
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = entry
        .map(|entry| entry.home)
        .filter(|home| home.starts_with('/') && !home.contains(char::is_control))
        .unwrap_or("/");
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: home.to_owned(),
    })
}

fn group_id(group: &NameOrId, accounts: &Accounts) -> Result<u32, UserError> {
    match group {
        NameOrId::Id(id) => Ok(*id),
        NameOrId::Name(name) => group_entries(&accounts.group)
            .find(|entry| entry.name == name)
            .map(|entry| entry.gid)
            .ok_or_else(|| UserError::NoGroup(name.clone())),
    }
}

fn passwd(bytes: &[u8]) -> impl Iterator<Item = Passwd<'_>> {
    lines(bytes).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = id(fields.next()?)?;
        let gid = id(fields.next()?)?;
        let _comment = fields.next();
        let home = fields.next().unwrap_or_default();
        Some(Passwd {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn group_entries(bytes: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(bytes).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = id(fields.next()?)?;
        let members = fields.next().unwrap_or_default();
        Some(Group { name, gid, members })
    })
}

/// Splits into lines that are UTF-8; others cannot name anything that was typed.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
        .filter(|line| !line.starts_with('#'))
}

/// Parses an id as libc would write it: digits only. Rust's own parser takes `+0` too.
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|id| *id != UNCHANGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: b"root:x:0:0:root:/root:/bin/sh\n\
                      # comment\n\
                      evil\n\
                      1000:x:0:0::/pwned:/bin/sh\n\
                      4294967296:x:0:0::/pwned:/bin/sh\n\
                      plus:x:+0:+0::/pwned:/bin/sh\n\
                      minus:x:4294967295:0::/pwned:/bin/sh\n\
                      app:x:1001:1002::/home/app:/bin/sh\n\
                      short:x:7:8\n\
                      rel:x:9:9::home\n"
                .to_vec(),
            group: b"root:x:0:\nwheel:x:10:root,app\nops:x:20:app\ngames:x:60:other,apple\n"
                .to_vec(),
        }
    }

    fn user(user: NameOrId, group: Option<NameOrId>) -> UserSpec {
        UserSpec { user, group }
    }

    fn name(text: &str) -> NameOrId {
        NameOrId::Name(text.to_owned())
    }

    #[test]
    fn resolves_as_docker_does() {
        let files = accounts();
        let id = NameOrId::Id;
        for (spec, uid, gid, groups, home) in [
            (None, 0, 0, vec![0, 10], "/root"),
            (Some(user(id(0), None)), 0, 0, vec![0, 10], "/root"),
            // A number that is also a name stays a number.
            (Some(user(id(1000), None)), 1000, 0, vec![0], "/"),
            (
                Some(user(name("app"), None)),
                1001,
                1002,
                vec![10, 20, 1002],
                "/home/app",
            ),
            (
                Some(user(id(1001), None)),
                1001,
                1002,
                vec![10, 20, 1002],
                "/home/app",
            ),
            (
                Some(user(name("app"), Some(id(5)))),
                1001,
                5,
                vec![5],
                "/home/app",
            ),
            (
                Some(user(id(1001), Some(name("ops")))),
                1001,
                20,
                vec![20],
                "/home/app",
            ),
            (Some(user(name("short"), None)), 7, 8, vec![8], "/"),
            (Some(user(name("rel"), None)), 9, 9, vec![9], "/"),
            (
                Some(user(id(4_294_967_294), Some(id(2_147_483_648)))),
                4_294_967_294,
                2_147_483_648,
                vec![2_147_483_648],
                "/",
            ),
        ] {
            let found = resolve(spec.as_ref(), &[], &files).unwrap();
            assert_eq!(
                (found.uid, found.gid, found.groups, found.home.as_str()),
                (uid, gid, groups, home),
                "{spec:?}"
            );
        }
    }

    #[test]
    fn hostile_entries_name_nobody() {
        for who in ["evil", "plus", "minus", "nobody", "root ", ""] {
            let spec = user(name(who), None);
            assert_eq!(
                resolve(Some(&spec), &[], &accounts()),
                Err(UserError::NoUser(who.to_owned()))
            );
        }
    }

    #[test]
    fn added_groups_join_in_every_case() {
        let add = [name("ops"), NameOrId::Id(77), NameOrId::Id(10)];
        let found = resolve(None, &add, &accounts()).unwrap();
        assert_eq!(found.groups, [0, 10, 20, 77]);
        let explicit = user(NameOrId::Id(5), Some(NameOrId::Id(6)));
        let found = resolve(Some(&explicit), &add, &accounts()).unwrap();
        assert_eq!((found.gid, found.groups), (6, vec![6, 10, 20, 77]));
        assert_eq!(
            resolve(None, &[name("nope")], &accounts()),
            Err(UserError::NoGroup("nope".to_owned()))
        );
    }

    #[test]
    fn an_image_without_the_files_still_has_numbers() {
        let empty = Accounts::default();
        let found = resolve(Some(&user(NameOrId::Id(33), None)), &[], &empty).unwrap();
        assert_eq!((found.uid, found.gid, found.home.as_str()), (33, 0, "/"));
        assert!(resolve(Some(&user(name("root"), None)), &[], &empty).is_err());
    }

    #[test]
    fn a_home_cannot_carry_a_line() {
        let files = Accounts {
            passwd: b"a:x:1:1::/x\x07y:\n".to_vec(),
            group: Vec::new(),
        };
        let found = resolve(Some(&user(name("a"), None)), &[], &files).unwrap();
        assert_eq!(found.home, "/");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_give_the_unchanged_id(bytes in proptest::collection::vec(0u8..128, 0..200)) {
            let files = Accounts { passwd: bytes.clone(), group: bytes };
            for who in [name("a"), NameOrId::Id(1)] {
                if let Ok(found) = resolve(Some(&user(who, None)), &[], &files) {
                    proptest::prop_assert!(found.uid != UNCHANGED && found.gid != UNCHANGED);
                }
            }
        }
    }
}
