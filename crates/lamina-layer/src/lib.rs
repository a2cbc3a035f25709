//! Layer tars to trees and back: PAX and GNU forms, whiteouts, extended attributes, diff of an
//! upper directory.
//!
//! - [`apply()`] writes a layer's tar into an empty directory, in overlayfs' own forms, in one
//!   streaming pass.
//! - [`diff()`] reads an overlay upper directory back as a list of [`Change`]s, and [`capture()`] as
//!   a layer's tar; [`Archiver`] makes a tar of any tree on the disk, and
//!   [`extract()`] puts one into a tree that is in use.
//! - [`split()`] keeps what a tar is beside its files' contents, [`rebuild()`] makes the identical tar
//!   again, [`SplitReader`] yields its entries.
//! - [`LayerTree`] is what a layer means, in memory: the same rules as [`apply()`], nothing written.
//! - [`TarReader`] and [`TarWriter`] are the format itself, without a filesystem.
//!
//! A tar comes from a stranger. The reader accepts only what GNU tar, libarchive, Python and Go
//! read alike; where they would disagree about where an entry begins or what it is called, the
//! archive is refused. What is accepted is bounded by [`Limits`] and lands inside the target
//! directory: every name is resolved component by component from its descriptor, without following
//! links, and links that a layer does follow (`var/run/x` after `var/run -> /run`) resolve as
//! after a chroot.
//!
//! This crate does not know where layers and contents are kept, nor how a layer is compressed.

#![forbid(unsafe_code)]

mod apply;
mod archive;
mod capture;
mod diff;
mod extract;
mod limits;
mod path;
mod split;
mod tar;
mod tree;

pub use apply::{Applied, ApplyError, Refusal, apply, apply_keeping};
pub use archive::{ArchiveError, Archiver, LinkKey, TakeContent, link_key};
pub use capture::{Below, CaptureError, capture};
pub use diff::{Change, ChangeKind, DiffError, Lower, diff};
pub use extract::{ExtractError, extract, extract_whole};
pub use limits::Limits;
pub use path::{Shown, clean_path};
pub use split::{
    Bodies, Content, Contents, INLINE_LIMIT, IndexError, IndexRecord, ObjectId, ObjectIndex,
    ObjectRef, RebuildError, Split, SplitEntry, SplitError, SplitReader, StoredParts, rebuild,
    split, split_with_tree,
};
pub use tar::{
    Entry, Kind, Meta, SparsePart, TarError, TarReader, TarSource, TarWriter, Time, WriteError,
};
pub use tree::{LayerKind, LayerNode, LayerTree, LayerTreeError, Names, NodeId};
