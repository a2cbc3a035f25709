//! Users and groups as they are typed: the one parser for image `USER`, `--user` and every face.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest user or group name that is looked at (useradd(8) allows 32; be generous).
const NAME_MAX: usize = 256;

/// A user as typed: `user`, `user:group`, `uid`, `uid:gid`, in any mixture.
///
/// A part of decimal digits only is always a number and never looked up as a name
/// (CVE-2016-3697); a number outside `0..=4294967294` is refused on parsing, because -1 means
/// "unchanged" to setresuid(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The user.
    pub user: NameOrId,
    /// The group; `None` takes the user's primary group.
    pub group: Option<NameOrId>,
}

/// A user or group, by number or by its name in the image's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NameOrId {
    /// A number.
    Id(u32),
    /// A name, looked up in the image's `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// Why a string is no user or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// A part is empty.
    #[error("user {0:?} has an empty part: expected user[:group]")]
    Empty(String),
    /// There are more than two parts.
    #[error("user {0:?} has too many parts: expected user[:group]")]
    Parts(String),
    /// A number is not one of `0..=4294967294`.
    #[error("{0:?} is not an id: ids are 0 to 4294967294, in plain decimal")]
    Range(String),
    /// A name has a character that no name has, or begins as a number does.
    #[error("{0:?} is neither an id nor a user or group name")]
    Name(String),
}

impl FromStr for NameOrId {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        if text.is_empty() {
            return Err(UserError::Empty(String::new()));
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            // Other tools read "00" and "010" differently from one another; only the canonical
            // spelling has one meaning.
            let canonical = text == "0" || !text.starts_with('0');
            return match text.parse::<u32>() {
                Ok(id) if canonical && id != u32::MAX => Ok(Self::Id(id)),
                _ => Err(UserError::Range(clip(text))),
            };
        }
        // A name begins with a letter or an underscore, so that "+0", "-1", "0x0" and digits of
        // other scripts are errors here and cannot mean root to a laxer reader.
        let first_ok = text
            .chars()
            .next()
            .is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
        let rest_ok = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-@\\$".contains(&b));
        if first_ok && rest_ok && text.len() <= NAME_MAX {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(UserError::Name(clip(text)))
        }
    }
}

impl FromStr for UserSpec {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let mut parts = text.split(':');
        let user = parts.next().unwrap_or_default();
        let group = parts.next();
        if parts.next().is_some() {
            return Err(UserError::Parts(clip(text)));
        }
        if user.is_empty() || group == Some("") {
            return Err(UserError::Empty(clip(text)));
        }
        Ok(Self {
            user: user.parse()?,
            group: group.map(str::parse).transpose()?,
        })
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        let id = NameOrId::Id;
        let name = |n: &str| NameOrId::Name(n.to_owned());
        for (text, user, group) in [
            ("0", id(0), None),
            ("1000:1000", id(1000), Some(id(1000))),
            ("www-data", name("www-data"), None),
            ("nobody:65534", name("nobody"), Some(id(65534))),
            ("2147483648", id(2_147_483_648), None),
            ("4294967294:0", id(4_294_967_294), Some(id(0))),
            ("1000:_ssh", id(1000), Some(name("_ssh"))),
        ] {
            let spec: UserSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(spec, UserSpec { user, group }, "{text}");
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn refuses_every_spelling_that_two_readers_could_disagree_on() {
        for bad in [
            "",
            ":",
            ":0",
            "1:",
            "a:b:c",
            "0:0:0",
            "+0",
            "-0",
            "-1",
            "00",
            "010",
            "0x0",
            "1e3",
            " 0",
            "0 ",
            "0\n",
            "root ",
            "root\0",
            "a/b",
            "\u{966}",
            "0:+0",
            "root:00",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "99999999999999999999999999",
            "root\nadmin",
        ] {
            assert!(bad.parse::<UserSpec>().is_err(), "{bad:?} must be refused");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics_and_what_parses_round_trips(text in ".{0,24}") {
            if let Ok(spec) = text.parse::<UserSpec>() {
                proptest::prop_assert_eq!(spec.to_string(), text);
            }
        }
    }
}
