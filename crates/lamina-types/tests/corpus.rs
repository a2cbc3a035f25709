//! The fuzzing corpora of references, digests and documents as ordinary tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use lamina_types::oci::{ImageConfig, Index, Manifest};
use lamina_types::{Digest, Reference};

/// Returns every input of a target.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(corpus).unwrap();
    let inputs: Vec<Vec<u8>> = entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(inputs.len() >= 2, "{target}");
    inputs
}

fn texts(target: &str) -> Vec<String> {
    let inputs = inputs(target).into_iter();
    inputs
        .filter_map(|bytes| String::from_utf8(bytes).ok())
        .collect()
}

#[test]
fn what_parses_is_shown_in_a_form_that_parses_to_the_same() {
    let mut parsed = 0;
    for text in texts("reference") {
        if let Ok(reference) = text.parse::<Reference>() {
            parsed += 1;
            assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }
    }
    for text in texts("digest") {
        if let Ok(digest) = text.parse::<Digest>() {
            parsed += 1;
            assert_eq!(digest.to_string(), text);
        }
    }
    assert!(parsed >= 2);
}

#[test]
fn documents_are_read_without_a_panic_and_configurations_written_again() {
    let mut parsed = 0;
    for bytes in inputs("documents") {
        parsed += usize::from(serde_json::from_slice::<Manifest>(&bytes).is_ok());
        parsed += usize::from(serde_json::from_slice::<Index>(&bytes).is_ok());
        if let Ok(config) = serde_json::from_slice::<ImageConfig>(&bytes) {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ImageConfig>(&text).unwrap(), config);
        }
    }
    assert!(parsed >= 2);
}
