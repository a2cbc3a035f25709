//! Sparse files: old GNU headers, and PAX formats 0.0, 0.1 and 1.0, all to one checked map.
//!
//! Source: GNU tar manual, "Storing Sparse Files".

use super::entry::SparsePart;
use super::header::number;
use super::pax::decimal;

/// Pairs up offsets and lengths.
pub(crate) fn parts(numbers: &[u64]) -> Result<Vec<SparsePart>, &'static str> {
    if !numbers.len().is_multiple_of(2) {
        return Err("odd number of values");
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|p| SparsePart {
            offset: p[0],
            length: p[1],
        })
        .collect())
}

/// Reads the 24-byte descriptors of an old GNU header or of its continuation; an all-zero one is
/// unused.
pub(crate) fn gnu_parts(fields: &[u8], out: &mut Vec<SparsePart>) -> Result<(), &'static str> {
    for field in fields.chunks_exact(24) {
        if field.iter().all(|&b| b == 0) {
            continue;
        }
        let value = |bytes| {
            number(bytes)
                .and_then(|n| u64::try_from(n).ok())
                .ok_or("bad number")
        };
        out.push(SparsePart {
            offset: value(&field[..12])?,
            length: value(&field[12..])?,
        });
    }
    Ok(())
}

/// Checks that regions ascend without overlap inside `size` and that their lengths are exactly the
/// content that is stored; drops empty ones.
pub(crate) fn check(
    mut parts: Vec<SparsePart>,
    size: u64,
    stored: u64,
) -> Result<Vec<SparsePart>, &'static str> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for part in &parts {
        if part.offset < end {
            return Err("regions overlap or are not in order");
        }
        end = part
            .offset
            .checked_add(part.length)
            .ok_or("a region is beyond 64 bits")?;
        if end > size {
            return Err("a region is beyond the end");
        }
        sum = sum
            .checked_add(part.length)
            .ok_or("more content than 64 bits count")?;
    }
    if sum != stored {
        return Err("the regions do not add up to the stored content");
    }
    parts.retain(|part| part.length > 0);
    Ok(parts)
}

/// The map at the head of the content in format 1.0: lines of decimal digits, the first the
/// number of regions. Fed byte by byte because it ends where it ends.
#[derive(Debug, Default)]
pub(crate) struct MapReader {
    line: Vec<u8>,
    count: Option<u64>,
    pub(crate) numbers: Vec<u64>,
}

impl MapReader {
    /// Takes one block; true when the map is complete (the block's rest is padding).
    pub(crate) fn block(&mut self, block: &[u8], max_parts: usize) -> Result<bool, &'static str> {
        for &byte in block {
            if byte != b'\n' {
                if self.line.len() >= 20 {
                    return Err("a number is too long");
                }
                self.line.push(byte);
                continue;
            }
            let value = decimal(&self.line)?;
            self.line.clear();
            match self.count {
                None if value > max_parts as u64 => return Err("too many regions"),
                None => self.count = Some(value),
                Some(_) => self.numbers.push(value),
            }
            if self
                .count
                .is_some_and(|count| self.numbers.len() as u64 == count * 2)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
