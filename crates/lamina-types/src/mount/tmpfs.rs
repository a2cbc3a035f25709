//! `--tmpfs /path[:options]`.

use super::parts::{clip, parse_target};
use super::{MountError, MountKind, MountSpec};
use crate::quantity::parse_bytes;

/// What may be typed as it stands (tmpfs(5), mount(8)), as in Docker's list.
const WORDS: [&str; 24] = [
    "defaults",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
];
/// What may be typed with a number.
const NUMBERS: [&str; 4] = ["nr_inodes", "nr_blocks", "uid", "gid"];

pub(super) fn parse(text: &str) -> Result<MountSpec, MountError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let target = parse_target(target)?;
    let (mut size, mut mode, mut read_only) = (None, None, false);
    let mut kept = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let invalid = || MountError::Option {
            option: clip(option),
            kind: "tmpfs",
        };
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            None if option == "rw" => read_only = false,
            None if option == "defaults" => {}
            None if WORDS.contains(&option) => kept.push(option.to_owned()),
            Some(("size", percent)) if is_percentage(percent) => kept.push(option.to_owned()),
            Some(("size", value)) => size = Some(parse_bytes(value)?),
            Some(("mode", value)) => mode = Some(parse_mode(value).ok_or_else(invalid)?),
            Some((key, value)) if NUMBERS.contains(&key) && is_number(value) => {
                kept.push(option.to_owned());
            }
            _ => return Err(invalid()),
        }
    }
    Ok(MountSpec {
        kind: MountKind::Tmpfs {
            size,
            mode,
            options: kept,
        },
        target,
        read_only,
        recursive_read_only: false,
    })
}

/// Reads an octal mode, at most 7777.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    let octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o7777)
}

fn is_percentage(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|number| number.parse::<u8>().is_ok_and(|n| (1..=100).contains(&n)))
        && !text.starts_with('+')
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'm', 'g']).unwrap_or(text);
    !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit())
}
