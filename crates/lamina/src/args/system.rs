//! Commands on the engine itself.

use clap::Args;

/// `lamina info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `lamina df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// Show detailed information on space usage
    #[arg(short, long)]
    pub(crate) verbose: bool,
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
