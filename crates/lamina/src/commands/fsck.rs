//! `fsck`: what is wrong in the store, and mending it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lamina_engine::{Diagnosis, Engine, OpenError};
use lamina_image::{Mended, Remedy};
use lamina_store::{CheckOptions, CheckProgress, Fault, Owner, Store};
use lamina_sys::priority::become_idle;
use lamina_types::quantity::human_size;
use serde_json::{Value, json};

use crate::app::{App, Pulling};
use crate::args::{FsckArgs, ProgressArg};
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Progress};

/// How often somebody at a terminal is told how far it has come.
const OFTEN: Duration = Duration::from_millis(100);
/// How often a log is.
const SELDOM: Duration = Duration::from_secs(10);

impl Verb for FsckArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let restored = self.restore_meta(app)?;
        let engine = app.engine_with(&app.config()?, Pulling::default())?;
        let fancy = app.environment.fancy() && ui::err_is_terminal();
        let watch = Watch::new(self.quiet, fancy);
        let hinted = |error| with_hints(Failure::from(error), About::Store);
        let checked = engine.check(self.options(), &|progress| watch.show(progress));
        let mut diagnoses = checked.map_err(hinted)?;
        let seen = watch.end();
        if self.repair && !diagnoses.is_empty() {
            let wanted = ProgressArg::Auto.unless(self.quiet);
            let progress = Progress::new(wanted, app.environment.fancy());
            engine.mend(&mut diagnoses, &progress).map_err(hinted)?;
        }
        let report = Report {
            names: container_names(&engine)?,
            diagnoses,
            restored,
            seen,
        };
        let text = match &*self.format {
            "json" => format!("{}\n", report.document()),
            _ => ui::escape_lines(&report.text()).into_owned(),
        };
        ui::out(&text)?;
        if self.repair {
            app.tidy(&engine);
        }
        match report.is_clean() {
            true => Ok(exit_codes::SUCCESS),
            false => Ok(exit_codes::DAMAGED),
        }
    }
}

impl FsckArgs {
    /// Returns what is to be looked at; from here on the check is as idle as it was asked to be.
    fn options(&self) -> CheckOptions {
        if self.idle {
            // Where the kernel refuses, it is an ordinary check.
            let _ = become_idle();
        }
        let threads = CheckOptions::default().threads;
        CheckOptions {
            contents: !self.quick,
            threads: self.threads.map_or(threads, usize::from),
        }
    }

    /// A store whose `meta.json` is damaged cannot be opened at all; with `--repair` it is written
    /// anew first. Returns whether it was.
    fn restore_meta(&self, app: &App) -> Outcome<bool> {
        if !self.repair {
            return Ok(false);
        }
        let restored = Store::restore_meta(&app.root).map_err(OpenError::from);
        restored.map_err(|error| with_hints(Failure::from(error), About::Store))
    }
}

/// Containers are known by their names.
fn container_names(engine: &Engine) -> Outcome<BTreeMap<String, String>> {
    let uses = engine.container_uses()?.into_iter();
    let named = uses.filter(|one| !one.name.is_empty());
    Ok(named.map(|one| (one.id.to_string(), one.name)).collect())
}

/// What is said at the end.
struct Report {
    names: BTreeMap<String, String>,
    diagnoses: Vec<Diagnosis>,
    /// Whether the store could not be opened before.
    restored: bool,
    seen: CheckProgress,
}

impl Report {
    /// Whether nothing is damaged, or nothing any more.
    fn is_clean(&self) -> bool {
        self.diagnoses
            .iter()
            .all(|one| one.finding.fault.is_note() || matches!(one.mended, Some(Mended::Repaired)))
    }

    fn owner(&self, owner: &Owner) -> String {
        match owner {
            Owner::Container(id) => match self.names.get(id) {
                Some(name) => format!("container {name}"),
                None => owner.to_string(),
            },
            other => other.to_string(),
        }
    }

    fn line(&self, one: &Diagnosis) -> String {
        let finding = &one.finding;
        let affects: Vec<String> = finding
            .affects
            .iter()
            .map(|owner| self.owner(owner))
            .collect();
        let affects = match affects.is_empty() {
            true => "nobody".to_owned(),
            false => affects.join(", "),
        };
        let (fault, subject) = (finding.fault.name(), &finding.subject);
        let (detail, end) = (&finding.detail, ending(one));
        format!("{fault} {subject}: {detail}; affects {affects}; {end}\n")
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if self.restored {
            text += "document meta.json: it was damaged; affects the whole store; repaired\n";
        }
        let lines = self.diagnoses.iter().map(|one| self.line(one));
        text.extend(lines);
        let notes = self
            .diagnoses
            .iter()
            .filter(|one| one.finding.fault.is_note());
        let notes = notes.count();
        let repaired = |one: &&Diagnosis| matches!(one.mended, Some(Mended::Repaired));
        let repaired = self.diagnoses.iter().filter(repaired).count();
        let damaged = self.diagnoses.len() - notes;
        let read = human_size(self.seen.bytes);
        text += &match (damaged, repaired) {
            (0, _) => format!("clean: {read} read\n"),
            (damaged, 0) => format!("{damaged} findings, {read} read\n"),
            (damaged, repaired) => {
                format!("{damaged} findings, {repaired} repaired, {read} read\n")
            }
        };
        text
    }

    fn document(&self) -> Value {
        let findings = self.diagnoses.iter().map(|one| {
            let finding = &one.finding;
            let affects = finding.affects.iter().map(|owner| self.owner(owner));
            let outcome = one.mended.as_ref().map(|mended| match mended {
                Mended::Repaired => ("repaired", ""),
                Mended::Dropped(reason) => ("dropped", reason.as_str()),
                Mended::Left(reason) => ("left", reason.as_str()),
            });
            json!({
                "Kind": finding.fault.name(),
                "Subject": finding.subject.to_string(),
                "Detail": finding.detail,
                "Note": finding.fault.is_note(),
                "Affects": affects.collect::<Vec<_>>(),
                "Remedy": one.remedy.name(),
                "RemedyText": one.remedy.to_string(),
                "Outcome": outcome.map(|(word, _)| word),
                "Reason": outcome.map(|(_, reason)| reason),
            })
        });
        json!({
            "Clean": self.is_clean(),
            "Restored": self.restored,
            "Checked": self.seen.done,
            "BytesRead": self.seen.bytes,
            "Findings": findings.collect::<Vec<_>>(),
        })
    }
}

/// What will be done, or was done, about a finding.
fn ending(one: &Diagnosis) -> String {
    let pull = || {
        let names = one.finding.affects.iter().filter_map(|owner| match owner {
            Owner::Image(name) => Some(name.familiar()),
            _ => None,
        });
        names
            .take(1)
            .map(|name| format!("; lamina pull {name} brings it back"))
            .collect::<String>()
    };
    match &one.mended {
        None => match (&one.remedy, one.finding.fault) {
            (Remedy::Command(command), fault) if fault != Fault::Unverified => {
                format!("{command} removes it")
            }
            (remedy, _) => remedy.to_string(),
        },
        Some(Mended::Repaired) => "repaired".to_owned(),
        Some(Mended::Dropped(reason)) => format!("dropped: {reason}{}", pull()),
        Some(Mended::Left(reason)) => format!("left: {reason}{}", pull()),
    }
}

/// Tells how far it has come, on stderr.
struct Watch {
    quiet: bool,
    fancy: bool,
    last: Mutex<(Instant, CheckProgress)>,
}

impl Watch {
    fn new(quiet: bool, fancy: bool) -> Self {
        Self {
            quiet,
            fancy,
            last: Mutex::new((Instant::now(), CheckProgress::default())),
        }
    }

    fn show(&self, progress: CheckProgress) {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if progress.done > last.1.done {
            last.1 = progress;
        }
        let pause = if self.fancy { OFTEN } else { SELDOM };
        if self.quiet || last.0.elapsed() < pause {
            return;
        }
        last.0 = Instant::now();
        let (start, end) = if self.fancy {
            ("\r", "\u{1b}[K")
        } else {
            ("", "\n")
        };
        let (done, total) = (progress.done, progress.total);
        let read = human_size(progress.bytes);
        ui::err(&format!(
            "{start}checked {done} of {total}, {read} read{end}"
        ));
    }

    /// Clears the line; returns how much was looked at.
    fn end(&self) -> CheckProgress {
        if self.fancy && !self.quiet {
            ui::err("\r\u{1b}[K");
        }
        self.last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .1
    }
}
