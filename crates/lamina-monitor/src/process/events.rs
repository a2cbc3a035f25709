//! What is told of the container's start and end, see [`crate::events`].
//!
//! The monitor tells what belongs to a run, and not the command that began it: one writer, so that
//! the end never stands before the start, and none of it is on the command's way.

use std::mem;

use lamina_types::ContainerName;

use super::supervise::Supervisor;
use crate::config::EventsConfig;
use crate::events::{Event, Journal, Kind};
use crate::health::HealthStatus;
use crate::record::ExitRecord;

impl Supervisor {
    /// Tells that the program runs, with all that was done before.
    pub(super) fn note_start(&mut self) {
        let id = self.config.id.to_string();
        let Some(events) = &mut self.config.events else {
            return;
        };
        let mut told = mem::take(&mut events.before);
        let starts = events.start.iter().map(|action| {
            let start = event(events, action, &id);
            match self.state.started_at {
                Some(time) => start.at(time),
                None => start,
            }
        });
        told.extend(starts);
        Journal::new(&events.dir).append(&told);
    }

    /// Tells how the run ended. What never ran is told of by the command that tried to start it,
    /// which knows why.
    pub(super) fn note_end(&self, record: &ExitRecord) {
        let (Some(events), Some(started)) = (&self.config.events, record.started_at) else {
            return;
        };
        let id = self.config.id.to_string();
        let end = event(events, &events.end, &id)
            .at(record.finished_at)
            .with("exitCode", record.code.to_string());
        if self.config.joins.is_some() {
            Journal::new(&events.dir).append(&[end]);
            return;
        }
        let ran = record
            .finished_at
            .timestamp()
            .duration_since(started.timestamp());
        let mut end = end
            .with("execDuration", ran.as_secs().to_string())
            .with("reason", reason(record));
        if let Some(signal) = record.signal {
            end = end.with("signal", signal.to_string());
        }
        let oom = event(events, "oom", &id).at(record.finished_at);
        let told = record.oom_killed.then_some(oom).into_iter().chain([end]);
        Journal::new(&events.dir).append(&told.collect::<Vec<_>>());
    }

    /// Tells how much output the log could not take: as soon as that happens, and with the sum when
    /// it takes output again. The same full disk may have no room for the word either.
    pub(super) fn note_loss(&mut self) {
        let lost = self.log.lost();
        let is_failing = self.log.is_failing();
        if lost == self.state.log_bytes_lost || is_failing && self.is_loss_tried {
            return;
        }
        self.is_loss_tried = is_failing;
        let told = mem::replace(&mut self.state.log_bytes_lost, lost);
        if self.publish_state().is_err() {
            self.state.log_bytes_lost = told;
            return;
        }
        if let Some(events) = &self.config.events {
            let lost = event(events, "log_lost", &self.config.id.to_string())
                .with("bytes", (lost - told).to_string());
            Journal::new(&events.dir).append(&[lost]);
        }
    }

    /// Tells what the container has become by its health checks.
    pub(super) fn note_health(&self, status: HealthStatus) {
        if let Some(events) = &self.config.events {
            let action = format!("health_status: {}", status.as_str());
            let told = event(events, &action, &self.config.id.to_string());
            Journal::new(&events.dir).append(&[told]);
        }
    }

    /// Tells that a client has removed the container.
    pub(super) fn note_removal(&self) {
        if let Some(events) = &self.config.events {
            let destroyed = event(events, "destroy", &self.config.id.to_string());
            Journal::new(&events.dir).append(&[destroyed]);
        }
    }

    /// Takes in that the container has got another name.
    pub(super) fn rename(&mut self, name: &ContainerName) {
        if let Some(events) = &mut self.config.events {
            events
                .attributes
                .insert("name".to_owned(), name.to_string());
        }
    }
}

fn event(events: &EventsConfig, action: &str, id: &str) -> Event {
    Event::now(Kind::Container, action, id, events.attributes.clone())
}

/// Why a run ended, in a word.
fn reason(record: &ExitRecord) -> &'static str {
    match record {
        ExitRecord {
            oom_killed: true, ..
        } => "oom",
        ExitRecord {
            signal: Some(_), ..
        } => "signal",
        ExitRecord { unknown: true, .. } => "unknown",
        _ => "exited",
    }
}
