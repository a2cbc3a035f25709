//! Tars that no honest tool writes: a raw builder, and a table of attacks on whoever unpacks them.
//!
//! Every case names the advisory it replays, where there is one. "Outside" is always the directory
//! given to [`corpus`], whose content a test compares before and after.

mod desyncs;
mod fields;
mod links;
mod paths;
mod whiteouts;

use std::path::Path;

/// One header, every field free.
#[derive(Debug, Clone)]
pub struct Head([u8; 512]);

impl Head {
    /// A ustar header with mode 0755, owner 0:0, no content.
    pub fn new(flag: u8, name: &[u8]) -> Self {
        let mut head = Self([0; 512]);
        head.0[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        head.0[100..108].copy_from_slice(b"0000755\0");
        head.0[108..116].copy_from_slice(b"0000000\0");
        head.0[116..124].copy_from_slice(b"0000000\0");
        head.0[136..148].copy_from_slice(b"14000000000\0");
        head.0[156] = flag;
        head.0[257..265].copy_from_slice(b"ustar\x0000");
        head.size(0)
    }

    /// Sets the link target.
    #[must_use]
    pub fn link(self, target: &[u8]) -> Self {
        self.bytes(157, &target[..target.len().min(100)])
    }

    /// Sets the size field, whatever the content.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.bytes(124, format!("{size:011o}\0").as_bytes())
    }

    /// Sets the mode field.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.bytes(100, format!("{mode:07o}\0").as_bytes())
    }

    /// Writes bytes anywhere.
    #[must_use]
    pub fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Returns the block with its checksum.
    pub fn sealed(mut self) -> [u8; 512] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// A tar being put together block by block.
#[derive(Debug, Clone, Default)]
pub struct RawTar(Vec<u8>);

impl RawTar {
    /// Adds an entry with its content; the header's size is the content's.
    #[must_use]
    pub fn entry(self, head: Head, content: &[u8]) -> Self {
        let size = content.len() as u64;
        self.claiming(head.size(size), content)
    }

    /// Adds an entry whose header says what it says.
    #[must_use]
    pub fn claiming(mut self, head: Head, content: &[u8]) -> Self {
        self.0.extend_from_slice(&head.sealed());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(Head::new(b'0', name.as_bytes()), content)
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, name: &str) -> Self {
        self.entry(Head::new(b'5', name.as_bytes()), b"")
    }

    /// Adds a symbolic link (`b'2'`) or a hard link (`b'1'`).
    #[must_use]
    pub fn link(self, flag: u8, name: &str, target: &[u8]) -> Self {
        if target.len() > 100 {
            return self
                .pax(&[("linkpath", target)])
                .link(flag, name, &target[..100]);
        }
        self.entry(Head::new(flag, name.as_bytes()).link(target), b"")
    }

    /// Adds well-formed extended records for the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect();
        self.extended(b'x', &body)
    }

    /// Adds an extended header (`x`, `g`, `L`, `K`) with any body.
    #[must_use]
    pub fn extended(self, flag: u8, body: &[u8]) -> Self {
        self.entry(Head::new(flag, b"././@ext"), body)
    }

    /// Returns the archive, ended.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Returns the bytes so far, without an end.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }
}

/// One PAX record with the right length.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// What must come of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A typed error.
    Refused,
    /// Success, inside the target, with these paths there (a leading `!`: not there).
    Inside(&'static [&'static str]),
}

/// One attack.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it does, with the advisory.
    pub name: &'static str,
    /// The archive.
    pub tar: Vec<u8>,
    /// What must come of it.
    pub expect: Expect,
}

/// The table. `outside` is an absolute path the attacks aim at.
pub fn corpus(outside: &Path) -> Vec<Case> {
    let mut cases = paths::cases(outside);
    cases.extend(links::cases(outside));
    cases.extend(whiteouts::cases(outside));
    cases.extend(desyncs::cases());
    cases.extend(fields::cases());
    cases
}

fn case(name: &'static str, expect: Expect, tar: RawTar) -> Case {
    Case {
        name,
        tar: tar.end(),
        expect,
    }
}

fn tar() -> RawTar {
    RawTar::default()
}

impl RawTar {
    fn claiming_zero(mut self) -> Self {
        self.0.extend_from_slice(&[0; 512]);
        self
    }
}
