//! The maps of sparse files: GNU's old form in header blocks, PAX 0.0 and 0.1 in records, PAX 1.0 at
//! the head of the content.

use std::io::BufRead;

use super::{BLOCK, TarError, TarReader, limit};
use crate::tar::entry::{Kind, SparsePart};
use crate::tar::header::Header;
use crate::tar::pax::SparseKeys;
use crate::tar::sparse::{self, MapReader};

impl<R: BufRead> TarReader<R> {
    pub(super) fn gnu_sparse(&mut self, header: Header<'_>, at: u64) -> Result<Kind, TarError> {
        let bad = |problem| TarError::Sparse {
            problem,
            offset: at,
        };
        let (fields, mut more, size) = header.gnu_sparse().ok_or(bad("bad size"))?;
        let mut parts = Vec::new();
        sparse::gnu_parts(fields, &mut parts).map_err(bad)?;
        while more {
            let block = self.block()?.ok_or(TarError::Truncated {
                offset: self.offset,
            })?;
            sparse::gnu_parts(&block[..504], &mut parts).map_err(bad)?;
            more = block[504] != 0;
            self.check_parts(parts.len())?;
        }
        self.sparse(parts, size, at)
    }

    pub(super) fn pax_sparse(&mut self, keys: &SparseKeys, at: u64) -> Result<Kind, TarError> {
        let bad = |problem| TarError::Sparse {
            problem,
            offset: at,
        };
        let size = keys.size.ok_or(bad("no size"))?;
        let numbers = match (keys.major, keys.minor) {
            (None, None) | (Some(0), Some(0 | 1)) => keys.numbers.clone(),
            (Some(1), Some(0)) if keys.numbers.is_empty() => self.content_map(at)?,
            _ => return Err(bad("unknown version")),
        };
        let parts = sparse::parts(&numbers).map_err(bad)?;
        self.check_parts(parts.len())?;
        self.sparse(parts, size, at)
    }

    /// Reads the map of format 1.0 off the head of the content.
    fn content_map(&mut self, at: u64) -> Result<Vec<u64>, TarError> {
        let bad = |problem| TarError::Sparse {
            problem,
            offset: at,
        };
        let mut map = MapReader::default();
        loop {
            self.left = self
                .left
                .checked_sub(BLOCK as u64)
                .ok_or(bad("no room for the map"))?;
            let block = self.block()?.ok_or(TarError::Truncated {
                offset: self.offset,
            })?;
            if map
                .block(&block, self.limits.max_sparse_parts)
                .map_err(bad)?
            {
                return Ok(map.numbers);
            }
        }
    }

    fn sparse(&self, parts: Vec<SparsePart>, size: u64, at: u64) -> Result<Kind, TarError> {
        let parts = sparse::check(parts, size, self.left).map_err(|problem| TarError::Sparse {
            problem,
            offset: at,
        })?;
        Ok(Kind::Sparse { size, parts })
    }

    fn check_parts(&self, parts: usize) -> Result<(), TarError> {
        if parts > self.limits.max_sparse_parts {
            return Err(limit(
                "regions of a sparse file",
                self.limits.max_sparse_parts as u64,
            ));
        }
        Ok(())
    }
}
