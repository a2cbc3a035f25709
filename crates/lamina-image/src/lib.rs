//! The image store people see: pull, push, load, import, tag, remove, the minimal image.
//!
//! [`Images`] is the door; everything else here is what its methods take, return or fail with.
//!
//! ```text
//! ensure ─► find │ create_minimal │ pull
//!
//! pull    registry: index → manifest → configuration ┐
//! load    archive: docker save, OCI layout           ├─► layers in parallel ─► documents ─► name
//! import  a root filesystem's tar                    │   layer/: fetch → inflate → hash → apply
//! commit  what a container changed                    │
//! minimal the host's own programs (elf/, minimal/)   ┘
//! ```
//!
//! An image is its documents in `oci/`, its layers unpacked in `layers/`, and at least one name in
//! `refs/`, which is written last: whatever is interrupted before leaves nothing that can be seen.
//! All of these folders are lamina-store's; this crate owns none. It knows nothing of containers:
//! whether one stands on an image is asked of the caller.

#![forbid(unsafe_code)]

mod archive;
mod blobs;
mod changes;
mod commit;
mod complete;
mod documents;
mod elf;
mod ensure;
mod explain;
mod fault;
mod find;
mod fsck;
mod hash;
mod history;
mod hosted;
mod images;
mod import;
mod inspect;
mod keep;
mod layer;
mod list;
mod load;
mod migrate;
mod minimal;
mod progress;
mod publish;
mod pull;
mod push;
mod remove;
mod save;
mod spool;
mod tag;
mod tree;
mod untag;

pub use archive::ArchiveError;
pub use blobs::{BlobPlace, BlobsError};
pub use changes::{ChangeError, apply_change};
pub use commit::{Commit, CommitBase, CommitError, CommitOptions};
pub use documents::{DocumentError, MAX_DOCUMENT};
pub use ensure::{EnsureError, MINIMAL, Policy, Wanted};
pub use explain::{
    Amount, ChangeClass, Difference, ExplainError, Explanation, PathChange, PathState,
    SettingChange, StepChanges, StepCost, Waste, WasteClass,
};
pub use fault::StoreFault;
pub use find::FindError;
pub use fsck::{FsckError, Mended, Mending, Remedy};
pub use history::Step;
pub use hosted::{Hosted, HostedError, HostedManifest, Pointer, Put};
pub use images::{Image, Images};
pub use import::{ImportError, ImportOptions};
pub use inspect::LayerPlace;
pub use keep::{KeepBlobs, KeepBlobsError};
pub use layer::{Bounds, LayerForm, UnpackError, decompress};
pub use list::Summary;
pub use load::{LoadError, LoadSource, Loaded};
pub use migrate::{MigrateError, Migrated};
pub use minimal::{CreateMinimalError, HostPaths};
pub use progress::{Phase, Progress, Silent};
pub use pull::{PullError, Pulled};
pub use push::{PackError, Packing, PackingError, PushError, PushOptions, Pushed};
pub use remove::{RemoveError, Removed, UsedBy};
pub use save::{ArchiveFormat, SaveError, SaveOptions};
pub use spool::SpoolWriter;
pub use tag::TagError;
pub use tree::LayerNode;
pub use untag::UntagError;
