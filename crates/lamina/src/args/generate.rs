//! The words of `generate`.

use clap::Args;

/// `lamina generate systemd`.
#[derive(Debug, Args)]
pub(crate) struct GenerateSystemdArgs {
    /// The unit that starts, at boot, every container whose restart policy says so
    #[arg(long, conflicts_with = "container")]
    pub(crate) all_restart: bool,
    /// Write a file NAME.service in the working directory instead of printing the unit
    #[arg(short, long)]
    pub(crate) files: bool,
    /// Name the unit and the container by its name instead of its id
    #[arg(short, long)]
    pub(crate) name: bool,
    /// When systemd starts the container again [default: on-failure; no where the container has a restart policy of its own]
    #[arg(long, value_name = "POLICY", value_parser = ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"])]
    pub(crate) restart_policy: Option<String>,
    /// Seconds until systemd starts it again
    #[arg(long, value_name = "SECONDS")]
    pub(crate) restart_sec: Option<u32>,
    /// Seconds that the container has to stop [default: its own]
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<u32>,
    /// The container by name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required_unless_present = "all_restart")]
    pub(crate) container: Option<String>,
}
