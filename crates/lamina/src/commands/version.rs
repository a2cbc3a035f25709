//! `version`, and the reference of all commands.

use clap::Command;
use lamina_types::Platform;
use serde_json::json;

use crate::app::App;
use crate::args::{MarkdownHelpArgs, VersionArgs};
use crate::cli::{self, Verb};
use crate::commands::format::render_one;
use crate::exit_codes;
use crate::failure::Outcome;
use crate::ui;

/// The version of the product.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Verb for VersionArgs {
    fn run(self, _app: &App) -> Outcome<u8> {
        let platform = Platform::host();
        let kernel = rustix::system::uname();
        let kernel = kernel.release().to_string_lossy();
        let text = match self.format.as_deref() {
            None => format!(
                "Version:    {VERSION}\nOS/Arch:    {platform}\nKernel:     {}\n",
                ui::escape(&kernel)
            ),
            Some(format) => {
                let document = json!({
                    "Version": VERSION, "Os": platform.os, "Arch": platform.architecture,
                    "KernelVersion": kernel,
                    // Scripts ask Docker for the version of either side.
                    "Client": {"Version": VERSION, "Os": platform.os, "Arch": platform.architecture},
                    "Server": {"Version": VERSION, "Os": platform.os, "Arch": platform.architecture},
                });
                render_one(format, &document)?
            }
        };
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for MarkdownHelpArgs {
    fn run(self, _app: &App) -> Outcome<u8> {
        let mut text = String::from(
            "# The command line\n\nMade by `lamina __markdown-help`; do not edit.\n\nExit statuses: 0 done; 1 a command failed, or had the wrong number of arguments; 4 `fsck`\nleft damage; 64 a template for one thing was malformed; 125 `run` failed before the program was started, or a flag made no sense; 126 the program cannot be executed; 127 it was not\nfound; 128 + n it was killed by signal n; anything else is the program's own.\n",
        );
        let mut root = cli::command();
        root.build();
        section(&mut root, "lamina", &mut text);
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}

fn section(command: &mut Command, path: &str, text: &mut String) {
    let help = command.render_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *text += &format!("\n## {path}\n\n```\n{}\n```\n", lines.join("\n").trim());
    for inner in command
        .get_subcommands_mut()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
    {
        let path = format!("{path} {}", inner.get_name());
        section(inner, &path, text);
    }
}
