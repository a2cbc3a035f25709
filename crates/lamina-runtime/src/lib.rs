//! OCI runtime: a spec and a root filesystem become a process.
//!
//! ```text
//!                 ahead.rs     what is made before the spec is known
//! spec, rootfs ─► plan/        what will be done, as values; decided before anything is done
//!                 cgroup/      limits: directories made and written by the parent
//!                 create.rs    spawn.rs ─► init/   the child: mounts, masks, limits, identity
//!                 begun.rs     what the parent does beside it
//!                 start.rs     a byte through a FIFO: the child becomes the program
//!                 seccomp/     profile ─► rules ─► BPF
//!                 compat.rs    older kernels
//! spec_default.rs              Docker's defaults, for whoever writes specs
//! ```
//!
//! The runtime knows nothing of images, snapshots, monitors or records. It keeps no state: a
//! [`Created`] is a pidfd, a channel and a [`Cgroup`], and whoever holds them decides what they
//! are worth remembering. The caller must be single-threaded, because init goes on from its clone
//! without an exec, and owns the init process as its parent.

#![forbid(unsafe_code)]

mod ahead;
mod begun;
mod bundle;
pub mod cgroup;
mod channel;
mod compat;
mod create;
mod init;
mod join;
mod newborn;
mod placement;
mod plan;
pub mod seccomp;
mod spawn;
pub mod spec_default;
mod start;

pub use ahead::{Ahead, Expected};
pub use begun::Begun;
pub use bundle::{Bundle, BundleError, CONFIG_JSON, ROOTFS_JSON};
pub use cgroup::{Cgroup, CgroupError};
pub use create::{CreateError, CreateRequest, Created, Start, Stdio, begin, create};
pub use init::report::Failure;
pub use join::{JoinRequest, join};
pub use plan::PlanError;
pub use start::{StartError, start, start_outcome};
