//! The store on a real filesystem, with real processes that are really killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod children;
mod collect;
mod layers;
mod layout;
mod ledger;
mod ops;
mod pool;
mod power;
mod refs;
mod removed;
mod stress;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use lamina_store::{Area, LayerInfo, Operation, Ref, Store};
use lamina_types::oci::{Descriptor, ImageConfig, Manifest, RootfsSection, media};
use lamina_types::{DiffId, Digest, ImageId};
use sha2::{Digest as _, Sha256};

/// A store in a folder that goes away.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Store {
        Store::open(self.root()).unwrap()
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// An image of one layer made from `seed`.
struct Sample {
    entry: Ref,
    manifest: Digest,
    config: Digest,
    blob: Vec<u8>,
    diff_id: DiffId,
}

impl Sample {
    /// Brings the image's layer and documents into the store, leased by `op`; no name is set.
    fn put(store: &Store, op: &Operation, name: &str, seed: &str) -> Self {
        let diff_id = DiffId(digest_of(format!("tar of {seed}").as_bytes()));
        let blob = format!("compressed {seed}").into_bytes();
        let layer = store.blobs().put(op, &blob).unwrap();
        if store.layers().find(op, &diff_id).unwrap().is_none() {
            let draft = store.layers().draft(op).unwrap();
            write_file(draft.tree().path().join("file"), seed.as_bytes());
            let info = LayerInfo {
                size: seed.len() as u64,
                entries: 1,
                ..LayerInfo::default()
            };
            draft.publish(op, &diff_id, &info).unwrap();
        }
        let config = ImageConfig {
            rootfs: RootfsSection {
                kind: "layers".to_owned(),
                diff_ids: vec![diff_id.clone()],
            },
            ..ImageConfig::default()
        };
        let config_bytes = serde_json::to_vec(&config).unwrap();
        let config = store.blobs().put(op, &config_bytes).unwrap();
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(media::OCI_CONFIG, config.clone(), config_bytes.len() as u64),
            layers: vec![Descriptor::new(
                media::OCI_LAYER_GZIP,
                layer,
                blob.len() as u64,
            )],
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let manifest = store.blobs().put(op, &bytes).unwrap();
        let described = Descriptor::new(media::OCI_MANIFEST, manifest.clone(), bytes.len() as u64);
        Self {
            entry: Ref {
                name: name.parse().unwrap(),
                target: described.clone(),
                manifest: described,
                image: ImageId(config.clone()),
                updated: 1,
            },
            manifest,
            config,
            blob,
            diff_id,
        }
    }

    /// Whether everything of the image is here.
    fn is_whole(&self, store: &Store) -> bool {
        let blobs = store.blobs();
        let here = |digest: &Digest| blobs.read(digest, 1 << 20).is_ok();
        here(&self.manifest)
            && here(&self.config)
            && here(&digest_of(&self.blob))
            && store.layers().get(&self.diff_id).unwrap().is_some()
    }
}

/// Writes a file of a test's own.
fn write_file(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

/// Lists a folder of the store by name.
fn names(store: &Store, area: Area) -> Vec<String> {
    let entries = store.dir(area).unwrap().entries().unwrap();
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Says why a test cannot run here.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}
