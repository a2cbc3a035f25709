//! `stats`.

use std::thread::sleep;
use std::time::Duration;

use lamina_engine::{Engine, Sample};
use lamina_types::quantity::{binary_size, human_size};
use lamina_types::{ContainerId, ErrorKind};
use serde_json::{Map, Value};

use crate::app::App;
use crate::args::StatsArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

/// Over how long CPU use is measured at first, so that there are figures soon.
const FIRST: Duration = Duration::from_millis(100);
/// CPU use is then measured over this time, and shown anew as often.
const INTERVAL: Duration = Duration::from_secs(1);

const COLUMNS: [Column; 9] = [
    column("Container", "CONTAINER"),
    column("ID", "CONTAINER ID"),
    column("Name", "NAME"),
    column("CPUPerc", "CPU %"),
    column("MemUsage", "MEM USAGE / LIMIT"),
    column("MemPerc", "MEM %"),
    column("NetIO", "NET I/O"),
    column("BlockIO", "BLOCK I/O"),
    column("PIDs", "PIDS"),
];
const TABLE: [&str; 8] = [
    "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
];

const fn column(field: &'static str, header: &'static str) -> Column {
    Column { field, header }
}

impl Verb for StatsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let format = Format::parse(self.format.as_deref(), &TABLE).map_err(bad_format)?;
        let engine = app.engine()?;
        let mut before = self.samples(&engine)?;
        let mut interval = FIRST;
        loop {
            sleep(interval);
            interval = INTERVAL;
            let now = self.samples(&engine)?;
            let rows: Vec<Map<String, Value>> = now
                .iter()
                .map(|(typed, sample)| {
                    let earlier = before.iter().find(|(_, other)| other.id == sample.id);
                    self.row(typed, sample, earlier.map(|(_, sample)| sample))
                })
                .collect();
            let text = format.render(&COLUMNS, &rows).map_err(bad_format)?;
            if self.no_stream {
                ui::out(&text)?;
                return Ok(exit_codes::SUCCESS);
            }
            ui::out(&frame(&text))?;
            if now.is_empty() && !self.containers.is_empty() {
                // All that were asked for are gone.
                return Ok(exit_codes::SUCCESS);
            }
            before = now;
        }
    }
}

/// Draws over what was drawn before, as Docker does: home, each line cleared to its end, the rest
/// of the screen cleared.
fn frame(text: &str) -> String {
    let mut frame = "\u{1b}[H".to_owned();
    for line in text.lines() {
        frame += &format!("{line}\u{1b}[K\n");
    }
    frame + "\u{1b}[J"
}

impl StatsArgs {
    /// Looks at the containers that are asked for, each with what was typed for it.
    fn samples(&self, engine: &Engine) -> Outcome<Vec<(String, Sample)>> {
        let mut chosen: Vec<(String, ContainerId)> = Vec::new();
        if self.containers.is_empty() {
            let list = engine.list(self.all).map_err(Failure::from)?;
            chosen.extend(list.into_iter().map(|one| (one.id.to_string(), one.id)));
        }
        for name in &self.containers {
            chosen.push((name.clone(), find(engine, name)?));
        }
        let mut samples = Vec::new();
        for (typed, id) in chosen {
            match engine.sample(&id).map_err(Failure::from) {
                Ok(sample) => samples.push((typed, sample)),
                Err(failure) if failure.kind() == ErrorKind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(samples)
    }

    fn row(&self, typed: &str, sample: &Sample, before: Option<&Sample>) -> Map<String, Value> {
        let pair = |(a, b): (u64, u64)| format!("{} / {}", human_size(a), human_size(b));
        let limit = if sample.memory_limit == 0 {
            1
        } else {
            sample.memory_limit
        };
        // In hundredths of a percent, which a number of 64 bits holds for any memory.
        let share = u128::from(sample.memory) * 10_000 / u128::from(limit);
        let memory = (binary_size(sample.memory), binary_size(sample.memory_limit));
        let cpu = before.map_or(0.0, |before| sample.cpu_percent(before));
        let id = match self.no_trunc {
            true => sample.id.to_string(),
            false => sample.id.short().to_owned(),
        };
        Map::from_iter([
            ("Container".to_owned(), typed.into()),
            ("ID".to_owned(), id.into()),
            ("Name".to_owned(), sample.name.to_string().into()),
            ("CPUPerc".to_owned(), format!("{cpu:.2}%").into()),
            (
                "MemUsage".to_owned(),
                format!("{} / {}", memory.0, memory.1).into(),
            ),
            (
                "MemPerc".to_owned(),
                format!("{}.{:02}%", share / 100, share % 100).into(),
            ),
            ("NetIO".to_owned(), pair(sample.network).into()),
            ("BlockIO".to_owned(), pair(sample.block).into()),
            ("PIDs".to_owned(), sample.pids.to_string().into()),
        ])
    }
}
