//! `import`: a root filesystem's tar becomes an image of one layer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use lamina_store::{Area, Hasher, Operation};
use lamina_types::oci::{Descriptor, HistoryEntry, ImageConfig, RootfsSection, media};
use lamina_types::{DiffId, ErrorKind, ImageId, Platform, Reference};

use crate::changes::{ChangeError, apply_changes};
use crate::fault::StoreFault;
use crate::images::Images;
use crate::keep::Came;
use crate::layer::{BlobSource, BlobUse, Compression, MAGIC, Origin, Taken, Taker, UnpackError};
use crate::progress::Progress;
use crate::publish::{config_bytes, now, rfc3339};
use crate::spool::Spool;

/// What an imported image is to be, beside its files.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Its name; without one it is found by its id.
    pub name: Option<Reference>,
    /// Dockerfile instructions that alter the configuration.
    pub changes: Vec<String>,
    /// A message for its history.
    pub message: String,
    /// The platform it is for; `None` is this machine's.
    pub platform: Option<Platform>,
}

/// Why a tar could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A `--change` is wrong.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The tar cannot be read or unpacked.
    #[error("import the tar")]
    Layer(#[from] UnpackError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ImportError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Change(_) => ErrorKind::InvalidArgument,
            Self::Layer(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

/// A layer's blob in a file that has no name in the store yet.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) spool: Spool,
    pub(crate) blob: Descriptor,
}

impl Origin for Spooled {
    fn open(&self, _blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, UnpackError> {
        Ok(Box::new(self.spool.read_from(offset)))
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl Images<'_> {
    /// Imports a tar, plain or compressed with gzip or zstd, as an image of one layer.
    pub fn import(
        &self,
        tar: impl Read,
        options: &ImportOptions,
        progress: &dyn Progress,
    ) -> Result<ImageId, ImportError> {
        let mut config = ImageConfig::default();
        apply_changes(&mut config.config, &options.changes)?;
        let spooled = self.spool_layer(BufReader::with_capacity(1 << 18, tar))?;
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        config.os = platform.os;
        config.architecture = platform.architecture;
        config.variant = platform.variant;
        let created = rfc3339(i64::try_from(now()).unwrap_or(0));
        config.created = Some(created.clone());
        config.history = vec![HistoryEntry {
            created: Some(created),
            comment: Some(options.message.clone()).filter(|text| !text.is_empty()),
            created_by: Some("import".to_owned()),
            ..HistoryEntry::default()
        }];
        self.make("import", config, &spooled, options.name.as_ref(), progress)
    }

    /// Makes an image of one layer; the configuration gets its diff id here.
    pub(crate) fn make(
        &self,
        act: &str,
        mut config: ImageConfig,
        layer: &Spooled,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<ImageId, ImportError> {
        let op = self.store.ops().begin(act, &[]).map_err(StoreFault::from)?;
        let diff_id = self.take_spooled(&op, layer, progress)?;
        self.make_ready(std::slice::from_ref(&diff_id))?;
        config.rootfs = RootfsSection {
            kind: "layers".to_owned(),
            diff_ids: vec![diff_id],
        };
        let (bytes, _) = config_bytes(&config);
        let stored = self.store_documents(&op, &bytes, vec![layer.blob.clone()])?;
        let name = name.cloned().unwrap_or_else(|| Self::nameless(&stored));
        self.publish(&op, &name, &stored)?;
        let layers = std::slice::from_ref(&layer.blob);
        self.drop_blobs(&op, Came::Given, layers, &config.rootfs.diff_ids)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(stored.id)
    }

    /// Takes a layer out of a file into the store; returns its identity.
    pub(crate) fn take_spooled(
        &self,
        op: &Operation,
        layer: &Spooled,
        progress: &dyn Progress,
    ) -> Result<DiffId, UnpackError> {
        let shared = layer.spool.shared();
        let taker = Taker {
            store: self.store,
            op,
            bounds: &self.bounds,
            blobs: BlobUse::Wanted,
            early: None,
            trees: None,
            shared: Some(&shared),
            form: self.form,
        };
        let source = BlobSource {
            blob: &layer.blob,
            origin: layer,
            progress,
            stop: &AtomicBool::new(false),
        };
        // A plain tar's digest is its diff id, and then it may be here already.
        let plain = layer.blob.media_type == media::OCI_LAYER;
        let known = plain.then(|| DiffId(layer.blob.digest.clone()));
        if let Some(diff_id) = known.as_ref().filter(|_| !self.keeps_given(&layer.blob)) {
            taker.take_alone(&source, diff_id)?;
            return Ok(diff_id.clone());
        }
        match (taker.take(&source, known.as_ref())?, known) {
            (Taken::Unpacked(diff_id), _) | (Taken::Existed, Some(diff_id)) => Ok(diff_id),
            (Taken::Existed, None) => Err(UnpackError::Stage),
        }
    }

    /// Copies a stream, as it is, into a file without a name, and hashes it.
    fn spool_layer(&self, mut stream: impl BufRead) -> Result<Spooled, ImportError> {
        let (mut file, mut hash, mut size) = (self.unnamed()?, Hasher::sha256(), 0_u64);
        let mut checked = 0;
        loop {
            if size >= checked {
                self.bounds.check_space(self.store.root())?;
                checked = size + (64 << 20);
            }
            let bytes = match stream.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(UnpackError::Read(e).into()),
            };
            let count = bytes.len();
            hash.update(bytes);
            file.write_all(bytes).map_err(UnpackError::Read)?;
            size += count as u64;
            stream.consume(count);
            if size > self.bounds.tar_bytes {
                return Err(UnpackError::TooLarge(self.bounds.tar_bytes).into());
            }
        }
        let mut start = [0; MAGIC];
        let read = file.read_at(&mut start, 0).map_err(UnpackError::Read)?;
        let media_type = match Compression::of(&start[..read]) {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
            unsupported @ Compression::Unsupported(_) => {
                return Err(UnpackError::Decompress(unsupported.refusal()).into());
            }
        };
        let blob = Descriptor::new(media_type, hash.finish(), size);
        let spool = Spool::from(file);
        Ok(Spooled { spool, blob })
    }

    /// Makes a file on the store's filesystem that is gone with the process.
    pub(crate) fn unnamed(&self) -> Result<File, StoreFault> {
        Ok(self.store.dir(Area::Trash)?.unnamed_file(0o600)?)
    }
}
