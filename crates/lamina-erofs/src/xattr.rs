//! Extended attributes: after the inode, or once in the shared area.
//!
//! ```text
//! header 12: filter, count of shared ones │ their places, 4 each │ entries, each padded to 4
//! entry: name length, prefix, value length 2 │ name without its prefix │ value
//! ```

use std::collections::HashMap;

use crate::error::WriteError;
use crate::tree::{Metadata, Node};

/// Prefixes that have a number (`EROFS_XATTR_INDEX_*`). The two lists for access control are
/// whole names.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];
pub(crate) const HEADER: usize = 12;
const ENTRY: usize = 4;
/// What overlayfs reads of a file whose content is in a data-only layer.
pub(crate) const METACOPY: &[u8] = b"trusted.overlay.metacopy";
pub(crate) const REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// The places of shared attributes that one inode can have.
const MAX_SHARED: usize = 255;

/// Returns the prefix that a number stands for.
pub(crate) fn prefix(index: u8) -> Option<&'static [u8]> {
    let found = PREFIXES.iter().find(|(known, _)| *known == index);
    found.map(|(_, prefix)| *prefix)
}

/// A name with its value.
type Pair<'t> = (&'t [u8], &'t [u8]);

/// Returns an inode's attributes in the order of their names.
fn pairs<'t>(metadata: &'t Metadata, node: &'t Node) -> Vec<Pair<'t>> {
    let own = metadata.xattrs.iter();
    let mut pairs: Vec<Pair<'t>> = own
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    if let Node::External { object, .. } = node {
        pairs.retain(|(name, _)| *name != METACOPY && *name != REDIRECT);
        pairs.push((METACOPY, b""));
        pairs.push((REDIRECT, object));
    }
    pairs
}

/// The shared area, and where each attribute is in it.
#[derive(Debug, Default)]
pub(crate) struct Shared<'t> {
    places: HashMap<Pair<'t>, Option<u32>>,
    area: Vec<u8>,
}

impl<'t> Shared<'t> {
    /// Finds what several inodes have alike; the area is in the order of the inodes.
    pub(crate) fn new(
        inodes: impl Iterator<Item = (&'t Metadata, &'t Node)>,
    ) -> Result<Self, WriteError> {
        let mut shared = Self::default();
        for (metadata, node) in inodes {
            for pair in pairs(metadata, node) {
                match shared.places.get(&pair) {
                    None => drop(shared.places.insert(pair, None)),
                    Some(None) => {
                        let place = u32::try_from(shared.area.len() / 4)
                            .map_err(|_| WriteError::TooLarge)?;
                        push_entry(&mut shared.area, pair)?;
                        shared.places.insert(pair, Some(place));
                    }
                    Some(Some(_)) => {}
                }
            }
        }
        Ok(shared)
    }

    /// Returns the bytes of the area.
    pub(crate) fn area(&self) -> &[u8] {
        &self.area
    }

    /// Returns the bytes that follow an inode; none if it has no attributes.
    pub(crate) fn body(&self, metadata: &Metadata, node: &Node) -> Result<Vec<u8>, WriteError> {
        let pairs = pairs(metadata, node);
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let (mut places, mut entries) = (Vec::new(), Vec::new());
        for pair in pairs {
            match self.places.get(&pair) {
                Some(Some(place)) if places.len() < MAX_SHARED => places.push(*place),
                _ => push_entry(&mut entries, pair)?,
            }
        }
        let mut body = vec![0; HEADER];
        body[4] = u8::try_from(places.len()).expect("it is at most MAX_SHARED");
        for place in places {
            body.extend(place.to_le_bytes());
        }
        body.extend(entries);
        if count(body.len()).is_none() {
            return Err(WriteError::Attributes(body.len()));
        }
        Ok(body)
    }
}

/// Returns the length of a body as inodes store it, if they can.
pub(crate) fn count(length: usize) -> Option<u16> {
    match length {
        0 => Some(0),
        length => u16::try_from((length - HEADER) / 4 + 1).ok(),
    }
}

fn push_entry(to: &mut Vec<u8>, (name, value): Pair<'_>) -> Result<(), WriteError> {
    let found = PREFIXES
        .iter()
        .find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)));
    let (index, suffix) = found.ok_or_else(|| WriteError::Namespace(name.to_vec()))?;
    // An access control list has nothing after its name, everything else something.
    if suffix.is_empty() != matches!(index, 2 | 3) {
        return Err(WriteError::Namespace(name.to_vec()));
    }
    let too_long = || WriteError::Attribute {
        name: name.to_vec(),
        length: value.len(),
    };
    if name.len() > 255 {
        return Err(too_long());
    }
    let name_length = u8::try_from(suffix.len()).map_err(|_| too_long())?;
    let value_length = u16::try_from(value.len()).map_err(|_| too_long())?;
    to.reserve(ENTRY + suffix.len() + value.len() + 3);
    to.extend([name_length, index]);
    to.extend(value_length.to_le_bytes());
    to.extend(suffix);
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
    Ok(())
}
