//! Commands on the engine itself.

use clap::Args;

/// `lamina info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
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
