//! Who asks, and what they may do: anonymous, or a user of an htpasswd file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use lamina_types::ErrorKind;
use sha2::{Digest as _, Sha256};

/// How long a password that was right is believed without computing its hash again, which takes
/// tens of milliseconds on purpose.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Passwords that are remembered.
const REMEMBERED_MAX: usize = 1000;
/// Longer credentials are nobody's.
const CREDENTIALS_MAX: usize = 4 << 10;
/// Verified where there is no such user, so that it takes as long.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuHDbyYfwpbsfSTyrFZi9lPZ4Uv3e9zOW";

/// Who may do what.
#[derive(Debug, Default)]
pub struct Access {
    /// Users, who may read, and write unless `read_only`.
    pub users: Option<Users>,
    /// Whether only users may read.
    pub private: bool,
    /// Whether anybody may write.
    pub writable: bool,
    /// Whether nobody may write.
    pub read_only: bool,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It asks whether this is a registry, and for us.
    Ping,
    /// It reads.
    Read,
    /// It changes something.
    Write,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Who it is must be said, or was said wrongly.
    Unauthorized,
    /// It is not allowed to anybody who could say who they are.
    Denied,
}

/// The users of an htpasswd file with bcrypt hashes.
pub struct Users {
    hashes: BTreeMap<String, String>,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
}

/// Why an htpasswd file cannot be used. Its hashes are not repeated.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// A line has no user and hash.
    #[error("line {0} is not of the form USER:HASH")]
    Form(usize),
    /// A hash is not bcrypt's.
    #[error("line {0} has no bcrypt hash (htpasswd -B makes them)")]
    Hash(usize),
    /// There is nobody in it.
    #[error("it has no users")]
    Empty,
}

impl UsersError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Users {
    /// Reads the text of an htpasswd file.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut hashes = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or(UsersError::Form(at + 1))?;
            // Whether it can be computed with, and not only whether it looks like one.
            if user.is_empty() || bcrypt_parts(hash).is_none() {
                return Err(UsersError::Hash(at + 1));
            }
            hashes.insert(user.to_owned(), hash.to_owned());
        }
        if hashes.is_empty() {
            return Err(UsersError::Empty);
        }
        Ok(Self {
            hashes,
            remembered: Mutex::default(),
        })
    }

    /// Says whether a password is the user's. Slow on purpose, the first time.
    fn verify(&self, user: &str, password: &str) -> bool {
        let key: [u8; 32] = {
            let mut hash = Sha256::new();
            hash.update((user.len() as u64).to_le_bytes());
            hash.update(user.as_bytes());
            hash.update(password.as_bytes());
            hash.finalize().into()
        };
        let now = Instant::now();
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered
            .get(&key)
            .is_some_and(|then| now.duration_since(*then) < REMEMBERED)
        {
            return true;
        }
        drop(remembered);
        let hash = self.hashes.get(user);
        let known = hash.is_some();
        let right = bcrypt::verify(password, hash.map_or(NOBODY, String::as_str)).unwrap_or(false);
        if !(known && right) {
            return false;
        }
        remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, then| now.duration_since(*then) < REMEMBERED);
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(key, now);
        }
        true
    }
}

/// Says whether a text is `$2y$COST$SALT+HASH`, with a cost that can be afforded.
fn bcrypt_parts(hash: &str) -> Option<u32> {
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2x" | "2y", cost, rest] = parts.as_slice() else {
        return None;
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    let cost: u32 = cost.parse().ok()?;
    (rest.len() == 53 && rest.bytes().all(plain) && (4..=16).contains(&cost)).then_some(cost)
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl Access {
    /// Decides whether a request may be answered. Blocks while a password is verified.
    pub(crate) fn decide(&self, headers: &HeaderMap, deed: Deed) -> Result<(), Refused> {
        let known = match (self.credentials(headers)?, &self.users) {
            (Some((user, password)), Some(users)) => {
                if !users.verify(&user, &password) {
                    return Err(Refused::Unauthorized);
                }
                true
            }
            // A client that has a password for everything says it here too.
            _ => false,
        };
        let asks = self.users.is_some() && !known;
        match deed {
            // Clients ask here first, and believe for good what they are told.
            Deed::Ping if asks && !self.writable => Err(Refused::Unauthorized),
            Deed::Read if self.private && asks => Err(Refused::Unauthorized),
            Deed::Ping | Deed::Read => Ok(()),
            Deed::Write if self.read_only => Err(Refused::Denied),
            Deed::Write if known || self.writable => Ok(()),
            Deed::Write if asks => Err(Refused::Unauthorized),
            Deed::Write => Err(Refused::Denied),
        }
    }

    /// Returns the user name and password of a request, if it has any.
    fn credentials(&self, headers: &HeaderMap) -> Result<Option<(String, String)>, Refused> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        if self.users.is_none() {
            return Ok(None);
        }
        let parse = || {
            let text = value.to_str().ok()?;
            let (scheme, rest) = text.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("basic") || rest.len() > CREDENTIALS_MAX {
                return None;
            }
            let bytes = BASE64.decode(rest.trim().as_bytes()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (user, password) = text.split_once(':')?;
            Some((user.to_owned(), password.to_owned()))
        };
        parse().map(Some).ok_or(Refused::Unauthorized)
    }
}

#[cfg(test)]
mod tests;
