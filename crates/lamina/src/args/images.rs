//! Commands on images.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::ProgressArg;

/// How a registry is talked to.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Require HTTPS and verify certificates when contacting the registry
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", hide_possible_values = true, action = ArgAction::Set)]
    pub(crate) tls_verify: Option<bool>,
}

/// How what goes to or comes from a registry is talked about on the way.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How progress is shown
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) progress: ProgressArg,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// `lamina pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Set platform if the image has several
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// The image: NAME, NAME:TAG or NAME@DIGEST
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `lamina push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Push all tags of the repository that are here
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Push only the image for this platform
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Pack the layers anew: gzip, gzip:LEVEL, zstd or zstd:LEVEL
    #[arg(long, value_name = "FORMAT[:LEVEL]")]
    pub(crate) compression: Option<String>,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// The image: NAME or NAME:TAG
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `lamina load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Read from an archive or an OCI directory instead of STDIN
    #[arg(short, long, value_name = "PATH")]
    pub(crate) input: Option<PathBuf>,
    /// Suppress the load output
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `lamina save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What the archive is: docker-archive or oci-archive
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    pub(crate) format: String,
    /// Save only images for this platform
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Images by name or id; a name without a tag means all its tags
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `lamina import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Set platform of the image
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// The archive of a root filesystem, or - for STDIN
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// The name of the image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

/// `lamina tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image by name or id
    #[arg(value_name = "SOURCE_IMAGE")]
    pub(crate) source: String,
    /// The further name
    #[arg(value_name = "TARGET_IMAGE")]
    pub(crate) target: String,
}

/// `lamina untag`.
#[derive(Debug, Args)]
pub(crate) struct UntagArgs {
    /// The image by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The names to take away; all of them if none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// `lamina explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Tell what changed from this other image, and which instruction did it
    #[arg(long, value_name = "OTHER")]
    pub(crate) diff: Option<String>,
    /// How many of the largest files of each finding are shown [default: 3; of each step, 10]
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<u16>,
    /// Format output: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,
    /// An image by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `lamina history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
          action = ArgAction::Set)]
    pub(crate) human: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `lamina image tree`.
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// Format output: tree or json
    #[arg(long, value_name = "FORMAT", default_value = "tree", value_parser = ["tree", "json"])]
    pub(crate) format: String,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only what shares layers with this image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

/// `lamina rmi`.
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Force removal of the image
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Free the space now; it cannot be undone
    #[arg(long)]
    pub(crate) now: bool,
    /// Images by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `lamina image create-minimal`.
#[derive(Debug, Args)]
pub(crate) struct CreateMinimalArgs {
    /// Add a program or a file of the host, with the libraries it needs
    #[arg(long, value_name = "PATH")]
    pub(crate) add: Vec<PathBuf>,
    /// The name of the image
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `lamina image blobs`.
#[derive(Debug, Args)]
pub(crate) struct BlobsArgs {
    /// Make the blobs that are not here, as plain tars, so that other tools can read the image
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// The image by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}
