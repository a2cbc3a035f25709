//! `__tidy`: ending the time of what was removed, where nobody waits for it.
//!
//! Commands that change the store start it, detached, when they have shown their result and found
//! that there is something to do. It runs at idle priority, and only one of it at a time.

use std::ffi::CString;
use std::os::fd::AsFd;

use lamina_engine::Engine;
use lamina_fs::{Lock, Rank};
use lamina_store::Area;
use lamina_sys::detached::{Detached, spawn};
use lamina_sys::priority::become_idle;
use lamina_sys::signals::{SignalSet, set_blocked};
use lamina_types::ErrorKind;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::app::App;
use crate::args::TidyArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Of several such processes one does the work.
const LOCK: &str = "idle";

impl App {
    /// Frees what was removed, by this command or by one that was killed: the last thing a command
    /// that takes or gives back space does, its result being shown. The names are gone already, so
    /// a failure is only told.
    pub(crate) fn tidy(&self, engine: &Engine) {
        let store = engine.store();
        // What is past its time may be much, and nobody waits for it.
        if let Ok(true) = store.removed().is_due(&engine.config().window) {
            // Where it cannot be started, the next command tries again.
            let _ = self.tidy_behind();
        }
        if let Err(error) = store.empty_trash() {
            let kind = error.kind();
            ui::err(&Failure::new(error, kind).render());
        }
    }

    fn tidy_behind(&self) -> Option<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = openat(CWD, c"/proc/self/exe", flags, Mode::empty()).ok()?;
        let (root, run) = (self.root.to_str()?, self.run.to_str()?);
        let words = ["lamina", "--root", root, "--run-root", run, "__tidy"];
        let variables = ["HOME", "XDG_CONFIG_HOME"].into_iter().filter_map(|name| {
            let value = self.environment.variable(name)?;
            Some(format!("{name}={}", value.to_str()?))
        });
        let text = |words: Vec<String>| -> Option<Vec<CString>> {
            words
                .into_iter()
                .map(|word| CString::new(word).ok())
                .collect()
        };
        let words = text(words.map(str::to_owned).to_vec())?;
        let variables = text(variables.collect())?;
        let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
        let variables: Vec<_> = variables.iter().map(CString::as_c_str).collect();
        spawn(&Detached {
            program: program.as_fd(),
            argv: &words,
            environment: &variables,
            descriptors: &[],
        })
        .ok()
    }
}

impl Verb for TidyArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        // Whoever started this had every signal blocked for it.
        let _ = set_blocked(&SignalSet::empty());
        let _ = become_idle();
        let engine = app.engine_configured()?;
        let store = engine.store();
        let lock = Lock::try_exclusive(store.dir(Area::Locks)?, LOCK, Rank::Removed);
        let lock = lock.map_err(|error| {
            let kind: ErrorKind = error.kind();
            Failure::new(error, kind)
        })?;
        if lock.is_none() {
            return Ok(exit_codes::SUCCESS);
        }
        store.removed().expire(&engine.config().window, false)?;
        store.empty_trash().map_err(|error| {
            let kind = error.kind();
            Failure::new(error, kind)
        })?;
        Ok(exit_codes::SUCCESS)
    }
}
