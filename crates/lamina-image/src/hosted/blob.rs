//! Blobs as others can have them: those that were kept, and those that are a layer's tar, which is
//! made again from its split stream.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use lamina_fs::At;
use lamina_types::{DiffId, Digest};

use crate::fault::StoreFault;
use crate::images::Images;

impl Images<'_> {
    /// Returns a blob's length, `None` if it can be had here in no way.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreFault> {
        if let Some(size) = self.store.blobs().size(digest)? {
            return Ok(Some(size));
        }
        Ok(self.store.layers().tar_bytes(&DiffId(digest.clone()))?)
    }

    /// Opens a blob at its beginning. A tar that is made again is in a file without a name.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreFault> {
        match self.store.blobs().open(digest) {
            Err(error) if error.is_not_found() => {}
            other => return Ok(Some(other?)),
        }
        let diff_id = DiffId(digest.clone());
        if self.store.layers().tar_bytes(&diff_id)?.is_none() {
            return Ok(None);
        }
        let mut file = self.store.blobs().unnamed()?;
        self.store.layers().rebuild(&diff_id, &file)?;
        let path = self.store.blobs().path(digest);
        file.seek(SeekFrom::Start(0)).at("seek", path)?;
        Ok(Some(file))
    }
}
