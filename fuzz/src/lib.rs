//! What each target checks, and the driver for builds without libFuzzer.

pub mod driver;

use lamina_layer::{Kind, Limits, Meta, TarReader, TarWriter};
use lamina_types::{Digest, Reference, oci};

/// Any bytes as a tar: no panic, bounded, the content adds up, and what was accepted can be written
/// and reads the same again.
pub fn tar(data: &[u8]) {
    let mut limits = Limits::default();
    limits.max_entries = 1000;
    limits.max_metadata = 64 * 1024;
    let mut reader = TarReader::new(data, limits.clone());
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut content = Vec::new();
        while let Ok(chunk) = reader.chunk() {
            if chunk.is_empty() {
                break;
            }
            content.extend_from_slice(chunk);
        }
        assert!(content.len() as u64 <= entry.stored);
        if content.len() as u64 == entry.stored {
            again(&entry.path, &entry.kind, &entry.meta, &content, &limits);
        }
    }
}

fn again(path: &[u8], kind: &Kind, meta: &Meta, content: &[u8], limits: &Limits) {
    let mut tar = TarWriter::new(Vec::new());
    if tar
        .append(path, kind, meta, content.len() as u64, &mut &content[..])
        .is_err()
    {
        return;
    }
    let Ok(tar) = tar.finish() else { return };
    let mut reader = TarReader::new(&tar[..], limits.clone());
    // Directories lose nothing but may gain a slash; files that end in one become directories.
    if let Ok(Some(mut entry)) = reader.next_entry()
        && entry.kind == *kind
    {
        // Records are written sorted.
        let mut meta = meta.clone();
        meta.xattrs.sort();
        entry.meta.xattrs.sort();
        assert_eq!(entry.meta, meta);
        assert_eq!(entry.stored, content.len() as u64);
    }
}

/// An image reference: what parses is shown in a form that parses to the same.
pub fn reference(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(reference) = text.parse::<Reference>()
    {
        assert_eq!(
            reference.to_string().parse::<Reference>().ok(),
            Some(reference)
        );
    }
}

/// A digest: lower-case hex of the right length and nothing else.
pub fn digest(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(digest) = text.parse::<Digest>()
    {
        assert_eq!(digest.to_string(), text);
        assert!(
            digest
                .hex()
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        );
    }
}

/// The documents of a registry.
pub fn documents(data: &[u8]) {
    let _ = serde_json::from_slice::<oci::Manifest>(data);
    let _ = serde_json::from_slice::<oci::Index>(data);
    if let Ok(config) = serde_json::from_slice::<oci::ImageConfig>(data) {
        let text = serde_json::to_string(&config).expect("a parsed document can be written");
        serde_json::from_str::<oci::ImageConfig>(&text).expect("and read again");
    }
}
