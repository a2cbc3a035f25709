//! From the names and the containers down: is everything here that they lead to?

use std::io;

use lamina_fs::PathError;
use lamina_types::oci::{Descriptor, ImageConfig, Index, Manifest, media};
use lamina_types::{DiffId, Digest, with_causes};
use serde::Deserialize;
use serde_json::Value;

use super::{CheckError, Fault, Finding, Owner};
use crate::area::Area;
use crate::blobs::BlobError;
use crate::ledger::Subject;
use crate::pins::Pin;
use crate::refs::{Ref, RefError};
use crate::store::Store;

/// No manifest, index or configuration is larger.
const DOCUMENT_LIMIT: u64 = 32 << 20;

/// Follows every name and every writable layer.
pub(super) fn check(store: &Store) -> Result<Vec<Finding>, CheckError> {
    let mut findings = Vec::new();
    for entry in store.dir(Area::Refs)?.entries()? {
        let file = entry.name.to_string_lossy().into_owned();
        findings.extend(name(store, &file));
    }
    for snapshot in store.pins().snapshots()? {
        let Some(pin) = snapshot.pin else { continue };
        let documents = |pin: &Pin| -> Vec<Digest> {
            let image = pin.image.iter().map(|id| &id.0);
            pin.manifest.iter().chain(image).cloned().collect()
        };
        for digest in pin.each().flat_map(documents) {
            if let Err(finding) = document(store, &digest) {
                findings.push(*finding);
            }
        }
        for diff_id in pin.each().flat_map(|pin| &pin.diff_ids) {
            if !store.layers().contains(diff_id)? {
                findings.push(missing_layer(diff_id));
            }
        }
    }
    Ok(findings)
}

fn missing_layer(diff_id: &DiffId) -> Finding {
    let detail = "neither the layer nor its blob is here";
    Finding::new(Subject::Layer(diff_id.clone()), Fault::Missing, detail)
}

/// Reads the file of one name and follows it.
fn name(store: &Store, file: &str) -> Vec<Finding> {
    let subject = Subject::Own(format!("{}/{file}", Area::Refs.path()));
    let wrong = |fault, detail: String| Finding::new(subject.clone(), fault, detail);
    let entry = match store.refs().read(file) {
        Ok(entry) => entry,
        Err(RefError::Path(error)) if error.is_not_found() => return Vec::new(),
        Err(RefError::Version { found, .. }) => {
            let text = format!("was written by another lamina: version {found}");
            return vec![wrong(Fault::Unverified, text)];
        }
        Err(RefError::Format { source, .. }) => {
            return vec![wrong(Fault::Document, format!("is no name: {source}"))];
        }
        Err(error) => return vec![wrong(Fault::Document, with_causes(&error))],
    };
    let owner = Owner::Image(entry.name.clone());
    let mut findings = Vec::new();
    let mut contradicts = |text: String| {
        findings.push(wrong(Fault::Document, text).affecting([owner.clone()]));
    };
    if !store.refs().is_file_of(file, &entry) {
        contradicts(format!("is the file of another name than {}", entry.name));
    } else if !is_as_written(store, file, &entry) {
        contradicts("has what nobody wrote into it".to_owned());
    } else if let Some(text) = contradiction(store, &entry) {
        contradicts(text);
    }
    findings.extend(follow(store, &entry));
    findings
}

/// Whether the file has what is read of it and nothing else: a member with a wrong letter in its
/// name is passed over when it is read.
fn is_as_written(store: &Store, file: &str, entry: &Ref) -> bool {
    let bytes = store
        .dir(Area::Refs)
        .and_then(|dir| dir.read(file, 1 << 20));
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    match (bytes, crate::refs::stored(entry)) {
        (Ok(bytes), Ok(expected)) => value(&bytes) == value(&expected),
        // It has gone, or is reported elsewhere.
        _ => true,
    }
}

/// Compares what a name says of its documents with them.
fn contradiction(store: &Store, entry: &Ref) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    for said in [&entry.target, &entry.manifest] {
        let Ok(bytes) = document(store, &said.digest) else {
            continue;
        };
        if bytes.len() as u64 != said.size {
            let (digest, size) = (&said.digest, said.size);
            return Some(format!(
                "says that {digest} has {size} bytes, it has {}",
                bytes.len()
            ));
        }
        let typed = serde_json::from_slice::<Typed>(&bytes).ok();
        let own = typed.and_then(|typed| typed.media_type);
        if own.as_ref().is_some_and(|own| *own != said.media_type) {
            return Some(format!("says that {} is {}", said.digest, said.media_type));
        }
    }
    let target = document(store, &entry.target.digest).ok()?;
    if entry.target.digest == entry.manifest.digest {
        return (entry.target != entry.manifest)
            .then(|| "says two things of one manifest".to_owned());
    }
    let index = serde_json::from_slice::<Index>(&target).ok()?;
    let nested =
        |one: &Descriptor| matches!(&*one.media_type, media::OCI_INDEX | media::DOCKER_INDEX);
    let same = |one: &Descriptor| one.digest == entry.manifest.digest;
    if index.manifests.iter().any(|one| nested(one) || same(one)) {
        return None;
    }
    Some(format!(
        "names a manifest that {} does not",
        entry.target.digest
    ))
}

/// Follows one name to its blobs and layers.
fn follow(store: &Store, entry: &Ref) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(finding) = document(store, &entry.target.digest) {
        findings.push(*finding);
    }
    let bytes = match document(store, &entry.manifest.digest) {
        Ok(bytes) => bytes,
        Err(finding) => {
            findings.push(*finding);
            return findings;
        }
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
        // What the registry keeps need not be an image.
        return findings;
    };
    let config = match document(store, &manifest.config.digest) {
        Ok(bytes) => bytes,
        Err(finding) => {
            findings.push(*finding);
            return findings;
        }
    };
    if is_image(&manifest) {
        if manifest.config.digest != entry.image.0 {
            let path = format!(
                "{}/{}",
                Area::Refs.path(),
                crate::refs::file_name(&entry.name)
            );
            let text = format!("says that its image is {}", entry.image);
            let finding = Finding::new(Subject::Own(path), Fault::Document, text);
            findings.push(finding.affecting([Owner::Image(entry.name.clone())]));
        }
        let config = serde_json::from_slice::<ImageConfig>(&config);
        let diff_ids = config
            .map(|config| config.rootfs.diff_ids)
            .unwrap_or_default();
        if diff_ids.len() == manifest.layers.len() {
            findings.extend(layers(store, &manifest.layers, &diff_ids));
            return findings;
        }
    }
    // An artifact: it is its blobs.
    for blob in &manifest.layers {
        match store.blobs().size(&blob.digest) {
            Ok(None) => {
                let subject = Subject::Blob(blob.digest.clone());
                findings.push(Finding::new(subject, Fault::Missing, "it is not here"));
            }
            Ok(Some(size)) => findings.extend(wrong_size(blob, size)),
            Err(_) => {}
        }
    }
    findings
}

fn is_image(manifest: &Manifest) -> bool {
    matches!(
        &*manifest.config.media_type,
        media::OCI_CONFIG | media::DOCKER_CONFIG | "application/octet-stream"
    )
}

/// A layer is here unpacked, or as a blob that is unpacked at its first use.
fn layers(store: &Store, blobs: &[Descriptor], diff_ids: &[DiffId]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (blob, diff_id) in blobs.iter().zip(diff_ids) {
        let size = store.blobs().size(&blob.digest).ok().flatten();
        findings.extend(size.and_then(|size| wrong_size(blob, size)));
        let here = store.layers().contains(diff_id).unwrap_or(true);
        if !here && size.is_none() {
            findings.push(missing_layer(diff_id));
        }
    }
    findings
}

fn wrong_size(blob: &Descriptor, size: u64) -> Option<Finding> {
    let detail = format!("it has {size} bytes instead of {}", blob.size);
    let subject = Subject::Blob(blob.digest.clone());
    (size != blob.size).then(|| Finding::new(subject, Fault::Damaged, detail))
}

/// Reads a document, or says what is wrong with it.
fn document(store: &Store, digest: &Digest) -> Result<Vec<u8>, Box<Finding>> {
    let wrong =
        |fault, text: String| Box::new(Finding::new(Subject::Blob(digest.clone()), fault, text));
    let error = match store.blobs().read(digest, DOCUMENT_LIMIT) {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    Err(match error {
        BlobError::Path(PathError { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            wrong(Fault::Missing, "it is not here".to_owned())
        }
        BlobError::Digest { found, .. } => {
            wrong(Fault::Damaged, format!("its bytes have digest {found}"))
        }
        other => wrong(
            Fault::Damaged,
            format!("cannot be read: {}", with_causes(&other)),
        ),
    })
}
