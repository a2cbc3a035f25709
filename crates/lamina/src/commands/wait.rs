//! `wait`.

use std::time::Duration;

use lamina_engine::Engine;
use lamina_types::{ContainerId, ErrorKind};
use serde_json::Value;

use crate::app::App;
use crate::args::WaitArgs;
use crate::cli::Verb;
use crate::commands::containers::each;
use crate::failure::{Failure, Outcome};

/// How soon to look again where nobody tells of what is waited for: the monitor was killed, or is
/// about to write its record.
const INTERVAL: Duration = Duration::from_millis(50);

impl Verb for WaitArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        each(app, &self.containers, |engine, id| {
            let code = match self.condition.as_str() {
                "next-exit" => {
                    begun(engine, id)?;
                    ended(app, engine, id)?
                }
                "removed" => removed(app, engine, id)?,
                "healthy" => {
                    healthy(engine, id)?;
                    // As Podman, where nothing has ended.
                    return Ok(Some("-1".to_owned()));
                }
                _ => ended(app, engine, id)?,
            };
            Ok(Some(code.to_string()))
        })
    }
}

fn state(engine: &Engine, id: &ContainerId) -> Outcome<Value> {
    let inspect = engine.inspect(id).map_err(Failure::from)?;
    Ok(serde_json::to_value(inspect).unwrap_or_default()["State"].take())
}

/// Waits until a container does not run; returns its exit code.
fn ended(app: &App, engine: &Engine, id: &ContainerId) -> Outcome<u64> {
    let bundle = app.run.join("containers").join(id.as_str());
    loop {
        engine.supervise(id).map_err(Failure::from)?;
        if let Ok(mut session) = lamina_monitor::connect(&bundle)
            && let Ok(exit) = session.wait()
        {
            return Ok(exit.code.into());
        }
        let state = state(engine, id)?;
        if state["Running"] != true {
            return Ok(state["ExitCode"].as_u64().unwrap_or(0));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until a container runs, or has run since this began.
fn begun(engine: &Engine, id: &ContainerId) -> Outcome {
    let before = state(engine, id)?;
    loop {
        let now = state(engine, id)?;
        if now["Running"] == true || now["StartedAt"] != before["StartedAt"] {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until a container is healthy, now or after a restart.
fn healthy(engine: &Engine, id: &ContainerId) -> Outcome {
    engine.has_healthcheck(id).map_err(Failure::from)?;
    while state(engine, id)?["Health"]["Status"] != "healthy" {
        engine.supervise(id).map_err(Failure::from)?;
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Waits until a container is gone; returns the last exit code that was seen.
fn removed(app: &App, engine: &Engine, id: &ContainerId) -> Outcome<u64> {
    let mut code = 0;
    loop {
        match ended(app, engine, id) {
            Ok(ended) => code = ended,
            Err(failure) if failure.kind() == ErrorKind::NotFound => return Ok(code),
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(INTERVAL);
    }
}
