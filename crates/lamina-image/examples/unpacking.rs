//! What `cargo xtask bench store` compares the unpacking of a layer with: the same libraries, one
//! thread, no pipeline, no store.
//!
//! ```text
//! unpacking floor BLOB          inflate with zlib-rs and hash: the least a pull can do in order;
//!                               and inflate with libdeflate, which needs all of it in memory
//! unpacking store BLOB ROOT     what the store at ROOT does for a layer all of whose files are in it
//! ```
//! Prints names and milliseconds, one pair a line.

#![expect(clippy::print_stdout, reason = "a measuring program prints")]

use std::error::Error;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use lamina_layer::{Limits, split, split_with_tree};
use lamina_snapshot::{ImageLayers, KnownTrees, StorageMode};
use lamina_store::{LayerInfo, PoolWriter, Store};
use lamina_types::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

/// Each is done so often and the fastest counts: the machine is shared.
const ROUNDS: usize = 5;
const CHUNK: usize = 256 << 10;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor", blob] => floor(Path::new(blob)),
        ["store", blob, root] => store(Path::new(blob), Path::new(root)),
        _ => Err("usage: unpacking floor BLOB | store BLOB ROOT".into()),
    }
}

/// Times `act` by the processor's time of this thread, taking the fastest of some rounds: others
/// may be using the machine, and nothing here waits.
fn fastest<T>(mut act: impl FnMut() -> Outcome<T>) -> Outcome<(f64, T)> {
    let mut best: Option<(f64, T)> = None;
    for _ in 0..ROUNDS {
        let start = processor_ms();
        let value = act()?;
        let took = processor_ms() - start;
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, value));
        }
    }
    best.ok_or_else(|| "no rounds".into())
}

fn processor_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn inflate(blob: &[u8], mut each: impl FnMut(&[u8])) -> Outcome<u64> {
    let mut decoder = MultiGzDecoder::new(blob);
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = decoder.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        each(&buffer[..count]);
        total += count as u64;
    }
}

fn floor(path: &Path) -> Outcome<()> {
    let blob = std::fs::read(path)?;
    let (inflated, total) = fastest(|| inflate(&blob, |_| ()))?;
    // With its pages already there: what they cost depends on who asks for them.
    let mut whole = vec![1; usize::try_from(total)?];
    let (at_once, _) =
        fastest(|| Ok(libdeflater::Decompressor::new().gzip_decompress(&blob, &mut whole)?))?;
    drop(whole);
    let (both, _) = fastest(|| {
        let mut hash = Sha256::new();
        inflate(&blob, |bytes| hash.update(bytes))?;
        Ok(hash.finalize())
    })?;
    println!("compressed_bytes {}", blob.len());
    println!("tar_bytes {total}");
    println!("inflate {inflated:.1}");
    println!("inflate_at_once {at_once:.1}");
    println!("inflate_and_hash {both:.1}");
    Ok(())
}

/// The layer goes through the same steps as in a pull, after inflating. Hashing the tar once is timed
/// alone, because no pull can do without: what is left is the store's own work.
fn store(blob: &Path, root: &Path) -> Outcome<()> {
    let mut tar = Vec::new();
    inflate(&std::fs::read(blob)?, |bytes| tar.extend_from_slice(bytes))?;
    let tar = Bytes::from(tar);
    let diff_id = DiffId(Digest::from_sha256(Sha256::digest(&tar).into()));
    let store = Store::open(root)?;
    let snapshots = lamina_snapshot::open(&store, StorageMode::Erofs)?;
    let limits = Limits::default();
    let (pooled, (draft, info)) = fastest(|| {
        let op = store.ops().begin("measure", &[])?;
        let draft = store.layers().draft_pooled(&op)?;
        let mut pool = PoolWriter::new(&store, &op);
        let (split, layer) =
            split_with_tree(Cursor::new(tar.clone()), draft.split()?, &mut pool, &limits)?;
        draft.index(&split.index(&pool.finish()?))?;
        let layer = layer?;
        let info = LayerInfo {
            size: split.bytes,
            entries: split.entries,
            implied: layer.implied(),
            opaque_root: layer.opaque_root(),
            pooled: true,
        };
        Ok(((draft, op, layer), info))
    })?;
    let (alone, _) = fastest(|| {
        Ok(split(
            Cursor::new(tar.clone()),
            std::io::empty(),
            &mut (),
            &limits,
        )?)
    })?;
    let (hashed, _) = fastest(|| Ok(Sha256::digest(&tar)))?;
    let start = Instant::now();
    let (draft, op, layer) = draft;
    draft.publish(&op, &diff_id, &info)?;
    let known = KnownTrees::from([(diff_id.clone(), layer)]);
    let image = ImageLayers {
        diff_ids: vec![diff_id],
        ..ImageLayers::default()
    };
    snapshots.ready(&image, &known)?;
    store.sync()?;
    op.finish()?;
    let published = start.elapsed().as_secs_f64() * 1e3;
    println!("hash_tar {hashed:.1}");
    println!("split_into_nothing {alone:.1}");
    println!("split_into_pool {pooled:.1}");
    println!("publish_and_merge {published:.1}");
    println!("store_work {:.1}", pooled - hashed + published);
    Ok(())
}
