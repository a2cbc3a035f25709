//! The command line: which command was typed.
//!
//! Subcommands are deferred: the flags of `run` are only built when `run` was typed, so that
//! `lamina --version` costs no more than a small program.

mod table;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use crate::app::App;
use crate::commands;
use crate::early;
use crate::environment::Environment;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;
use table::GROUPS;
pub(crate) use table::MANAGEMENT;

/// A command: its arguments, and what it does with them.
pub(crate) trait Verb: Args {
    /// Does it; returns the exit status.
    fn run(self, app: &App) -> Outcome<u8>;
}

/// How a command appears on the command line.
pub(crate) struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    /// What follows the options in its usage.
    operands: &'static str,
    about: &'static str,
    hidden: bool,
    augment: fn(Command) -> Command,
    run: fn(&ArgMatches, &App) -> Outcome<u8>,
}

const fn entry<V: Verb>(name: &'static str, operands: &'static str, about: &'static str) -> Entry {
    Entry {
        name,
        aliases: &[],
        operands,
        about,
        hidden: false,
        augment: |command| {
            // The comment on the arguments is for developers; it must not become the help's text.
            let about = command.get_about().cloned().unwrap_or_default();
            V::augment_args(command).about(about)
        },
        run: |matches, app| match V::from_arg_matches(matches) {
            Ok(verb) => verb.run(app),
            Err(error) => Err(Failure::usage(error.to_string())),
        },
    }
}

impl Entry {
    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// `--help`, in the compact form; `-h` is the hostname for `run` and `create`, as in Docker.
    fn help(&self) -> Arg {
        let help = Arg::new("help")
            .long("help")
            .action(ArgAction::HelpShort)
            .help("Print usage");
        if matches!(self.name, "run" | "create") {
            help
        } else {
            help.short('h')
        }
    }

    fn command(&self, prefix: &str) -> Command {
        let options = if self.hidden { "" } else { " [OPTIONS]" };
        let space = if self.operands.is_empty() { "" } else { " " };
        let usage = format!("{prefix} {}{options}{space}{}", self.name, self.operands);
        Command::new(self.name)
            .about(self.about)
            .visible_aliases(self.aliases.iter().copied())
            .override_usage(usage)
            .hide(self.hidden)
            .disable_help_flag(true)
            .arg(self.help())
            .defer(self.augment)
    }
}

/// A group of commands, as they stand in the help.
pub(crate) struct Group {
    /// The heading; for a management command its name.
    title: &'static str,
    /// What a management command is for.
    about: &'static str,
    entries: &'static [Entry],
}

impl Group {
    fn management(&self) -> Command {
        Command::new(self.title)
            .about(self.about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            // Deferred as well: the entries of a group are only built when the group was typed.
            .defer(fill)
    }
}

/// Gives a management command its own commands. It is found by its name because what is deferred
/// takes nothing along.
fn fill(command: Command) -> Command {
    let named = |group: &&Group| group.title == command.get_name();
    let Some(group) = MANAGEMENT.iter().find(named) else {
        return command;
    };
    let prefix = format!("lamina {}", group.title);
    command.subcommands(group.entries.iter().map(|entry| entry.command(&prefix)))
}

/// Builds the whole command line.
pub(crate) fn command() -> Command {
    root()
        .subcommands(
            GROUPS
                .iter()
                .flat_map(|group| group.entries)
                .map(|entry| entry.command("lamina")),
        )
        .subcommands(MANAGEMENT.iter().map(Group::management))
        .disable_help_subcommand(false)
        .help_template(HELP_TEMPLATE)
        .after_help(summary())
}

/// Builds as much of the command line as `arguments` are about: one command where its name comes
/// first, which is nearly always and takes a fifth of the time.
fn command_for(arguments: &[OsString]) -> Command {
    let typed = arguments.get(1).and_then(|word| word.to_str());
    let top = GROUPS.iter().flat_map(|group| group.entries);
    match top.into_iter().find(|entry| Some(entry.name) == typed) {
        Some(entry) => root().subcommand(entry.command("lamina")),
        None => command(),
    }
}

fn root() -> Command {
    let root = Command::new("lamina")
        .about("A container engine without a daemon: one static binary")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("lamina [OPTIONS] COMMAND")
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print version information and quit"),
        );
    App::augment(root)
}

/// The commands stand in groups below the options, as Docker's do.
const HELP_TEMPLATE: &str = "\
Usage:  {usage}

{about}
{after-help}
Global Options:
{options}

Run 'lamina COMMAND --help' for more information on a command.
";

fn summary() -> String {
    let mut text = String::new();
    for group in GROUPS.iter().filter(|group| !group.title.is_empty()) {
        text += &format!("{}:\n", group.title);
        for entry in group.entries {
            text += &format!("  {:<12}{}\n", entry.name, entry.about);
        }
        text.push('\n');
    }
    text += "Management Commands:\n";
    for group in &MANAGEMENT {
        text += &format!("  {:<12}{}\n", group.title, group.about);
    }
    text
}

/// Parses the arguments and runs the command.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Outcome<u8> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let environment = Environment::of_process();
    let early = early::monitor(&arguments, &environment);
    let matches = match command_for(&arguments).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return not_parsed(&error),
    };
    if matches.get_flag("version") {
        ui::out(&format!("lamina version {}\n", commands::VERSION))?;
        return Ok(exit_codes::SUCCESS);
    }
    let app = App::new(&matches, environment, early);
    let Some((name, inner)) = matches.subcommand() else {
        ui::out(&command().render_help().to_string())?;
        return Ok(exit_codes::SUCCESS);
    };
    let top = GROUPS.iter().flat_map(|group| group.entries);
    if let Some(entry) = top.into_iter().find(|entry| entry.name == name) {
        return (entry.run)(inner, &app);
    }
    let group = MANAGEMENT.iter().find(|group| group.title == name);
    let (group, (verb, inner)) = group
        .zip(inner.subcommand())
        .ok_or_else(|| Failure::usage(format!("unknown command: lamina {name}")))?;
    match group.entries.iter().find(|entry| entry.name == verb) {
        Some(entry) => (entry.run)(inner, &app),
        None => Err(Failure::usage(format!(
            "unknown command: lamina {name} {verb}"
        ))),
    }
}

/// Help that was asked for is data; anything else is a mistake in the arguments.
fn not_parsed(error: &clap::Error) -> Outcome<u8> {
    match error.kind() {
        ClapKind::DisplayHelp | ClapKind::DisplayVersion => {
            ui::out(&error.render().to_string())?;
            Ok(exit_codes::SUCCESS)
        }
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // As in Docker, a group without a command shows what it has.
            ui::err(&error.render().to_string());
            Ok(exit_codes::SUCCESS)
        }
        _ => Err(mistake(&error.render().to_string()).exits(code_of(error))),
    }
}

/// As Docker has it: a flag that is unknown or has a value that makes no sense is one thing, the
/// wrong number of other arguments, or no such command, another.
fn code_of(error: &clap::Error) -> u8 {
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(about)) => about.as_str(),
        Some(ContextValue::Strings(about)) => about.first().map_or("", String::as_str),
        _ => "",
    };
    match error.kind() {
        ClapKind::ValueValidation | ClapKind::InvalidValue => exit_codes::ENGINE,
        _ if about.starts_with('-') => exit_codes::ENGINE,
        _ => exit_codes::FAILED,
    }
}

/// Brings clap's message to the form of all errors: its first paragraph, its tips as hints.
fn mistake(message: &str) -> Failure {
    let (mut words, mut hints) = (Vec::new(), Vec::new());
    for line in message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if let Some(tip) = line.strip_prefix("tip: ") {
            // Nobody who mistyped a flag of ours means it for the program.
            if !tip.starts_with("to pass ") {
                hints.push(tip.to_owned());
            }
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            hints.push(format!("usage: {usage}"));
        } else if !line.starts_with("For more information") {
            words.push(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    hints
        .iter()
        .fold(Failure::usage(words.join(" ")), |failure, hint| {
            failure.hint(hint)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        let mut command = command();
        command.build();
        command.debug_assert();
    }

    #[test]
    fn every_command_stands_in_the_summary() {
        let summary = summary();
        for name in ["run", "create", "inspect", "images", "version", "container"] {
            assert!(summary.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
