//! `info`.

use lamina_engine::Info;
use lamina_types::quantity::binary_size;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::InfoArgs;
use crate::cli::Verb;
use crate::commands::VERSION;
use crate::commands::format::render_one;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for InfoArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let config = app.config()?;
        let engine = app.engine_with(&config, crate::app::Pulling::default())?;
        let info = engine.info().map_err(Failure::from)?;
        let text = match self.format.as_deref() {
            Some(format) => render_one(format, &document(&info))?,
            None => lines(&info),
        };
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}

/// The fields under Docker's names, and those that Docker has not.
fn document(info: &Info) -> Value {
    json!({
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "ServerVersion": VERSION,
        "Driver": "overlay",
        "StorageMode": info.storage_mode,
        "StorageReason": info.storage_reason,
        "LoggingDriver": "json-file",
        "Plugins": {"Log": info.log_drivers, "Volume": ["local"], "Network": ["host", "none"]},
        "CgroupVersion": info.cgroup_version.to_string(),
        "SecurityOptions": info.security,
        "MissingProtections": info.missing,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSType": "linux",
        "Architecture": info.architecture,
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "Name": info.hostname,
        "RootDir": info.root,
        "RunDir": info.run,
        "DockerRootDir": info.root,
        "LoggingDriver": "json-file",
        "LiveRestoreEnabled": true,
        "Warnings": null,
    })
}

fn lines(info: &Info) -> String {
    let fields: [(&str, String); 19] = [
        ("Version", VERSION.to_owned()),
        ("Containers", info.containers.to_string()),
        (" Running", info.running.to_string()),
        (" Paused", info.paused.to_string()),
        (" Stopped", info.stopped.to_string()),
        ("Images", info.images.to_string()),
        ("Storage Mode", info.storage_mode.clone()),
        (" Because", info.storage_reason.clone()),
        ("Log Drivers", info.log_drivers.join(" ")),
        ("Cgroup Version", info.cgroup_version.to_string()),
        ("Security Options", info.security.join(" ")),
        ("Missing Protections", info.missing.join("; ")),
        ("Kernel Version", info.kernel.clone()),
        ("Operating System", info.operating_system.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.cpus.to_string()),
        ("Total Memory", binary_size(info.memory)),
        ("Name", info.hostname.clone()),
        ("Root Dir", info.root.display().to_string()),
    ];
    let shown = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", ui::escape(value)));
    shown
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
