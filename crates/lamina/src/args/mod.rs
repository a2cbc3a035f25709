//! What was typed: one struct per command, nothing checked beyond its shape.
//!
//! What is meant is decided once, in [`crate::request`] and the commands. The texts of the flags
//! are Docker's where Docker has the flag, because people's fingers and scripts know them.

mod container;
mod containers;
mod generate;
mod images;
mod lists;
mod registries;
mod system;
mod volumes;

pub(crate) use container::{
    ContainerArgs, CreateArgs, ExplainFormat, HealthArgs, ProgressArg, RunArgs, Stream,
    UpdateLimitArgs,
};
pub(crate) use containers::{
    AttachArgs, CleanupArgs, CommitArgs, CpArgs, DiffArgs, ExecArgs, ExportArgs, HealthcheckArgs,
    KillArgs, LogsArgs, PauseArgs, PortArgs, RenameArgs, RestartArgs, RmArgs, StartArgs, StatsArgs,
    StopArgs, TopArgs, UnpauseArgs, UpdateArgs, WaitArgs,
};
pub(crate) use generate::GenerateSystemdArgs;
pub(crate) use images::{
    BlobsArgs, CreateMinimalArgs, ExplainArgs, HistoryArgs, ImportArgs, LoadArgs, PullArgs,
    PushArgs, RegistryArgs, RmiArgs, SaveArgs, TagArgs, TransferArgs, TreeArgs, UntagArgs,
};
pub(crate) use lists::{ImagesArgs, InspectArgs, PsArgs};
pub(crate) use registries::{LoginArgs, LogoutArgs, SearchTagsArgs, ServeArgs};
pub(crate) use system::{
    ContainerPruneArgs, DfArgs, EventsArgs, FsckArgs, ImagePruneArgs, InfoArgs, MarkdownHelpArgs,
    MigrateArgs, PruneArgs, PruneFlags, TidyArgs, UndoArgs, VersionArgs, WhyArgs,
};
pub(crate) use volumes::{
    VolumeCloneArgs, VolumeCreateArgs, VolumeExportArgs, VolumeImportArgs, VolumeInspectArgs,
    VolumeLsArgs, VolumePruneArgs, VolumeRenameArgs, VolumeRmArgs,
};
