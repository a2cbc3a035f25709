//! Blobs that are not kept although an image names them: its layers can be made again without.

use lamina_types::Digest;

use super::Blobs;
use crate::collect::{CollectError, Marker};
use crate::ops::Operation;

impl Blobs<'_> {
    /// Moves layer blobs of `op` that no other operation relies on to the trash; returns how many.
    ///
    /// Images go on naming them: whoever needs one makes it again or fetches it. Idempotent, and
    /// nothing is lost if it does not happen. The caller has made sure that the layers are here
    /// with their split streams, and that nothing of `op` reads the blobs any more.
    pub fn release(&self, op: &Operation, digests: &[Digest]) -> Result<usize, CollectError> {
        if digests.is_empty() {
            return Ok(0);
        }
        let mut marker = Marker::new(self.0);
        let _lock = self.0.lock_exclusive()?;
        let lines = self.0.ops().leases_but(Some(op.name()))?;
        let marks = marker.leased(&lines)?;
        let mut released = 0;
        for digest in digests.iter().filter(|one| !marks.blobs.contains(*one)) {
            let trashed = self.0.trash(self.dir(digest)?, digest.hex())?;
            released += usize::from(trashed.is_some());
        }
        Ok(released)
    }
}
