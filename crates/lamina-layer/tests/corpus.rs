//! The fuzzing corpus of tars as an ordinary test: nothing panics, content adds up.
#![expect(clippy::disallowed_methods, reason = "the corpus is a folder of files")]

use std::fs;
use std::path::Path;

use lamina_layer::{Limits, TarReader};

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
