//! The archive itself.

use std::io::{self, Read, Write};
use std::thread;

use lamina_layer::{Meta, TarWriter, WriteError};
use lamina_store::{Hasher, LayerError, Store};
use lamina_types::{DiffId, Digest};

use super::SaveError;
use super::plan::{Item, ItemContent, Items};
use crate::archive::Section;
use crate::fault::StoreFault;
use crate::layer::{Sink, Source, pipe};

/// Buffers between making a layer and writing it.
const CHUNKS: usize = 8;

/// Writes the files in the order of their paths, after the folders they are in.
pub(super) fn write(store: &Store, items: Items, out: impl Write) -> Result<(), SaveError> {
    let mut tar = TarWriter::new(io::BufWriter::with_capacity(1 << 18, out));
    let mut folders: Vec<String> = Vec::new();
    for (path, item) in items {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..=at];
            if !folders.iter().any(|known| known == folder) {
                tar.directory(folder, &meta(0o755))?;
                folders.push(folder.to_owned());
            }
        }
        append(store, &mut tar, &path, item)?;
    }
    tar.finish()?;
    Ok(())
}

fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        ..Meta::default()
    }
}

fn append<W: Write>(
    store: &Store,
    tar: &mut TarWriter<W>,
    path: &str,
    item: Item,
) -> Result<(), SaveError> {
    let meta = meta(0o644);
    match item.content {
        ItemContent::Bytes(bytes) => tar.file_bytes(path, &meta, &bytes)?,
        ItemContent::Spooled(file) => {
            let mut section = Section::of(&file).map_err(|source| WriteError::Content {
                path: path.as_bytes().to_vec(),
                source,
            })?;
            tar.file(path, &meta, item.size, &mut section)?;
        }
        ItemContent::Blob(digest) => blob(store, tar, path, item.size, &digest)?,
        ItemContent::Layer(diff_id) => layer(store, tar, path, item.size, &diff_id)?,
    }
    Ok(())
}

/// Copies a blob, and hashes it on the way.
fn blob<W: Write>(
    store: &Store,
    tar: &mut TarWriter<W>,
    path: &str,
    size: u64,
    digest: &Digest,
) -> Result<(), SaveError> {
    let file = store.blobs().open(digest).map_err(StoreFault::from)?;
    let mut hashed = Hashed {
        from: file,
        hash: Hasher::like(digest),
    };
    tar.file(path, &meta(0o644), size, &mut hashed)?;
    match hashed.hash.finish() == *digest {
        true => Ok(()),
        false => Err(SaveError::Damaged(digest.clone())),
    }
}

struct Hashed<R> {
    from: R,
    hash: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.hash.update(&into[..count]);
        Ok(count)
    }
}

/// Makes a layer's tar on a thread of its own and copies it.
fn layer<W: Write>(
    store: &Store,
    tar: &mut TarWriter<W>,
    path: &str,
    size: u64,
    diff_id: &DiffId,
) -> Result<(), SaveError> {
    let (sink, made) = pipe(CHUNKS);
    thread::scope(|scope| {
        let maker = scope.spawn(move || make(store, diff_id, sink));
        let written = {
            let mut made = Source::new(made);
            let written = tar.file(path, &meta(0o644), size, &mut made);
            // The verification of the whole comes after its last byte.
            match (written, io::copy(&mut made, &mut io::sink())) {
                (Ok(()), Err(source)) => Err(WriteError::Content {
                    path: path.as_bytes().to_vec(),
                    source,
                }),
                (written, _) => written,
            }
        };
        let made = maker.join();
        match (written, made) {
            // What the writer says of a maker that failed is not the cause, nor the other way
            // round.
            (Err(error @ WriteError::Write(_)), _) => Err(error.into()),
            (_, Ok(Err(error))) => Err(StoreFault::from(error).into()),
            (written, _) => Ok(written?),
        }
    })
}

fn make(store: &Store, diff_id: &DiffId, mut sink: Sink) -> Result<(), LayerError> {
    store.layers().rebuild(diff_id, &mut sink)?;
    // Whoever does not listen any more tells why.
    let _ = sink.finish();
    Ok(())
}
