//! The progress of pulls, pushes and loads: a bar per layer on a terminal, lines otherwise, or JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lamina_image::Phase;
use lamina_types::Digest;
use lamina_types::quantity::human_size;

use super::{escape, streams};
use crate::args::ProgressArg;

/// How often one layer is reported to a machine.
const JSON_INTERVAL: Duration = Duration::from_millis(100);

/// Shows the progress of one operation.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing is shown.
    Quiet,
    /// Bars on a terminal.
    Bars(Bars),
    /// A line whenever a layer comes to another phase.
    Lines(Mutex<BTreeMap<Digest, &'static str>>),
    /// JSON objects, one a line.
    Json(Mutex<BTreeMap<Digest, (&'static str, Instant)>>),
}

/// The bars of one operation.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    layers: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Progress {
    /// Returns the progress that was asked for; `auto` looks at the terminal.
    pub(crate) fn new(wanted: ProgressArg, fancy: bool) -> Self {
        match wanted {
            ProgressArg::None => Self::Quiet,
            ProgressArg::Json => Self::Json(Mutex::default()),
            ProgressArg::Auto if fancy && streams::err_is_terminal() => Self::Bars(Bars {
                all: MultiProgress::new(),
                layers: Mutex::default(),
            }),
            ProgressArg::Auto | ProgressArg::Plain => Self::Lines(Mutex::default()),
        }
    }
}

impl lamina_image::Progress for Progress {
    fn layer(&self, digest: &Digest, phase: Phase) {
        let (word, done, total) = describe(phase);
        match self {
            Self::Quiet => {}
            Self::Bars(bars) => bars.show(digest, phase),
            Self::Lines(known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.insert(digest.clone(), word) != Some(word) {
                    streams::err(&format!("{}: {word}\n", digest.short()));
                }
            }
            Self::Json(known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                let due = known.get(digest).is_none_or(|(last, when)| {
                    *last != word || now.duration_since(*when) >= JSON_INTERVAL
                });
                if due {
                    known.insert(digest.clone(), (word, now));
                    let line = serde_json::json!({
                        "id": digest.short(), "status": word,
                        "progressDetail": {"current": done, "total": total},
                    });
                    streams::err(&format!("{line}\n"));
                }
            }
        }
    }

    fn note(&self, text: &str) {
        match self {
            Self::Quiet => {}
            // Written between the bars, which are drawn again below it.
            Self::Bars(bars) => bars
                .all
                .suspend(|| streams::err(&format!("{}\n", escape(text)))),
            Self::Lines(_) => streams::err(&format!("{}\n", escape(text))),
            Self::Json(_) => {
                streams::err(&format!("{}\n", serde_json::json!({ "status": text })));
            }
        }
    }
}

impl Bars {
    fn show(&self, digest: &Digest, phase: Phase) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = layers.entry(digest.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::no_length());
            bar.set_prefix(digest.short().to_owned());
            bar.set_style(plain_style());
            bar
        });
        let (word, done, total) = describe(phase);
        if bar.message() != word {
            bar.set_message(word);
            let amounts = total > 0 && !is_over(phase);
            bar.set_style(if amounts { bar_style() } else { plain_style() });
        }
        bar.set_length(total);
        bar.set_position(done);
        if is_over(phase) {
            bar.abandon_with_message(word);
        }
    }
}

fn is_over(phase: Phase) -> bool {
    use Phase::{Complete, Exists, Mounted, Present, Pushed};
    matches!(phase, Complete | Exists | Mounted | Present | Pushed)
}

/// Docker's words.
fn describe(phase: Phase) -> (&'static str, u64, u64) {
    match phase {
        Phase::Waiting => ("Waiting", 0, 0),
        Phase::Downloading { done, total } => ("Downloading", done, total),
        Phase::Extracting { done, total } => ("Extracting", done, total),
        Phase::Preparing => ("Preparing", 0, 0),
        Phase::Compressing { done } => ("Compressing", done, 0),
        Phase::Pushing { done, total } => ("Pushing", done, total),
        Phase::Mounted => ("Mounted", 0, 0),
        Phase::Present => ("Layer already exists", 0, 0),
        Phase::Pushed => ("Pushed", 0, 0),
        Phase::Exists => ("Already exists", 0, 0),
        Phase::Complete => ("Pull complete", 0, 0),
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg} [{bar:40}] {done}/{all}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "done",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&human_size(state.pos()));
            },
        )
        .with_key(
            "all",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&human_size(state.len().unwrap_or(0)));
            },
        )
        .progress_chars("=> ")
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The last frame stays on the screen; what follows begins on a line of its own.
        let _ = std::io::stderr().flush();
    }
}
