//! The name under which an image's generated files are kept.

use data_encoding::HEXLOWER;
use lamina_types::DiffId;
use sha2::{Digest as _, Sha256};

/// Raised when what is generated from a list of layers changes: old files are then collected.
const GENERATION: &str = "lamina-image-1";

/// Returns the key of the image made of these layers, bottom first.
///
/// Two images with the same layers in the same order share everything that is generated from
/// them, whatever their configurations say.
pub fn image_key(diff_ids: &[DiffId]) -> String {
    let mut hash = Sha256::new();
    hash.update(GENERATION);
    for diff_id in diff_ids {
        hash.update(b"\n");
        hash.update(diff_id.0.algorithm().name());
        hash.update(b":");
        hash.update(diff_id.0.hex());
    }
    HEXLOWER.encode(&hash.finalize())
}
