//! Compression on all processors, whose bytes do not depend on how many there are.
//!
//! The tar is cut into blocks of a fixed size; each becomes a gzip member or zstd frame of its
//! own, and the members one after the other are a valid stream of their format (RFC 1952 §2.2, RFC
//! 8878 §3). Nothing of the machine gets into them: no time, no name, no system.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::{Compression, GzBuilder};
use lamina_store::Hasher;
use lamina_types::{DiffId, Digest};

use super::{PackError, Packing};

/// The blocks of gzip: large enough that no ratio is lost.
const GZIP_BLOCK: usize = 1 << 20;
/// The blocks of zstd, whose window is larger.
const ZSTD_BLOCK: usize = 4 << 20;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// Blocks that wait for each worker, and for the writer.
const QUEUE: usize = 2;
/// The `OS` of a gzip member that does not tell (RFC 1952 §2.3.1).
const UNKNOWN_SYSTEM: u8 = 255;

/// What came out.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The digest of what went in.
    pub(super) diff_id: DiffId,
}

/// Compresses what `fill` writes, a layer's tar, into `out` on `threads` threads.
///
/// `tick` is called now and then with how much went in; an error of its own ends the work.
pub(super) fn pack(
    fill: impl FnOnce(&mut Blocks) -> Result<(), PackError> + Send,
    out: &mut File,
    packing: Packing,
    threads: usize,
    tick: &mut dyn FnMut(u64) -> Result<(), PackError>,
) -> Result<Packed, PackError> {
    thread::scope(|scope| {
        let mut to_workers = Vec::new();
        let mut from_workers = Vec::new();
        for _ in 0..threads.max(1) {
            let (to_worker, blocks) = sync_channel::<Vec<u8>>(QUEUE);
            let (to_writer, packed) = sync_channel(QUEUE);
            scope.spawn(move || work(packing, &blocks, &to_writer));
            to_workers.push(to_worker);
            from_workers.push(packed);
        }
        let reader = scope.spawn(move || {
            let mut blocks = Blocks::new(packing, to_workers);
            fill(&mut blocks)?;
            Ok(blocks.finish())
        });
        let written = write(&from_workers, out, tick);
        // Whoever still works for a writer that failed sees a closed channel.
        drop(from_workers);
        let filled = reader.join();
        // What the reader says of a writer that failed is not the cause.
        let (digest, size) = match (written, &filled) {
            (Err(error), _) => return Err(error),
            (Ok(written), _) => written,
        };
        let filled: Result<DiffId, PackError> =
            filled.unwrap_or_else(|_| Err(PackError::Read(io::Error::other("a reader has died"))));
        Ok(Packed {
            digest,
            size,
            diff_id: filled?,
        })
    })
}

/// Cuts what is written to it into blocks, dealt out in turn, and hashes it.
#[derive(Debug)]
pub(super) struct Blocks {
    size: usize,
    block: Vec<u8>,
    hash: Hasher,
    to_workers: Vec<SyncSender<Vec<u8>>>,
    turn: usize,
}

impl Blocks {
    fn new(packing: Packing, to_workers: Vec<SyncSender<Vec<u8>>>) -> Self {
        Self {
            size: match packing {
                Packing::Gzip(_) => GZIP_BLOCK,
                Packing::Zstd(_) => ZSTD_BLOCK,
            },
            block: Vec::new(),
            hash: Hasher::sha256(),
            to_workers,
            turn: 0,
        }
    }

    fn deal(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.hash.update(&block);
        let worker = self.turn % self.to_workers.len();
        self.turn += 1;
        // A worker that does not listen any more has failed, which the writer tells.
        let sent = self.to_workers[worker].send(block);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Deals out the last block, and returns the digest of everything.
    fn finish(mut self) -> DiffId {
        // Nothing at all is one empty member: an empty file is in no format.
        if !self.block.is_empty() || self.turn == 0 {
            // Told by the writer.
            let _ = self.deal();
        }
        DiffId(self.hash.finish())
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(self.size);
        }
        let count = bytes.len().min(self.size - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == self.size {
            self.deal()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Block = io::Result<(usize, Vec<u8>)>;

fn work(packing: Packing, blocks: &Receiver<Vec<u8>>, to_writer: &SyncSender<Block>) {
    while let Ok(block) = blocks.recv() {
        let packed = compress(packing, &block).map(|packed| (block.len(), packed));
        let failed = packed.is_err();
        if to_writer.send(packed).is_err() || failed {
            return;
        }
    }
}

fn compress(packing: Packing, block: &[u8]) -> io::Result<Vec<u8>> {
    match packing {
        Packing::Gzip(level) => {
            let level = Compression::new(level.unwrap_or(GZIP_LEVEL));
            let out = Vec::with_capacity(block.len() / 2);
            let builder = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM);
            let mut encoder = builder.write(out, level);
            encoder.write_all(block)?;
            encoder.finish()
        }
        Packing::Zstd(level) => {
            let mut encoder = zstd::bulk::Compressor::new(level.unwrap_or(ZSTD_LEVEL))?;
            encoder.include_checksum(true)?;
            encoder.compress(block)
        }
    }
}

/// Takes the blocks in the order in which they were dealt out.
fn write(
    from_workers: &[Receiver<Block>],
    out: &mut File,
    tick: &mut dyn FnMut(u64) -> Result<(), PackError>,
) -> Result<(Digest, u64), PackError> {
    let mut hash = Hasher::sha256();
    let (mut size, mut read) = (0, 0);
    for worker in from_workers.iter().cycle() {
        // The one whose turn it is has none: there are no more.
        let Ok(block) = worker.recv() else { break };
        let (length, packed) = block.map_err(PackError::Compress)?;
        hash.update(&packed);
        out.write_all(&packed).map_err(PackError::Write)?;
        size += packed.len() as u64;
        read += length as u64;
        tick(read)?;
    }
    Ok((hash.finish(), size))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek as _};

    use super::*;
    use crate::hash::digest;
    use crate::layer::decompress;

    fn packed(tar: &[u8], packing: Packing, threads: usize) -> (Vec<u8>, Packed) {
        let mut file = tempfile::tempfile().unwrap();
        let fill = |blocks: &mut Blocks| blocks.write_all(tar).map_err(PackError::Read);
        let packed = pack(fill, &mut file, packing, threads, &mut |_| Ok(())).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (bytes, packed)
    }

    #[test]
    fn the_number_of_threads_does_not_show_and_everything_comes_back() {
        let text: Vec<u8> = (0..1_200_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for packing in ["gzip:1", "gzip", "zstd"] {
            let packing: Packing = packing.parse().unwrap();
            for tar in [&text[..], &text[..GZIP_BLOCK], &text[..10], &[]] {
                let (one, facts) = packed(tar, packing, 1);
                assert_eq!(facts.digest, digest(&one));
                assert_eq!(facts.size, one.len() as u64);
                assert_eq!(facts.diff_id.0, digest(tar));
                let mut again = Vec::new();
                let mut reader = decompress(one.as_slice()).unwrap();
                reader.read_to_end(&mut again).unwrap();
                assert!(again == tar, "{packing} {}", tar.len());
                for threads in [2, 3, 7] {
                    assert!(
                        packed(tar, packing, threads).0 == one,
                        "{packing} {threads}"
                    );
                }
            }
        }
    }

    #[test]
    fn whatever_fails_ends_it() {
        let packing = Packing::Gzip(Some(1));
        let mut file = tempfile::tempfile().unwrap();
        let broken = |blocks: &mut Blocks| {
            blocks.write_all(&vec![7; 3 << 20]).unwrap();
            Err(PackError::Read(io::Error::other("broken")))
        };
        let error = pack(broken, &mut file, packing, 2, &mut |_| Ok(())).unwrap_err();
        assert!(matches!(error, PackError::Read(_)), "{error:?}");
        let endless = |blocks: &mut Blocks| {
            let copied = io::copy(&mut io::repeat(1), blocks);
            copied.map(drop).map_err(PackError::Read)
        };
        let mut stop = |done| match done > 5 << 20 {
            true => Err(PackError::Write(io::Error::other("enough"))),
            false => Ok(()),
        };
        let error = pack(endless, &mut file, packing, 2, &mut stop).unwrap_err();
        assert!(matches!(error, PackError::Write(_)), "{error:?}");
    }
}
