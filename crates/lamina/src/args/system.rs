//! Commands on the engine itself.

use clap::Args;

/// `lamina info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `lamina events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Format output: json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show all events created since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Stream events until this timestamp, or one that is relative
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// `lamina df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// Show detailed information on space usage
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Show what takes space that the data do not need, and what to do about it
    #[arg(long, conflicts_with = "verbose")]
    pub(crate) causes: bool,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `lamina why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Format output: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,
    /// A digest, its beginning, a path in the store, or an image
    #[arg(value_name = "DIGEST|PATH|IMAGE")]
    pub(crate) subject: String,
}

/// What all `prune` commands have.
#[derive(Debug, Args)]
pub(crate) struct PruneFlags {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Provide filter values (e.g. "label=KEY=VALUE", "until=24h")
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Only what was made before: a time, or 48h for before two days
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show what would go and what that frees, and remove nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Format output of --plan: table, json, or a Go template
    #[arg(long, value_name = "FORMAT", requires = "plan")]
    pub(crate) format: Option<String>,
    /// Free the space now, that of earlier removals too; it cannot be undone
    #[arg(long)]
    pub(crate) now: bool,
}

/// `lamina prune`, `lamina system prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Remove anonymous volumes that no container uses
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Of every repository remove all unused images but the newest N
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<usize>,
    #[command(flatten)]
    pub(crate) flags: PruneFlags,
}

/// `lamina image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Of every repository remove all unused images but the newest N
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<usize>,
    #[command(flatten)]
    pub(crate) flags: PruneFlags,
}

/// `lamina container prune`.
#[derive(Debug, Args)]
pub(crate) struct ContainerPruneArgs {
    #[command(flatten)]
    pub(crate) flags: PruneFlags,
}

/// `lamina undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// List what can be undone
    #[arg(short, long)]
    pub(crate) list: bool,
    /// Format output of --list: table, json, or a Go template
    #[arg(long, value_name = "FORMAT", requires = "list")]
    pub(crate) format: Option<String>,
    /// The removal, by its id or the beginning of it; the latest if none is given
    #[arg(value_name = "ID", conflicts_with = "list")]
    pub(crate) id: Option<String>,
}

/// `lamina __tidy`: what a command leaves behind it, at idle priority.
#[derive(Debug, Args)]
pub(crate) struct TidyArgs {}

/// `lamina fsck`.
#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// Mend what can be mended: from what is here, or from the registries of the images; drop the rest
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read and hash no contents: compare names, sizes, modes and documents only
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many threads read (default: one for each processor)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Use the processor and the disk only when nobody else wants them
    #[arg(long)]
    pub(crate) idle: bool,
    /// Don't show how far it has come
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Format output: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,
}

/// `lamina system migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {}

/// `lamina version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `lamina __markdown-help`: the source of docs/reference/cli.md.
#[derive(Debug, Args)]
pub(crate) struct MarkdownHelpArgs {}
