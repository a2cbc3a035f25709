//! `logs`.

use std::io::{self, Write};

use jiff::Timestamp;
use lamina_engine::LogsOptions;
use lamina_monitor::Time;
use lamina_monitor::log::Stream;
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::LogsArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, parse_moment};

impl Verb for LogsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = LogsOptions {
            tail: tail(&self.tail)?,
            since: moment(self.since.as_deref())?,
            until: moment(self.until.as_deref())?,
            follow: self.follow,
        };
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        for entry in engine.logs(&id, options).map_err(Failure::from)? {
            let entry = entry.map_err(Failure::from)?;
            let stamp = match self.timestamps {
                true => format!("{} ", entry.time),
                false => String::new(),
            };
            write(entry.stream, &(stamp + &entry.content))?;
        }
        Ok(exit_codes::SUCCESS)
    }
}

/// Writes what the program wrote, where it wrote it: its own bytes, as if it ran here.
fn write(stream: Stream, text: &str) -> Outcome {
    match stream {
        Stream::Stdout => ui::out(text),
        Stream::Stderr => io::stderr()
            .write_all(text.as_bytes())
            .map_err(|_| Failure::printed().exits(exit_codes::BROKEN_PIPE)),
    }
}

fn tail(text: &str) -> Outcome<Option<u64>> {
    match text {
        "all" | "-1" => Ok(None),
        number => number.parse().map(Some).map_err(|_| {
            Failure::usage(format!(
                "invalid argument {number:?} for --tail: expected a number of lines, or all"
            ))
        }),
    }
}

fn moment(text: Option<&str>) -> Outcome<Option<Time>> {
    let Some(text) = text else { return Ok(None) };
    let moment = parse_moment(text, Timestamp::now()).map_err(|error| {
        Failure::new(error, ErrorKind::InvalidArgument).exits(exit_codes::ENGINE)
    })?;
    Ok(Some(Time::from_timestamp(moment)))
}
