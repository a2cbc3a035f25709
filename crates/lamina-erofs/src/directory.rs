//! The content of a directory: blocks of entries followed by their names.
//!
//! ```text
//! ┌──────────┬──────────┬───┬──────┬──────┬───┬────────┐
//! │ entry 12 │ entry 12 │ … │ name │ name │ … │ zeroes │   the offset of the first name tells
//! └──────────┴──────────┴───┴──────┴──────┴───┴────────┘   how many entries there are
//! ```

use crate::format::{BLOCK, BLOCK_LENGTH};

/// The length of an entry.
const ENTRY: usize = 12;

/// One name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'t> {
    pub(crate) name: &'t [u8],
    /// The inode's number.
    pub(crate) number: u64,
    pub(crate) kind: u8,
}

/// Returns the length of the content of a directory with these names, in order.
pub(crate) fn length<'t>(names: impl Iterator<Item = &'t [u8]>) -> u64 {
    let (mut whole, mut used) = (0, 0);
    for name in names {
        let need = (ENTRY + name.len()) as u64;
        if used + need > BLOCK {
            whole += BLOCK;
            used = 0;
        }
        used += need;
    }
    whole + used
}

/// Returns the content; the last block is as long as it has to be.
pub(crate) fn content(names: &[Named<'_>]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = names;
    while !rest.is_empty() {
        // The next block begins where the one before, if any, is full.
        content.resize(content.len().next_multiple_of(BLOCK_LENGTH), 0);
        let mut used = 0;
        let fits = rest.iter().take_while(|named| {
            used += ENTRY + named.name.len();
            used <= BLOCK_LENGTH
        });
        let (block, after) = rest.split_at(fits.count());
        push_block(&mut content, block);
        rest = after;
    }
    content
}

fn push_block(content: &mut Vec<u8>, names: &[Named<'_>]) {
    let mut at = names.len() * ENTRY;
    for named in names {
        let offset = u16::try_from(at).expect("a block is shorter than 64 KiB");
        content.extend(named.number.to_le_bytes());
        content.extend(offset.to_le_bytes());
        content.extend([named.kind, 0]);
        at += named.name.len();
    }
    for named in names {
        content.extend(named.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_content() {
        for count in [1, 14, 15, 16, 300, 1000] {
            let names: Vec<Vec<u8>> = (0..count).map(|n| vec![b'a'; 1 + (n * 37) % 255]).collect();
            let named: Vec<Named<'_>> = names
                .iter()
                .map(|name| Named {
                    name,
                    number: 1,
                    kind: 1,
                })
                .collect();
            let length = length(names.iter().map(Vec::as_slice));
            assert_eq!(content(&named).len() as u64, length, "{count}");
        }
    }
}
