//! What a long operation tells whoever watches; drawing it is the caller's business.

use lamina_types::Digest;

/// Where one layer is. Amounts are bytes of the blob as it is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its turn has not come, or another process is at it.
    Waiting,
    /// It is being fetched and unpacked at once.
    Downloading {
        /// Bytes that are here.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It is here and is being unpacked.
    Extracting {
        /// Bytes that are unpacked.
        done: u64,
        /// Bytes in all; zero where that is not known.
        total: u64,
    },
    /// It will be pushed, or looked for in the registry.
    Preparing,
    /// It is being compressed anew, to be pushed.
    Compressing {
        /// Bytes of the tar that are compressed.
        done: u64,
    },
    /// It is being sent.
    Pushing {
        /// Bytes that are sent.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has it from another of its repositories.
    Mounted,
    /// The registry had it already.
    Present,
    /// It is sent.
    Pushed,
    /// It was here already: nothing is done.
    Exists,
    /// It is done.
    Complete,
}

/// Told about each step; called from several threads, often, so it must be quick.
pub trait Progress: Sync {
    /// A layer, named by its blob's digest, has come to `phase`.
    fn layer(&self, digest: &Digest, phase: Phase);

    /// Something worth a line was found: the manifest's digest, the layers, a retry.
    fn note(&self, text: &str);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn layer(&self, _digest: &Digest, _phase: Phase) {}
    fn note(&self, _text: &str) {}
}
