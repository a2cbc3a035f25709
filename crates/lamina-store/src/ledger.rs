//! The ledger: what everything in a store takes on the disk, and who holds it.
//!
//! ```text
//! space     every file of the store once, by what it is; sums to what `du` says of the root
//! shares    per image: alone, shared, and what its removal frees
//! why       the chain of owners that keeps one thing
//! ```
//! Nothing here is stored but one hint: what the tree of a layer takes is kept in an attribute of
//! the layer's folder, because layers never change and their trees are slow to walk. Sizes are
//! those of whole blocks (`st_blocks`), hard links counted once.
//!
//! Everything is read without locks: what comes or goes meanwhile is in or out.

pub(crate) mod disk;
mod shares;
mod space;
mod subject;
mod why;
mod without;

pub use shares::{ImageShare, Shares};
pub use space::Space;
pub use subject::{Link, Subject, SubjectError};
