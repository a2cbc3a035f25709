//! Blobs and the contents of the pool: bytes with a hash for a name.

use std::fs::File;
use std::io::{self, Read};

use lamina_fs::{At, PathError};
use lamina_types::Digest;
use rustix::fs::{FileType, OFlags, Stat};

use super::{Fault, Finding, Work};
use crate::area::Area;
use crate::blobs::area;
use crate::hash::Hasher;
use crate::ledger::Subject;
use crate::pool::{ObjectKey, Seal};

/// How a blob is stored.
const BLOB_MODE: u32 = 0o444;
/// How a content is stored.
const CONTENT_MODE: u32 = 0o400;

/// Hashes a blob again.
pub(super) fn blob(work: &Work<'_>, digest: &Digest) -> Vec<Finding> {
    let finding =
        |fault, detail: String| vec![Finding::new(Subject::Blob(digest.clone()), fault, detail)];
    let looked = || -> Result<Vec<Finding>, PathError> {
        let dir = work.store.dir(area(digest))?;
        let stat = dir.stat(digest.hex())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(finding(Fault::Damaged, "it is no file".to_owned()));
        }
        let mut findings = Vec::new();
        if mode(&stat) != BLOB_MODE {
            findings = finding(Fault::Mode, wrong_mode(&stat, BLOB_MODE));
        }
        if work.options.contents {
            let file = dir.open_file(digest.hex(), OFlags::RDONLY)?;
            let mut hasher = Hasher::like(digest);
            hasher
                .update_from(Counted(file, work))
                .at("read", dir.path().join(digest.hex()))?;
            let found = hasher.finish();
            if found != *digest {
                findings.extend(finding(
                    Fault::Damaged,
                    format!("its bytes have digest {found}"),
                ));
            }
        }
        Ok(findings)
    };
    looked().unwrap_or_else(|error| unreadable(&error, |text| finding(Fault::Damaged, text)))
}

/// Looks at one folder of the pool.
pub(super) fn contents(work: &Work<'_>, folder: &str) -> Vec<Finding> {
    let path = format!("{}/{folder}", Area::Pool.path());
    let own = |text| {
        vec![Finding::new(
            Subject::Own(path.clone()),
            Fault::Damaged,
            text,
        )]
    };
    let list = || -> Result<Vec<Finding>, PathError> {
        let dir = work.store.dir(Area::Pool)?.open_at(folder)?;
        let mut findings = Vec::new();
        for entry in dir.entries()? {
            let name = entry.name.to_string_lossy().into_owned();
            match ObjectKey::parse(folder, &name) {
                Some(key) => {
                    let finding = |fault, detail: String| {
                        vec![Finding::new(Subject::Content(key), fault, detail)]
                    };
                    let looked = content(work, &dir, &name, key);
                    findings.extend(looked.unwrap_or_else(|error| {
                        unreadable(&error, |text| finding(Fault::Damaged, text))
                    }));
                }
                None => findings.push(Finding::new(
                    Subject::Foreign(format!("{path}/{name}")),
                    Fault::Left,
                    "nothing of the pool has such a name",
                )),
            }
        }
        Ok(findings)
    };
    list().unwrap_or_else(|error| unreadable(&error, own))
}

fn content(
    work: &Work<'_>,
    dir: &lamina_fs::Dir,
    name: &str,
    key: ObjectKey,
) -> Result<Vec<Finding>, PathError> {
    let finding = |fault, detail: String| vec![Finding::new(Subject::Content(key), fault, detail)];
    let path = || dir.path().join(name);
    let stat = dir.stat(name)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(finding(Fault::Damaged, "it is no file".to_owned()));
    }
    let file = dir.open_file(name, OFlags::RDONLY)?;
    let Some(seal) = Seal::of(&file).at("read", path())? else {
        return Ok(finding(Fault::Damaged, "its seal is gone".to_owned()));
    };
    if ObjectKey::from(&seal.id) != key {
        return Ok(finding(
            Fault::Damaged,
            format!("its seal is that of {}", seal.id),
        ));
    }
    let mut findings = Vec::new();
    if mode(&stat) != CONTENT_MODE {
        findings = finding(Fault::Mode, wrong_mode(&stat, CONTENT_MODE));
    }
    // A file with holes can only be verified with the map that layers have of it.
    if !work.options.contents || seal.holes || work.is_verified(&key) {
        return Ok(findings);
    }
    let mut hasher = Hasher::sha256();
    hasher.update_from(Counted(file, work)).at("read", path())?;
    let found = hasher.finish();
    if found != seal.id.digest() {
        findings.extend(finding(
            Fault::Damaged,
            format!("its bytes have digest {found}"),
        ));
    }
    Ok(findings)
}

fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

fn wrong_mode(stat: &Stat, expected: u32) -> String {
    format!("its mode is {:04o} and not {expected:04o}", mode(stat))
}

/// What cannot be read is damaged; what has gone meanwhile is nobody's business.
fn unreadable(error: &PathError, finding: impl FnOnce(String) -> Vec<Finding>) -> Vec<Finding> {
    if error.is_not_found() {
        return Vec::new();
    }
    finding(format!("cannot be read: {}", error.source))
}

/// Counts what is read.
struct Counted<'w, 's>(File, &'w Work<'s>);

impl Read for Counted<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into)?;
        self.1.read(count as u64);
        Ok(count)
    }
}
