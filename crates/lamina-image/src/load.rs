//! `load`: images out of an archive or a directory.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use lamina_store::{Area, Operation};
use lamina_types::oci::{Descriptor, media};
use lamina_types::{DiffId, ErrorKind, ImageId, Platform, Reference};

use crate::archive::{self, ArchiveError, Files, Packed, PackedLayer, TarIndex};
use crate::documents::parse_config;
use crate::fault::StoreFault;
use crate::images::Images;
use crate::keep::Came;
use crate::layer::{
    BlobUse, Compression, InArchive, Job, JobError, MAGIC, Taker, UnpackError, decompress,
    take_all, writing_early,
};
use crate::progress::Progress;
use crate::publish::Stored;

/// Where an archive of images is read from.
pub enum LoadSource {
    /// A regular file: read where it is if it is not compressed.
    File(File),
    /// A stream, such as standard input: spooled first, because the table of an archive's
    /// contents comes last.
    Stream(Box<dyn Read>),
    /// An OCI image layout as a directory.
    Directory(PathBuf),
}

impl std::fmt::Debug for LoadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "LoadSource::File",
            Self::Stream(_) => "LoadSource::Stream",
            Self::Directory(_) => "LoadSource::Directory",
        })
    }
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// The names it was given; none for an image that has none in its archive.
    pub names: Vec<Reference>,
}

/// Why an archive could not be loaded. Images of it that were complete before are there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It cannot be spooled.
    #[error("spool the archive")]
    Spool(#[source] UnpackError),
    /// A layer of it failed.
    #[error("load layer {layer:?}")]
    Layer {
        /// The layer's name in the archive, or its digest.
        layer: String,
        /// Why.
        source: Box<UnpackError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl LoadError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Archive(source) => source.kind(),
            Self::Spool(source) => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Loads every image of an archive, each for `platform` or this machine's where it has several.
    ///
    /// An image gets the names it has in the archive; one without a name is kept all the same and
    /// is found by its id. Layers that are here cost no work.
    pub fn load(
        &self,
        source: LoadSource,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let host = Platform::host();
        let files = self.files(source)?;
        let images = archive::images(&files, platform.unwrap_or(&host))?;
        let op = self
            .store
            .ops()
            .begin("load", &[])
            .map_err(StoreFault::from)?;
        let mut loaded = Vec::new();
        for packed in images {
            loaded.push(self.load_image(&op, &files, packed, progress)?);
        }
        op.finish().map_err(StoreFault::from)?;
        Ok(loaded)
    }

    fn files(&self, source: LoadSource) -> Result<Files, LoadError> {
        let file = match source {
            LoadSource::Directory(path) => return Ok(Files::directory(&path)?),
            LoadSource::File(file) => {
                let mut start = [0; MAGIC];
                let read = file.read_at(&mut start, 0).map_err(ArchiveError::Read)?;
                match Compression::of(&start[..read]) {
                    Compression::None => file,
                    _ => self.spool(BufReader::with_capacity(1 << 18, file))?,
                }
            }
            LoadSource::Stream(stream) => self.spool(BufReader::with_capacity(1 << 18, stream))?,
        };
        Ok(Files::Tar(TarIndex::read(file)?))
    }

    /// Copies what a stream holds, decompressed, into a file without a name: it is gone with the
    /// process. Bounded as a layer is.
    pub(crate) fn spool(&self, stream: impl io::BufRead) -> Result<File, LoadError> {
        let directory = self.store.dir(Area::Trash).map_err(StoreFault::from)?;
        let mut file = directory.unnamed_file(0o600).map_err(StoreFault::from)?;
        let mut plain = decompress(stream)
            .map_err(|source| LoadError::Spool(UnpackError::Decompress(source)))?
            .take(self.bounds.tar_bytes);
        let mut buffer = vec![0; crate::layer::CHUNK];
        let mut until_check = 0;
        loop {
            if until_check == 0 {
                until_check = 256;
                self.bounds
                    .check_space(self.store.root())
                    .map_err(LoadError::Spool)?;
            }
            until_check -= 1;
            match plain.read(&mut buffer) {
                Ok(0) => return Ok(file),
                Ok(count) => io::Write::write_all(&mut file, &buffer[..count])
                    .map_err(|source| LoadError::Spool(UnpackError::Read(source)))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(LoadError::Spool(UnpackError::Decompress(e))),
            }
        }
    }

    fn load_image(
        &self,
        op: &Operation,
        files: &Files,
        packed: Packed,
        progress: &dyn Progress,
    ) -> Result<Loaded, LoadError> {
        let config =
            parse_config(&packed.config, packed.layers.len()).map_err(ArchiveError::from)?;
        let mut jobs = Vec::new();
        for (layer, diff_id) in packed.layers.iter().zip(&config.rootfs.diff_ids) {
            jobs.push(Job {
                blob: described(files, layer, diff_id)?,
                diff_id: diff_id.clone(),
                origin: Box::new(InArchive {
                    files,
                    layer: layer.clone(),
                }),
            });
        }
        let blobs: Vec<Descriptor> = jobs.iter().map(|job| job.blob.clone()).collect();
        let taken = writing_early(self.store, self.form, |early| {
            let taker = Taker {
                store: self.store,
                op,
                bounds: &self.bounds,
                blobs: BlobUse::Wanted,
                early: Some(early),
                trees: None,
                shared: None,
                form: self.form,
            };
            take_all(taker, jobs, progress)
        });
        taken.map_err(|JobError { blob, source }| {
            let at = blobs.iter().position(|b| b.digest == blob);
            let name = at
                .and_then(|at| packed.layers.get(at))
                .map(|layer| layer.name.clone());
            let layer = name.unwrap_or_else(|| blob.to_string());
            LoadError::Layer { layer, source }
        })?;
        self.make_ready(&config.rootfs.diff_ids)?;
        let stored = self.store_packed(op, &packed, blobs.clone())?;
        let nameless = [Self::nameless(&stored)];
        let names = if packed.names.is_empty() {
            &nameless[..]
        } else {
            &packed.names
        };
        let has_name = self.entries()?.iter().any(|e| e.image == stored.id);
        if !(packed.names.is_empty() && has_name) {
            for name in names {
                self.publish(op, name, &stored)?;
            }
        }
        self.drop_blobs(op, Came::Given, &blobs, &config.rootfs.diff_ids)?;
        Ok(Loaded {
            id: stored.id,
            names: packed.names,
        })
    }

    /// Stores the documents: the archive's own manifest, or one for Docker's form.
    fn store_packed(
        &self,
        op: &Operation,
        packed: &Packed,
        blobs: Vec<Descriptor>,
    ) -> Result<Stored, StoreFault> {
        let Some((descriptor, bytes)) = &packed.manifest else {
            return self.store_documents(op, &packed.config, blobs);
        };
        let store = self.store.blobs();
        store.put_as(op, &descriptor.digest, bytes)?;
        // The digest that the manifest names, which the configuration was checked against.
        store.put_as(op, &packed.config_digest, &packed.config)?;
        let mut manifest = descriptor.clone();
        manifest.annotations.clear();
        Ok(Stored {
            id: ImageId(packed.config_digest.clone()),
            target: manifest.clone(),
            manifest,
        })
    }
}

/// Returns what a layer's blob is: as its manifest says or, in Docker's form, by looking.
///
/// Docker's layers are plain tars, whose digest is the diff id; a compressed one is hashed here.
fn described(
    files: &Files,
    layer: &PackedLayer,
    diff_id: &DiffId,
) -> Result<Descriptor, LoadError> {
    if let Some(descriptor) = &layer.descriptor {
        return Ok(descriptor.clone());
    }
    let mut section = layer.open(files)?;
    let size = section.size();
    let mut start = Vec::new();
    let mut head = (&mut section).take(MAGIC as u64);
    head.read_to_end(&mut start).map_err(ArchiveError::Read)?;
    let media_type = match Compression::of(&start) {
        Compression::Gzip => media::OCI_LAYER_GZIP,
        Compression::Zstd => media::OCI_LAYER_ZSTD,
        _ => return Ok(Descriptor::new(media::OCI_LAYER, diff_id.0.clone(), size)),
    };
    let mut whole = layer.open(files)?;
    let digest = crate::hash::sha256_of(&mut whole).map_err(ArchiveError::Read)?;
    Ok(Descriptor::new(media_type, digest, size))
}
