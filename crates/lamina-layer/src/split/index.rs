//! The objects of a layer, sorted: the edges that keep contents alive, and what they cost.
//!
//! ```text
//! "LAMINDEX"  version (u32)  0 (u32)  count (u64)
//! count × { id (32)  size (u64)  blocks (u64) }       ascending by id, each once
//! SHA-256 of everything before (32)
//! ```

use sha2::{Digest as _, Sha256};

use super::{IndexError, ObjectId};

const MAGIC: [u8; 8] = *b"LAMINDEX";
const VERSION: u32 = 1;
const HEAD: usize = 24;
const RECORD: usize = 48;
const SUM: usize = 32;

/// One object of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexRecord {
    /// The object.
    pub id: ObjectId,
    /// The length of the file, holes included.
    pub size: u64,
    /// What it takes on the disk, in units of 512 bytes, as far as that was known.
    pub blocks: u64,
}

/// The objects that a layer refers to, ascending by id, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectIndex {
    records: Vec<IndexRecord>,
}

impl ObjectIndex {
    /// Makes an index of records in any order; of an object given several times one is kept.
    pub fn new(mut records: Vec<IndexRecord>) -> Self {
        records.sort_unstable();
        records.dedup_by_key(|record| record.id);
        Self { records }
    }

    /// Returns the records, ascending by id.
    pub fn records(&self) -> &[IndexRecord] {
        &self.records
    }

    /// Returns the record of an object.
    pub fn get(&self, id: &ObjectId) -> Option<&IndexRecord> {
        let at = self.records.binary_search_by_key(id, |record| record.id);
        at.ok().map(|at| &self.records[at])
    }

    /// Returns the bytes of the index as it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.records.len() * RECORD + SUM);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.records.len() as u64).to_le_bytes());
        for record in &self.records {
            out.extend_from_slice(record.id.as_bytes());
            out.extend_from_slice(&record.size.to_le_bytes());
            out.extend_from_slice(&record.blocks.to_le_bytes());
        }
        let sum = Sha256::digest(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// Reads an index; allocates no more than `bytes` has.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let bad = IndexError::Malformed;
        let head = bytes.first_chunk::<HEAD>().ok_or(bad("too short"))?;
        if head[..8] != MAGIC {
            return Err(bad("not an index"));
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let count = number(&head[16..]);
        let (body, sum) = bytes.split_last_chunk::<SUM>().ok_or(bad("too short"))?;
        let records = body.get(HEAD..).ok_or(bad("too short"))?;
        if (records.len() / RECORD) as u64 != count || !records.len().is_multiple_of(RECORD) {
            return Err(bad("wrong length"));
        }
        if Sha256::digest(body)[..] != sum[..] {
            return Err(bad("wrong checksum"));
        }
        let records: Vec<IndexRecord> = records.chunks_exact(RECORD).map(record).collect();
        if !records.is_sorted_by(|a, b| a.id < b.id) {
            return Err(bad("not in order"));
        }
        Ok(Self { records })
    }
}

fn record(bytes: &[u8]) -> IndexRecord {
    let mut id = [0; 32];
    id.copy_from_slice(&bytes[..32]);
    IndexRecord {
        id: ObjectId::from_bytes(id),
        size: number(&bytes[32..]),
        blocks: number(&bytes[40..]),
    }
}

/// The first eight bytes as a number; the caller has checked that they are there.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |n| u64::from_le_bytes(*n))
}
