//! The fuzzing corpora of tars and split streams as ordinary tests: nothing panics, content adds up.
#![expect(clippy::disallowed_methods, reason = "the corpus is a folder of files")]

use std::fs;
use std::path::Path;

use lamina_layer::{Limits, Meta, ObjectIndex, SplitReader, TarReader, TarWriter};

#[test]
fn the_corpus_is_read_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tar");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let tar = fs::read(entry.unwrap().path()).unwrap();
        let mut reader = TarReader::new(&tar[..], Limits::default());
        while let Ok(Some(entry)) = reader.next_entry() {
            let mut content = 0;
            while let Ok(chunk) = reader.chunk() {
                if chunk.is_empty() {
                    break;
                }
                content += chunk.len() as u64;
            }
            assert!(content <= entry.stored);
        }
        files += 1;
    }
    assert!(files > 50, "the corpus has {files} files");
}

#[test]
fn the_corpus_of_split_streams_is_read_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/split");
    let (mut files, mut whole) = (0, 0);
    for entry in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        files += 1;
        let _ = ObjectIndex::decode(&bytes);
        let head = bytes.get(..16).unwrap_or(&bytes);
        let records = zstd::encode_all(bytes.get(16..).unwrap_or_default(), 1).unwrap();
        for stream in [&bytes[..], &[head, &records].concat()] {
            let Ok(mut reader) = SplitReader::new(stream, Limits::default()) else {
                continue;
            };
            whole += 1;
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
    assert!(files >= 4 && whole >= 2, "{files} files, {whole} streams");
}

/// Writes the corpus of split streams anew: `cargo test -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus_of_split_streams() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/split");
    let mut tar = TarWriter::new(Vec::new());
    tar.directory("d", &Meta::default()).unwrap();
    tar.file_bytes("d/small", &Meta::default(), b"small")
        .unwrap();
    tar.file_bytes("d/large", &Meta::default(), &[7; 5000])
        .unwrap();
    let tar = tar.finish().unwrap();
    let mut stream = Vec::new();
    let split = lamina_layer::split(&tar[..], &mut stream, &mut (), &Limits::default()).unwrap();
    let records = zstd::decode_all(&stream[16..]).unwrap();
    fs::create_dir_all(&corpus).unwrap();
    fs::write(corpus.join("records"), [&stream[..16], &records].concat()).unwrap();
    fs::write(corpus.join("stream"), stream).unwrap();
    fs::write(corpus.join("tar"), tar).unwrap();
    fs::write(corpus.join("index"), split.index(&[]).encode()).unwrap();
}

/// Writes the corpus anew from the table of evil tars: `cargo test -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tar");
    for (n, case) in lamina_testkit::evil_tar::corpus(Path::new("/canary"))
        .iter()
        .enumerate()
    {
        let slug: String = case
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        fs::write(corpus.join(format!("{n:03}-{slug}")), &case.tar).unwrap();
    }
}
