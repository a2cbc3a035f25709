//! A store of its own for each test, small tars, and a client that trusts the test registry.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lamina_distribution::{Client, ClientConfig};
use lamina_image::{Images, Phase, Progress};
use lamina_store::Store;
pub(crate) use lamina_testkit::noise;
use lamina_testkit::registry::{MemoryImage, Registry, sha256};
use lamina_types::oci::media;
use lamina_types::{Digest, Reference};

/// A store that is gone with the test.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        Self { folder, store }
    }

    pub(crate) fn images(&self) -> Images<'_> {
        Images::new(&self.store)
    }

    /// Returns a path that is not in the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns what is visible and in flight: names of refs, layers and operations.
    pub(crate) fn visible(&self) -> Vec<String> {
        let mut found = Vec::new();
        for area in ["refs", "layers", "ops"] {
            for entry in self.path("store").join(area).read_dir().expect("a folder") {
                let name = entry.expect("an entry").file_name();
                found.push(format!("{area}/{}", name.to_string_lossy()));
            }
        }
        found.sort();
        found
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// Returns a client that gives up soon.
pub(crate) fn client() -> Client {
    let mut config = ClientConfig {
        tls_verify: Some(false),
        ..ClientConfig::default()
    };
    config.retry.attempts = 1;
    config.timeouts.connect = Duration::from_secs(5);
    Client::new(config).expect("a client")
}

/// Returns a tar of regular files with their contents.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(bytes.len() as u64);
        builder
            .append_data(&mut header, name, *bytes)
            .expect("an entry");
    }
    builder.into_inner().expect("a tar")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("bytes");
    encoder.finish().expect("gzip")
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Watched(Mutex<Vec<(Digest, Phase)>>);

impl Progress for Watched {
    fn layer(&self, digest: &Digest, phase: Phase) {
        let mut events = self.0.lock().expect("nobody panicked");
        events.push((digest.clone(), phase));
    }
    fn note(&self, _text: &str) {}
}

impl Watched {
    /// Returns how many blobs came to `phase`.
    pub(crate) fn count(&self, phase: Phase) -> usize {
        let events = self.0.lock().expect("nobody panicked");
        events.iter().filter(|(_, other)| *other == phase).count()
    }
}

/// Returns an image with gzip layers of these tars.
pub(crate) fn gzip_image(tars: &[Vec<u8>]) -> MemoryImage {
    let mut image = MemoryImage::of_tars(tars.to_vec());
    for (media_type, bytes) in &mut image.layers {
        media::OCI_LAYER_GZIP.clone_into(media_type);
        *bytes = gzip(bytes);
    }
    image
}

/// Serves an image and returns its reference.
pub(crate) fn serve(registry: &Registry, name: &str, image: &MemoryImage) -> Reference {
    registry.serve_image(name, "1", image);
    reference(&format!("{}/{name}:1", registry.domain()))
}

/// Returns the blob's digest as it stands in URLs.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    sha256(bytes).to_string()
}

/// Runs another program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Says why a test cannot run here.
pub(crate) fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}
