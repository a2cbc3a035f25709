//! Step records: what `--explain` shows.
//!
//! Every process of a run (CLI, monitor, init) reports the steps it really took, from the plan
//! values it applied, as [`Step`]s. They travel as JSON lines over one inherited pipe; each line
//! is shorter than `PIPE_BUF`, so lines of several writers never mix (pipe(7)).

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One thing that was done, by whom, why, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The process that did it: `lamina`, `monitor` or `init`.
    pub process: Cow<'static, str>,
    /// What was done, in a few words.
    pub what: Cow<'static, str>,
    /// Why it is done, one line, for someone who has read a tutorial.
    pub why: Cow<'static, str>,
    /// The shell command that would do the same, or empty where no command does.
    pub command: String,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

/// Collects steps, or drops them at no cost when nobody asked.
#[derive(Default)]
pub struct Explainer {
    process: &'static str,
    sink: Option<Box<dyn FnMut(Step)>>,
}

impl Explainer {
    /// Returns an explainer that drops everything: what every run without `--explain` has.
    pub fn off() -> Self {
        Self::default()
    }

    /// Returns an explainer that hands each step of `process` to `sink`.
    pub fn to(process: &'static str, sink: impl FnMut(Step) + 'static) -> Self {
        Self {
            process,
            sink: Some(Box::new(sink)),
        }
    }

    /// Returns whether anybody listens, to skip work that only describes.
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Runs `act`, and reports it as one step whether it succeeded or not.
    ///
    /// `command` is only called when somebody listens.
    pub fn step<T>(
        &mut self,
        what: &'static str,
        why: &'static str,
        command: impl FnOnce() -> String,
        act: impl FnOnce() -> T,
    ) -> T {
        if self.sink.is_none() {
            return act();
        }
        let start = Instant::now();
        let result = act();
        self.report(what, why, command(), start.elapsed());
        result
    }

    /// Reports a step that was timed by the caller.
    pub fn report(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
        command: String,
        took: Duration,
    ) {
        let process = self.process;
        if let Some(sink) = &mut self.sink {
            sink(Step {
                process: process.into(),
                what: what.into(),
                why: why.into(),
                command,
                took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            });
        }
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer")
            .field("process", &self.process)
            .field("on", &self.is_on())
            .finish()
    }
}
