//! `generate systemd`: units that start containers at boot (systemd.unit(5), systemd.service(5)).
//!
//! A container is not in its unit's control group, and needs not be: what the unit runs is `start
//! -a`, which ends as the container does, with its exit code.

use std::path::Path;

use lamina_fs::{Dir, Durability};
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::GenerateSystemdArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::environment::{DEFAULT_ROOT, DEFAULT_RUN};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Beyond the time that the container has: for the kill, and for what follows on the end.
const GRACE: u64 = 10;

impl Verb for GenerateSystemdArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let lamina = command(app)?;
        let (name, unit) = match &self.container {
            Some(container) => self.of_container(app, &lamina, container)?,
            None => ("lamina-restart".to_owned(), all_restart(&lamina)),
        };
        if !self.files {
            ui::out(&unit)?;
            return Ok(exit_codes::SUCCESS);
        }
        let (folder, file) = (app.working_directory()?, format!("{name}.service"));
        let path = folder.join(&file);
        let written = Dir::open(folder)
            .and_then(|dir| dir.replace(file, unit.as_bytes(), 0o644, Durability::Durable));
        written.map_err(|error| {
            let kind = error.kind();
            Failure::new(error, kind)
        })?;
        ui::out(&format!("{}\n", path.display()))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl GenerateSystemdArgs {
    /// Returns the name of a container's unit, and the unit.
    fn of_container(&self, app: &App, lamina: &str, container: &str) -> Outcome<(String, String)> {
        let engine = app.engine()?;
        let id = find(&engine, container)?;
        let found = engine.inspect(&id).map_err(Failure::from)?;
        let found = serde_json::to_value(found).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let called = text(&found["Name"]);
        let called = called.trim_start_matches('/');
        let called = if self.name { called } else { id.as_str() };
        let own = match self.stop_timeout {
            Some(seconds) => Some(u64::from(seconds)),
            None => {
                let own = engine.stop_timeout(&id).map_err(Failure::from)?;
                own.map(|time| time.as_secs())
            }
        };
        let policy = match &self.restart_policy {
            Some(policy) => policy,
            // Its monitor starts it again, and the client stays over that.
            None if text(&found["HostConfig"]["RestartPolicy"]["Name"]) != "no" => "no",
            None => "on-failure",
        };
        let seconds = own.map_or("-1".to_owned(), |seconds| seconds.to_string());
        let patience = own.map_or("infinity".to_owned(), |own| (own + GRACE).to_string());
        let pause = self
            .restart_sec
            .map(|pause| format!("RestartSec={pause}\n"));
        let unit = format!(
            "# Made by `lamina generate systemd`.\n\
             [Unit]\n\
             Description=Container {called}\n\
             Wants=network-online.target\n\
             After=network-online.target local-fs.target\n\
             \n\
             [Service]\n\
             ExecStart={lamina} start -a {called}\n\
             ExecStop={lamina} stop -t {seconds} {called}\n\
             Restart={policy}\n\
             {}SuccessExitStatus=143\n\
             TimeoutStopSec={patience}\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            pause.unwrap_or_default()
        );
        Ok((format!("container-{called}"), unit))
    }
}

/// Returns the one unit for all of them. What it has started does not end with it.
fn all_restart(lamina: &str) -> String {
    format!(
        "# Made by `lamina generate systemd`.\n\
         [Unit]\n\
         Description=Containers whose restart policy starts them at boot\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={lamina} start --all-restart\n\
         KillMode=process\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// Returns how this program is called for the same containers, as a unit quotes it.
fn command(app: &App) -> Outcome<String> {
    let binary = app.environment.binary().map_err(|error| {
        let kind = ErrorKind::of_io(&error);
        Failure::said(kind, format!("find this program: {error}"))
    })?;
    let mut command = quoted(&binary);
    let places = [
        ("--root", &app.root, DEFAULT_ROOT),
        ("--run-root", &app.run, DEFAULT_RUN),
    ];
    for (option, path, usual) in places {
        if path != Path::new(usual) {
            command += &format!(" {option} {}", quoted(path));
        }
    }
    Ok(command)
}

/// Quotes a path as systemd.service(5) has it, "Command lines".
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_units() {
        for (path, expected) in [
            ("/usr/bin/lamina", "/usr/bin/lamina"),
            ("/a b", "\"/a b\""),
            ("/50%/$x\"\\", "\"/50%%/$$x\\\"\\\\\""),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }
}
