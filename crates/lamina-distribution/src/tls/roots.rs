//! Finds and reads certificate files: the system's, the configuration's and `certs.d`'s.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFailure;
use crate::hosts::HostRules;

/// The longest certificate file that is read.
const FILE_LIMIT: u64 = 4 << 20;

/// The files that are for one host.
#[derive(Debug, Default)]
pub(super) struct HostFiles {
    /// Configured by name: must be readable.
    named: Vec<PathBuf>,
    /// `*.crt` of `certs.d`.
    found: Vec<PathBuf>,
    /// `*.cert` with its `*.key`.
    client: Option<(PathBuf, PathBuf)>,
}

impl HostFiles {
    /// Looks for the files of `authority`, reading no more than folders.
    pub(super) fn find(rules: &HostRules, authority: &str) -> Self {
        let mut files = Self {
            named: rules.ca_files(authority),
            ..Self::default()
        };
        for folder in rules.certs_dirs() {
            // The authority has no slash and is no dot: it was parsed as a host with a port.
            let Ok(entries) = fs::read_dir(folder.join(authority)) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => files.found.push(path),
                    Some("cert") if files.client.is_none() => {
                        let key = path.with_extension("key");
                        files.client = Some((path, key));
                    }
                    _ => {}
                }
            }
        }
        files
    }

    /// Reads the system's certificates and those of the host.
    pub(super) fn store(&self) -> Result<RootCertStore, TlsFailure> {
        let mut store = RootCertStore::empty();
        // Errors of single system files are theirs; what could be read is used.
        let native = rustls_native_certs::load_native_certs();
        let (added, _) = store.add_parsable_certificates(native.certs);
        if added == 0 {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for path in self.named.iter().chain(&self.found) {
            for certificate in certificates(path)? {
                store
                    .add(certificate)
                    .map_err(|error| failure(path, &error.to_string()))?;
            }
        }
        Ok(store)
    }

    /// Reads the certificate that we show the host, if there is one.
    pub(super) fn client_pair(&self) -> Result<Option<ClientPair>, TlsFailure> {
        let Some((chain, key)) = &self.client else {
            return Ok(None);
        };
        let bytes = read(key)?;
        let private = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|error| failure(key, &error.to_string()))?;
        Ok(Some((certificates(chain)?, private)))
    }
}

/// A certificate chain and its private key.
pub(super) type ClientPair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| failure(path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(failure(path, "no certificate in it"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFailure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes))
        .map_err(|error| failure(path, &error.to_string()))?;
    Ok(bytes)
}

fn failure(path: &Path, why: &str) -> TlsFailure {
    TlsFailure::Files(format!("{}: {why}", path.display()))
}
