//! `image create-minimal`, and the built-in image on first use.

use std::io::BufWriter;
use std::path::PathBuf;

use lamina_types::oci::{Config, Descriptor, HistoryEntry, ImageConfig, media};
use lamina_types::{ImageId, Platform, Reference};

use super::{CreateMinimalError, HostPaths, gather, write_layer};
use crate::fault::StoreFault;
use crate::hash::Hashing;
use crate::images::Images;
use crate::import::{ImportError, Spooled};
use crate::progress::Silent;
use crate::publish::rfc3339;
use crate::spool::Spool;

impl Images<'_> {
    /// Makes an image of the host's own programs, with `adds` beside the usual ones: programs by
    /// name, files or directories by absolute path, each with the libraries it needs.
    ///
    /// The same host gives the same image: its dates are those of the host's files.
    pub fn create_minimal(
        &self,
        name: &Reference,
        host: &HostPaths,
        adds: &[PathBuf],
    ) -> Result<ImageId, CreateMinimalError> {
        let gathered = gather(host, adds)?;
        let file = self.unnamed()?;
        let mut out = BufWriter::with_capacity(1 << 18, Hashing::new(&file));
        write_layer(&gathered.tree, &mut out)?;
        let hashing = out
            .into_inner()
            .map_err(|error| CreateMinimalError::Write(error.into_error()))?;
        let (digest, size) = hashing.finish();
        let spooled = Spooled {
            blob: Descriptor::new(media::OCI_LAYER, digest, size),
            spool: Spool::from(file),
        };
        let created = rfc3339(gathered.tree.newest());
        let platform = Platform::host();
        let config = ImageConfig {
            created: Some(created.clone()),
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            config: Config {
                cmd: vec!["sh".to_owned()],
                env: vec![format!("PATH={}", gathered.path.join(":"))],
                ..Config::default()
            },
            history: vec![HistoryEntry {
                created: Some(created),
                created_by: Some("create-minimal: the host's own programs".to_owned()),
                ..HistoryEntry::default()
            }],
            ..ImageConfig::default()
        };
        self.make("create-minimal", config, &spooled, Some(name), &Silent)
            .map_err(|error| match error {
                ImportError::Layer(source) => CreateMinimalError::Layer(source),
                ImportError::Store(source) => CreateMinimalError::Store(source),
                // There are no changes to be wrong.
                ImportError::Change(_) => CreateMinimalError::NoShell,
            })
    }
}

impl From<StoreFault> for CreateMinimalError {
    fn from(source: StoreFault) -> Self {
        Self::Store(source)
    }
}
