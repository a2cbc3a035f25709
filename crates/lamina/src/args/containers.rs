//! Commands on containers that exist.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::args::UpdateLimitArgs;

/// `lamina start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Attach container's STDIN
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: String,
    /// Proxy received signals to the process
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, value_name = "BOOL", hide_possible_values = true,
          action = ArgAction::Set)]
    pub(crate) sig_proxy: bool,
    /// Start a container whose restart is due: what its monitor executes
    #[arg(long, hide = true)]
    pub(crate) again: bool,
    /// Start the containers that a boot starts by their restart policies
    #[arg(long)]
    pub(crate) all_restart: bool,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required_unless_present = "all_restart")]
    pub(crate) containers: Vec<String>,
}

/// `lamina stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Signal to send to the container
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Seconds to wait before killing the container, -1 for ever; without it the container's own --stop-timeout, or 10
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        visible_alias = "time",
        allow_negative_numbers = true
    )]
    pub(crate) timeout: Option<i64>,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Signal to send to the container
    #[arg(short, long, default_value = "KILL")]
    pub(crate) signal: String,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina restart`.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// Signal to send to the container
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Seconds to wait before killing the container, -1 for ever; without it the container's own --stop-timeout, or 10
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        visible_alias = "time",
        allow_negative_numbers = true
    )]
    pub(crate) timeout: Option<i64>,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub(crate) name: String,
}

/// `lamina update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    pub(crate) limits: UpdateLimitArgs,
    /// Restart policy to apply when a container exits: no, on-failure, on-failure:N, always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The container by name, id or unique prefix of an id, then options of ps
    // One positional: what follows the container is for ps, hyphens and all.
    #[arg(value_name = "CONTAINER", required = true, num_args = 1.., trailing_var_arg = true,
          allow_hyphen_values = true, hide = true)]
    pub(crate) words: Vec<String>,
}

/// `lamina stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// `lamina port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// A port of the container
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub(crate) port: Option<String>,
}

/// `lamina export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// `lamina wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// What to wait for: the container does not run, it ends the next time, it is removed, it is healthy
    #[arg(long, value_name = "CONDITION", default_value = "not-running",
          value_parser = ["not-running", "next-exit", "removed", "healthy"],
          hide_possible_values = false)]
    pub(crate) condition: String,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Free the space now; it cannot be undone
    #[arg(long)]
    pub(crate) now: bool,
    /// Show what would go and what that frees, and remove nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Format output of --plan: table, json, or a Go template
    #[arg(long, value_name = "FORMAT", requires = "plan")]
    pub(crate) format: Option<String>,
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: String,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// The container by name, id or unique prefix of an id, then the program and its arguments
    #[arg(value_name = "CONTAINER", required = true, num_args = 2.., trailing_var_arg = true,
          allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// `lamina attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: String,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Number of lines to show of what was printed before, or "all"; on a terminal 10, else none
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) tail: Option<String>,
    /// Proxy all received signals to the process
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, value_name = "BOOL", hide_possible_values = true,
          action = ArgAction::Set)]
    pub(crate) sig_proxy: bool,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// `lamina logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Number of lines to show from the end of the logs
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub(crate) tail: String,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show extra details provided to logs
    #[arg(long)]
    pub(crate) details: bool,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// `lamina diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Show how much each change has written, and the sums
    #[arg(long)]
    pub(crate) stat: bool,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// `lamina cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// What is copied: CONTAINER:PATH, a local path, or - for a tar on STDIN
    #[arg(value_name = "SRC_PATH")]
    pub(crate) from: String,
    /// Where it goes: CONTAINER:PATH, a local path, or - for a tar on STDOUT
    #[arg(value_name = "DEST_PATH")]
    pub(crate) to: String,
}

/// `lamina commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, value_name = "BOOL", hide_possible_values = true,
          action = ArgAction::Set)]
    pub(crate) pause: bool,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) image: Option<String>,
}

/// `lamina pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina unpause`.
#[derive(Debug, Args)]
pub(crate) struct UnpauseArgs {
    /// Containers by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `lamina healthcheck run`.
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// Tell the monitor that executes this, and nobody else
    #[arg(long, hide = true)]
    pub(crate) due: bool,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// `lamina container cleanup`: what a monitor executes when its container has ended.
#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    /// The container's id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}
