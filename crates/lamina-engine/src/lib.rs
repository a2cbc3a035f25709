//! Container lifecycle: where image, snapshot and monitor meet.
//!
//! ```text
//! create ─► record.json, names/, snap/, volumes/      start ─► bundle in $RUN, monitor, init
//! run = create, start, relay, cleanup                 remove = everything that create made
//! ```
//! [`Engine`] is the door: one method for each verb of the command line, in one file each below
//! `container/`. [`CreateRequest`] is what every face translates into; from it and the image
//! `spec` makes an OCI runtime specification, purely. This crate prints nothing, reads no
//! environment, and knows neither registries' protocols nor system calls of isolation.
//!
//! It owns these folders of the store:
//! ```text
//! containers/<id>/record.json       what it was made from; written here, again by rename and update
//! containers/<id>/{hosts,hostname,resolv.conf,lock}   state.json, exit.json and log/ are the monitor's
//! containers/names/<name>           symbolic link to ../<id>: whoever makes it has the name
//! volumes/<name>/{volume.json,_data}
//! $RUN/containers/<id>/             the bundle; gone after the run, or with a reboot
//! ```
//! Lock: `containers/<id>/lock`, held over start, cleanup and removal, never over a run.

#![forbid(unsafe_code)]

mod accounts;
mod causes;
mod cgroups;
mod container;
mod copy;
mod devices;
mod disk;
mod engine;
mod events;
mod files;
mod fsck;
mod host;
mod images;
mod info;
mod logging;
mod mounted;
mod names;
mod process;
mod prune;
mod record;
mod request;
mod rootfs;
mod selinux;
mod spec;
mod users;
mod volumes;

pub use causes::{Cause, CauseKind};
pub use container::attach::{AttachError, Attached};
pub use container::cleanup::{CleanupError, CleanupFailure};
pub use container::commit::{CommitError, CommitRequest};
pub use container::cp::{CopyError, Files, Found};
pub use container::create::CreateError;
pub use container::diff::DiffError;
pub use container::early::Early;
pub use container::exec::{ExecError, ExecRequest};
pub use container::executing::{Executing, RelayError};
pub use container::executions::Execution;
pub use container::export::ExportError;
pub use container::find::FindError;
pub use container::health::HealthError;
pub use container::inspect::{ContainerInspect, InspectError};
pub use container::kill::KillError;
pub use container::list::{ContainerSummary, ListError};
pub use container::logs::{LogsError, LogsOptions};
pub use container::pause::PauseError;
pub use container::remove::{RemoveError, RemoveOptions};
pub use container::rename::RenameError;
pub use container::restart::RestartError;
pub use container::run::{Finished, RunError};
pub use container::size::ContainerSize;
pub use container::start::{Running, StartError, StartOptions, Streams};
pub use container::state::{ContainerState, ContainerStatus, human};
pub use container::stats::{Sample, StatsError};
pub use container::stop::StopError;
pub use container::top::{Top, TopError};
pub use container::update::UpdateError;
pub use devices::DeviceError;
pub use disk::ContainerUse;
pub use engine::{Engine, EngineConfig, MakeClient, OpenError};
pub use fsck::{CheckupError, Diagnosis};
pub use info::{Info, InfoError};
pub use logging::{LogRequest, LogRequestError};
pub use process::ProcessError;
pub use prune::{
    LabelFilter, PlannedContainer, PlannedImage, PruneError, PruneImages, PrunePlan, PruneRequest,
    PruneVolumes, Pruned, Skipped,
};
pub use record::{ImageUse, Record, RecordError, VolumeUse};
pub use request::{
    Connected, CreateRequest, HealthRequest, IsolationRequest, NamespaceMode, NetworkMode,
    ProcessRequest, PullPolicy, SeccompMode, VolumesFrom,
};
pub use rootfs::RootfsError;
pub use selinux::LabelError;
pub use spec::SpecError;
pub use users::UserError;
pub use volumes::{Volume, VolumeError, VolumeRequest};
