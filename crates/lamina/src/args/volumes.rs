//! Commands on volumes.

use std::path::PathBuf;

use clap::Args;

use super::PruneFlags;

/// `lamina volume create`.
#[derive(Debug, Args)]
pub(crate) struct VolumeCreateArgs {
    /// Specify volume driver name: local
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    pub(crate) driver: String,
    /// Set driver specific options: type=, o=, device= as mount(8) knows them
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
    /// Set metadata for a volume
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// The volume's name, as it was once given
    #[arg(long = "name", value_name = "NAME", hide = true)]
    pub(crate) old_name: Option<String>,
    /// The volume's name
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
}

/// `lamina volume ls`.
#[derive(Debug, Args)]
pub(crate) struct VolumeLsArgs {
    /// Only display volume names
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show how much each takes on the disk, and how many containers use it
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `lamina volume inspect`.
#[derive(Debug, Args)]
pub(crate) struct VolumeInspectArgs {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Volumes by name
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,
}

/// `lamina volume rm`.
#[derive(Debug, Args)]
pub(crate) struct VolumeRmArgs {
    /// Do not fail where there is no such volume
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Free the space now; it cannot be undone
    #[arg(long)]
    pub(crate) now: bool,
    /// Volumes by name
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,
}

/// `lamina volume prune`.
#[derive(Debug, Args)]
pub(crate) struct VolumePruneArgs {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) flags: PruneFlags,
}

/// `lamina volume rename`.
#[derive(Debug, Args)]
pub(crate) struct VolumeRenameArgs {
    /// The volume, which no container uses
    #[arg(value_name = "VOLUME")]
    pub(crate) volume: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub(crate) name: String,
}

/// `lamina volume clone`.
#[derive(Debug, Args)]
pub(crate) struct VolumeCloneArgs {
    /// The volume
    #[arg(value_name = "SOURCE")]
    pub(crate) from: String,
    /// The name of the new volume
    #[arg(value_name = "TARGET")]
    pub(crate) to: String,
}

/// `lamina volume export`.
#[derive(Debug, Args)]
pub(crate) struct VolumeExportArgs {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The volume
    #[arg(value_name = "VOLUME")]
    pub(crate) volume: String,
}

/// `lamina volume import`.
#[derive(Debug, Args)]
pub(crate) struct VolumeImportArgs {
    /// The volume; it is made if there is none
    #[arg(value_name = "VOLUME")]
    pub(crate) volume: String,
    /// A tar, plain or compressed with gzip or zstd; - is STDIN
    #[arg(value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    pub(crate) file: PathBuf,
}
