//! Runs the commands of a section in one shell.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use lamina_testkit::Host;
use libtest_mimic::Failed;

use crate::page::Command;

/// Stands between the outputs of two commands; nothing else prints it.
const MARK: &str = "\u{1}--lamina-guide--";

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The lines it printed, on stdout and stderr together unless the prologue says otherwise.
    pub lines: Vec<String>,
    /// Its exit code.
    pub code: String,
}

/// Runs the commands on a host of their own and returns the lines each printed, as a terminal
/// shows them.
pub fn run(commands: &[Command]) -> Result<Vec<Vec<String>>, Failed> {
    let host = Host::new();
    let printed = run_on(&host, "exec 2>&1", commands)?;
    host.remove_containers();
    host.lamina(&["volume", "prune", "-a", "-f", "--now"]);
    host.sweep();
    Ok(printed.into_iter().map(|printed| printed.lines).collect())
}

/// Runs the commands in one shell on a host, after a line of bash that prepares it, in an empty
/// folder.
pub fn run_on(host: &Host, prologue: &str, commands: &[Command]) -> Result<Vec<Printed>, Failed> {
    let folder = host.folder().join("cwd");
    named(fs::create_dir_all(&folder), &folder)?;
    let mut script = format!("{prologue}\n");
    for command in commands {
        script.push_str(&command.text);
        script.push_str(&format!("\nprintf '{MARK}%s\\n' \"$?\"\n"));
    }
    // A file and not stdin, so that no command can read the script as its input.
    let path = host.folder().join("section.sh");
    let written = File::create(&path).and_then(|mut file| file.write_all(script.as_bytes()));
    named(written, &path)?;
    let mut shell = Process::new("bash");
    host.environment(&mut shell);
    let output = shell
        .arg(&path)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed = parts(&text);
    if printed.len() != commands.len() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(Failed::from(format!(
            "the shell ended early: {text}{complaint}"
        )));
    }
    Ok(printed)
}

/// Takes the output apart: behind each mark stands the code of the command before it.
fn parts(text: &str) -> Vec<Printed> {
    let mut parts = text.split(MARK);
    let mut lines = parts.next().unwrap_or_default();
    let mut printed = Vec::new();
    for part in parts {
        let (code, next) = part.split_once('\n').unwrap_or((part, ""));
        printed.push(Printed {
            lines: lines.lines().map(str::to_owned).collect(),
            code: code.to_owned(),
        });
        lines = next;
    }
    printed
}

fn named<T>(result: std::io::Result<T>, path: &Path) -> Result<T, Failed> {
    result.map_err(|e| Failed::from(format!("{}: {e}", path.display())))
}
