//! What each target checks, and the driver for builds without libFuzzer.

pub mod driver;

use std::collections::HashMap;
use std::io::{self, Read};

use bytes::Bytes;
use lamina_layer::{
    Bodies, Content, Contents, Entry, Kind, Limits, Meta, ObjectId, ObjectIndex, ObjectRef,
    SplitReader, TarReader, TarWriter,
};
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

/// Contents in memory.
#[derive(Default)]
struct Kept(HashMap<ObjectId, Vec<u8>>, Vec<u8>);

impl Bodies for Kept {
    fn begin(&mut self, _entry: &Entry) -> io::Result<()> {
        self.1.clear();
        Ok(())
    }

    fn data(&mut self, bytes: Bytes) -> io::Result<()> {
        self.1.extend_from_slice(&bytes);
        Ok(())
    }

    fn end(&mut self, _entry: &Entry, object: &ObjectRef) -> io::Result<Option<u64>> {
        self.0.insert(object.id, self.1.clone());
        Ok(None)
    }
}

impl Contents for Kept {
    fn open(&mut self, _entry: &Entry, object: &ObjectRef) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.0.get(&object.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(&bytes[..]))
    }
}

/// Any bytes as a tar that is split: what is accepted is rebuilt byte by byte. And any bytes as a
/// split stream, as the records in one (compressed here: no mutation would get past the
/// checksum), and as an index of objects: no panic, bounded.
pub fn split(data: &[u8]) {
    let mut limits = Limits::default();
    limits.max_entries = 1000;
    limits.max_metadata = 64 * 1024;
    let (mut stream, mut kept) = (Vec::new(), Kept::default());
    if lamina_layer::split(data, &mut stream, &mut kept, &limits).is_ok() {
        let mut again = Vec::new();
        lamina_layer::rebuild(&stream[..], &mut kept, &mut again, &limits)
            .expect("what was split can be rebuilt");
        assert!(again == data, "the tar is another");
        entries(&stream, &limits);
    }
    entries(data, &limits);
    let head = data.get(..16).unwrap_or(data);
    let records = data.get(16..).unwrap_or_default();
    if let Ok(frame) = zstd::encode_all(records, 1) {
        entries(&[head, &frame].concat(), &limits);
    }
    if let Ok(index) = ObjectIndex::decode(data) {
        assert!(index.encode() == data);
    }
}

fn entries(stream: &[u8], limits: &Limits) {
    let Ok(mut reader) = SplitReader::new(stream, limits.clone()) else {
        return;
    };
    while let Ok(Some(next)) = reader.next_entry() {
        if let Content::Inline(bytes) = next.content {
            assert_eq!(bytes.len() as u64, next.entry.stored);
        }
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

/// The challenge of a registry that wants a login.
pub fn challenge(data: &[u8]) {
    let _ = lamina_distribution::is_known_challenge(data);
}

/// An EROFS image, looked into by the names that the corpus has: bounded, and never a panic.
pub fn erofs(data: &[u8]) {
    let Ok(image) = lamina_erofs::Image::open(data) else {
        return;
    };
    let Ok(root) = image.root() else { return };
    let mut at = root;
    for name in [b"d".as_slice(), b"file"] {
        let _ = image.read(&at, 1 << 16);
        let _ = image.lookup(&at, b"link");
        match image.lookup(&at, name) {
            Ok(Some(found)) => at = found,
            _ => return,
        }
    }
    let _ = image.read(&at, 1 << 16);
}
