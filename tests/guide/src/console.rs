//! Runs the commands of a section in one shell.

use std::io::Write as _;
use std::process::{Command as Process, Stdio};

use lamina_testkit::Host;
use libtest_mimic::Failed;

use crate::page::Command;

/// Stands between the outputs of two commands; nothing else prints it.
const MARK: &str = "\u{1}--lamina-guide--";

/// Returns the lines each command printed, on stdout and stderr together as a terminal shows
/// them.
pub fn run(commands: &[Command]) -> Result<Vec<Vec<String>>, Failed> {
    let host = Host::new();
    let folder = host.folder().join("cwd");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut script = String::from("exec 2>&1\n");
    for command in commands {
        script.push_str(&command.text);
        script.push_str(&format!("\nprintf '{MARK}\\n'\n"));
    }
    // A file and not stdin, so that no command can read the script as its input.
    let path = host.folder().join("section.sh");
    write(&path, &script)?;
    let mut shell = Process::new("bash");
    host.environment(&mut shell);
    let output = shell
        .arg(&path)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    host.remove_containers();
    host.lamina(&["volume", "prune", "-a", "-f", "--now"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts: Vec<Vec<String>> = text
        .split(MARK)
        .map(|part| {
            part.strip_prefix('\n')
                .unwrap_or(part)
                .lines()
                .map(str::to_owned)
                .collect()
        })
        .collect();
    parts.pop();
    if parts.len() != commands.len() {
        return Err(Failed::from(format!("the shell ended early: {text}")));
    }
    host.sweep();
    Ok(parts)
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failed> {
    let mut file = std::fs::File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    file.write_all(text.as_bytes())
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}
