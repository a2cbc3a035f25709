//! Which compressed layers are kept beside the unpacked ones.

use std::str::FromStr;

use lamina_store::Operation;
use lamina_types::oci::Descriptor;
use lamina_types::{DiffId, Digest};

use crate::fault::StoreFault;
use crate::images::Images;
use crate::layer::BlobUse;

/// Which blobs of layers stay once their layers are in the store. Manifests and configurations
/// always do.
///
/// A layer's tar is made again without its blob, but not the compressed bytes: an image whose blobs
/// are gone is pushed under its own digest only to a registry that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepBlobs {
    /// Those that can be had nowhere else: of what was loaded or made here, as far as they are
    /// compressed. What was pulled can be pulled again, and an uncompressed blob is the tar itself.
    Auto,
    /// All: other tools can read every image in the store.
    #[default]
    Always,
    /// None.
    Never,
}

/// A word that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy {0:?} for blobs: expected auto, always or never")]
pub struct KeepBlobsError(String);

impl FromStr for KeepBlobs {
    type Err = KeepBlobsError;

    fn from_str(text: &str) -> Result<Self, KeepBlobsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(KeepBlobsError(other.chars().take(64).collect())),
        }
    }
}

/// Where the blobs of an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// From a registry.
    Pulled,
    /// From a file, or they were made here.
    Given,
}

impl KeepBlobs {
    /// Returns what becomes of the blobs of layers that are pulled.
    pub(crate) fn of_pulled(self) -> BlobUse {
        match self {
            Self::Always => BlobUse::Kept,
            Self::Auto | Self::Never => BlobUse::Passing,
        }
    }

    fn keeps(self, came: Came, blob: &Digest, diff_id: &DiffId) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => came == Came::Given && *blob != diff_id.0,
        }
    }
}

impl Images<'_> {
    /// Returns whether the blob of a layer that is made here, a plain tar, stays with it.
    pub(crate) fn keeps_given(&self, blob: &Descriptor) -> bool {
        let diff_id = DiffId(blob.digest.clone());
        self.keep_blobs.keeps(Came::Given, &blob.digest, &diff_id)
    }

    /// Drops the blobs of an image that is published, as far as the policy says.
    ///
    /// A layer without a split stream keeps its blob: it could not be made again.
    pub(crate) fn drop_blobs(
        &self,
        op: &Operation,
        came: Came,
        layers: &[Descriptor],
        diff_ids: &[DiffId],
    ) -> Result<(), StoreFault> {
        let mut unwanted = Vec::new();
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let keeps = self.keep_blobs.keeps(came, &layer.digest, diff_id);
            if !keeps && self.store.layers().split(diff_id)?.is_some() {
                unwanted.push(layer.digest.clone());
            }
        }
        if self.store.blobs().release(op, &unwanted)? > 0 {
            // The index of the layout lists images whose blobs are all here.
            self.store.refs().refresh_index()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_keeps_what_can_be_had_nowhere_else() {
        let (blob, tar) = (
            crate::hash::digest(b"gz"),
            DiffId(crate::hash::digest(b"tar")),
        );
        let keeps = |policy: &str, came, blob: &Digest| {
            let policy: KeepBlobs = policy.parse().unwrap();
            policy.keeps(came, blob, &tar)
        };
        assert!(keeps("auto", Came::Given, &blob));
        assert!(!keeps("auto", Came::Given, &tar.0));
        assert!(!keeps("auto", Came::Pulled, &blob));
        assert!(keeps("always", Came::Pulled, &blob));
        assert!(!keeps("never", Came::Given, &blob));
        assert!("some".parse::<KeepBlobs>().is_err());
    }
}
