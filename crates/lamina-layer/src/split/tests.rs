//! Round trips, and streams that are not what they should be.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use lamina_testkit::evil_tar;
use lamina_types::Digest;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::records::RecordWriter;
use super::*;
use crate::tar::{Entry, Kind, Meta, SparsePart, TarReader, TarWriter, Time};
use crate::{LayerTree, Limits, TarError};

/// Contents in memory, by id.
#[derive(Default)]
struct Kept {
    all: HashMap<ObjectId, Vec<u8>>,
    current: Vec<u8>,
}

impl Bodies for Kept {
    fn begin(&mut self, _entry: &Entry) -> io::Result<()> {
        self.current.clear();
        Ok(())
    }

    fn data(&mut self, bytes: Bytes) -> io::Result<()> {
        self.current.extend_from_slice(&bytes);
        Ok(())
    }

    fn end(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Option<u64>> {
        assert_eq!(self.current.len() as u64, entry.stored);
        assert_eq!(entry.stored, object.stored);
        self.all.insert(object.id, self.current.clone());
        Ok(Some(7))
    }
}

impl Contents for Kept {
    fn open(&mut self, _entry: &Entry, object: &ObjectRef) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.all.get(&object.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(&bytes[..]))
    }
}

fn split_of(tar: &[u8]) -> Result<(Vec<u8>, Split, Kept), SplitError> {
    let (mut out, mut kept) = (Vec::new(), Kept::default());
    let result = split(tar, &mut out, &mut kept, &Limits::default())?;
    assert_eq!(
        result.diff_id.0,
        Digest::from_sha256(Sha256::digest(tar).into())
    );
    // However the source's buffer cuts it.
    let cut = BufReader::with_capacity(77, tar);
    let again = split(cut, std::io::sink(), &mut (), &Limits::default())?;
    assert_eq!(again.diff_id, result.diff_id);
    let ids = |split: &Split| split.objects.iter().map(|o| o.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&result));
    Ok((out, result, kept))
}

fn rebuilt(stream: &[u8], kept: &mut Kept) -> Result<Vec<u8>, RebuildError> {
    let mut out = Vec::new();
    let total = rebuild(stream, kept, &mut out, &Limits::default())?;
    assert_eq!(total, out.len() as u64);
    Ok(out)
}

/// The entries and contents of a tar, read directly.
fn plainly(tar: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = TarReader::new(tar, Limits::default());
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        loop {
            let chunk = reader.chunk().unwrap();
            if chunk.is_empty() {
                break;
            }
            content.extend_from_slice(chunk);
        }
        all.push((entry, content));
    }
    all
}

/// Splits, rebuilds, and compares the entries; returns false for a tar that is not accepted.
fn round_trip(tar: &[u8]) -> bool {
    let mut reader = TarReader::new(tar, Limits::default());
    let accepted = loop {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => break reader.finish().is_ok(),
            Err(_) => break false,
        }
    };
    let split = split_of(tar);
    // Sizes are not the tar reader's affair.
    let limited = matches!(split, Err(SplitError::Tar(TarError::Limit { .. })));
    assert_eq!(split.is_ok(), accepted && !limited, "{:?}", split.err());
    let Ok((stream, result, mut kept)) = split else {
        return false;
    };
    assert_eq!(result.tar_bytes, tar.len() as u64);
    assert_eq!(result.index(&[]).records().len(), kept.all.len());
    assert!(rebuilt(&stream, &mut kept).unwrap() == tar);

    let mut reader = SplitReader::new(&stream[..], Limits::default()).unwrap();
    for (entry, content) in plainly(tar) {
        let next = reader.next_entry().unwrap().unwrap();
        assert_eq!(next.entry, entry);
        match next.content {
            Content::Inline(bytes) => {
                if crate::apply::is_mark(&entry.path) {
                    assert!(bytes.is_empty());
                    continue;
                }
                assert!(bytes == content && bytes.len() as u64 <= INLINE_LIMIT);
                assert!(!matches!(entry.kind, Kind::Sparse { .. }));
            }
            Content::Object(object) => {
                assert!(kept.all[&object.id] == content);
                assert!(result.index(&[]).get(&object.id).is_some());
            }
        }
    }
    assert_eq!(reader.next_entry().unwrap(), None);
    assert_eq!(reader.tar_bytes().unwrap(), tar.len() as u64);
    same_tree(tar, &stream);
    true
}

/// The tree that grows while a tar is split is the one that the stream is read to.
fn same_tree(tar: &[u8], stream: &[u8]) {
    let (limits, mut out) = (Limits::default(), Vec::new());
    let (_, grown) = split_with_tree(tar, &mut out, &mut (), &limits).unwrap();
    assert!(out == stream);
    match (grown, LayerTree::read(stream, &limits)) {
        (Ok(grown), Ok(read)) => assert_eq!(format!("{grown:?}"), format!("{read:?}")),
        (grown, read) => assert_eq!(
            grown.unwrap_err().to_string(),
            read.unwrap_err().to_string()
        ),
    }
}

fn meta() -> Meta {
    Meta {
        mode: 0o644,
        ..Meta::default()
    }
}

fn sample() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.directory("etc", &meta()).unwrap();
    tar.file_bytes("etc/small", &meta(), b"some").unwrap();
    tar.file_bytes("etc/at", &meta(), &[1; 4096]).unwrap();
    tar.file_bytes("etc/over", &meta(), &[2; 4097]).unwrap();
    tar.file_bytes("etc/again", &meta(), &[2; 4097]).unwrap();
    tar.file_bytes("etc/blocks", &meta(), &[3; 8192]).unwrap();
    tar.file_bytes("empty", &meta(), b"").unwrap();
    tar.hardlink("link", "etc/over", &meta()).unwrap();
    let parts = vec![SparsePart {
        offset: 8192,
        length: 3,
    }];
    let holes = Kind::Sparse {
        size: 1 << 40,
        parts,
    };
    tar.append(b"holes", &holes, &meta(), 3, &mut &b"abc"[..])
        .unwrap();
    let hole = Kind::Sparse {
        size: 5000,
        parts: Vec::new(),
    };
    tar.append(b"hole", &hole, &meta(), 0, &mut io::empty())
        .unwrap();
    tar.finish().unwrap()
}

#[test]
fn a_tar_is_rebuilt_from_its_stream() {
    let tar = sample();
    assert!(round_trip(&tar));
    let (stream, result, kept) = split_of(&tar).unwrap();
    assert_eq!(result.entries, 10);
    // `over` and `again` are one; both files with holes are objects.
    assert_eq!(kept.all.len(), 4);
    assert!(stream.len() < 1500, "{}", stream.len());
    let index = result.index(&[]);
    let record = index.get(&ObjectId::of(&[2; 4097])).unwrap();
    assert_eq!((record.size, record.blocks), (4097, 7));
    assert!(index.records().iter().any(|r| r.size == 1 << 40));
}

#[test]
fn the_content_of_a_whiteout_is_kept_and_is_no_object() {
    let mut tar = TarWriter::new(Vec::new());
    let content: Vec<u8> = (0..900_000_u32).flat_map(u32::to_le_bytes).collect();
    for name in [".wh.gone", "d/.wh..wh..opq", ".wh..wh.plnk/1.2", "file"] {
        tar.file_bytes(name, &meta(), &content).unwrap();
    }
    let tar = tar.finish().unwrap();
    assert!(round_trip(&tar));
    assert_eq!(split_of(&tar).unwrap().1.objects.len(), 1);
}

#[test]
fn odd_ends_are_kept() {
    let tar = sample();
    let end = tar.len() - 1024;
    // No end mark, half of one, and rubbish behind it, much and little.
    assert!(round_trip(&tar[..end]));
    assert!(round_trip(&tar[..end + 512]));
    assert!(round_trip(&[&tar[..], &[0; 10240]].concat()));
    assert!(round_trip(&[&tar[..], b"rubbish"].concat()));
    let much: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(round_trip(&[&tar[..], &much].concat()));
    assert!(round_trip(b""));
    assert!(!round_trip(&tar[..end - 100]));
    // Padding that is not zero.
    let mut padded = tar.clone();
    let at = padded.windows(4).position(|w| w == b"some").unwrap();
    padded[at + 100] = 0x55;
    assert!(round_trip(&padded));
}

#[test]
fn every_evil_tar_that_is_read_comes_back() {
    let cases = evil_tar::corpus(std::path::Path::new("/canary"));
    let read = cases.iter().filter(|case| round_trip(&case.tar)).count();
    assert!(read > 20, "{read} of {}", cases.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tar_comes_back(
        files in prop::collection::vec((any::<[u8; 3]>(), 0_usize..5000, any::<bool>(), 0_u64..9000), 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let mut tar = TarWriter::new(Vec::new());
        for (name, length, holes, offset) in files {
            let path: Vec<u8> = name.iter().map(|b| b | 0x40).collect();
            let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap() ^ name[0]).collect();
            let kind = if holes {
                let parts = vec![SparsePart { offset, length: length as u64 }];
                Kind::Sparse { size: offset + length as u64 + 1, parts }
            } else {
                Kind::File
            };
            let meta = Meta { mtime: Time { seconds: -5, nanoseconds: 7 }, ..meta() };
            tar.append(&path, &kind, &meta, length as u64, &mut &content[..]).unwrap();
        }
        let mut tar = tar.finish().unwrap();
        tar.extend(tail);
        prop_assert!(round_trip(&tar));
    }

    #[test]
    fn a_damaged_stream_is_refused_or_harmless(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let tar = sample();
        let (mut stream, _, mut kept) = split_of(&tar).unwrap();
        let at = at.index(stream.len());
        stream[at] ^= flip;
        // Four bytes of the head are reserved, and a frame may ask for a larger window than it needs.
        if let Ok(again) = rebuilt(&stream, &mut kept) {
            prop_assert!(again == tar);
        }
    }

    #[test]
    fn an_index_reads_back(ids in prop::collection::vec((any::<[u8; 32]>(), any::<u64>()), 0..50)) {
        let records = ids.iter().map(|(id, size)| IndexRecord {
            id: ObjectId::from_bytes(*id),
            size: *size,
            blocks: size / 512,
        });
        let index = ObjectIndex::new(records.collect());
        let bytes = index.encode();
        prop_assert_eq!(ObjectIndex::decode(&bytes).unwrap(), index);
        prop_assert!(ObjectIndex::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}

/// A stream of records made by hand.
fn by_hand(make: impl FnOnce(&mut RecordWriter<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut records = RecordWriter::new(&mut out).unwrap();
    make(&mut records);
    records.finish().unwrap();
    out
}

fn refusal(stream: &[u8]) -> String {
    let mut reader = match SplitReader::new(stream, Limits::default()) {
        Ok(reader) => reader,
        Err(error) => return error.to_string(),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was accepted"),
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn streams_of_somebody_else_are_refused() {
    let object = |stored| ObjectRef {
        id: ObjectId::of(b"x"),
        stored,
    };
    let header = |size: u64| {
        let mut tar = TarWriter::new(Vec::new());
        tar.append(b"f", &Kind::File, &meta(), size, &mut io::repeat(1))
            .unwrap();
        tar.finish().unwrap()
    };
    let file = header(3000);
    let table: [(&str, Vec<u8>); 8] = [
        (
            "a reference where no content begins",
            by_hand(|r| r.reference(&object(5)).unwrap()),
        ),
        (
            "a reference of another size",
            by_hand(|r| {
                r.raw(&file[..512]).unwrap();
                r.reference(&object(2999)).unwrap();
            }),
        ),
        (
            "a reference where no content begins",
            by_hand(|r| {
                r.raw(&file[..600]).unwrap();
                r.reference(&object(2912)).unwrap();
            }),
        ),
        (
            "a reference to nothing",
            by_hand(|r| {
                r.raw(&header(0)[..512]).unwrap();
                r.reference(&object(0)).unwrap();
            }),
        ),
        (
            "a large file has no reference",
            by_hand(|r| r.raw(&header(65 << 10)).unwrap()),
        ),
        ("it ends too early", b"LAMSPLIT".to_vec()),
        ("not a split stream", vec![b'x'; 64]),
        (
            "unknown version",
            [&b"LAMSPLIT\x09\0\0\0"[..], &[0; 40]].concat(),
        ),
    ];
    for (wanted, stream) in table {
        let found = refusal(&stream);
        assert!(found.contains(wanted), "{found} instead of {wanted}");
    }
    let whole = split_of(&file).unwrap().0;
    for length in 0..whole.len() {
        refusal(&whole[..length]);
    }
}

#[test]
fn a_content_that_changed_is_named() {
    let (stream, _, mut kept) = split_of(&sample()).unwrap();
    for bytes in kept.all.values_mut() {
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
    }
    let error = rebuilt(&stream, &mut kept).unwrap_err();
    assert!(error.to_string().contains("etc/over"), "{error}");
    assert_eq!(error.kind(), lamina_types::ErrorKind::DataLoss);
    kept.all.clear();
    let error = rebuilt(&stream, &mut kept).unwrap_err();
    assert_eq!(error.kind(), lamina_types::ErrorKind::DataLoss);
}

#[test]
fn limits_hold() {
    let limits = Limits {
        max_bytes: 5000,
        ..Limits::default()
    };
    let error = split(&sample()[..], Vec::new(), &mut (), &limits).unwrap_err();
    assert!(error.to_string().contains("content bytes"), "{error}");
    let limits = Limits {
        max_file_size: 1 << 30,
        ..Limits::default()
    };
    let error = split(&sample()[..], Vec::new(), &mut (), &limits).unwrap_err();
    assert!(error.to_string().contains("bytes of one file"), "{error}");
}
