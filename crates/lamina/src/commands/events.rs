//! `events`.

mod filter;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lamina_monitor::Time;
use lamina_monitor::events::{Event, EventsOptions, Kind};
use lamina_types::ErrorKind;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::EventsArgs;
use crate::cli::Verb;
use crate::commands::format::{bad_format, template};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::template::Template;
use crate::ui;

use filter::Filter;

impl Verb for EventsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let filters = Filter::parse_all(&self.filter)?;
        let template = match self.format.as_deref() {
            None | Some("" | "json") => None,
            Some(text) => Some(checked(text)?),
        };
        let now = Timestamp::now();
        let since = self.since.as_deref().map(|text| moment(text, now));
        let until = self.until.as_deref().map(|text| moment(text, now));
        let options = EventsOptions {
            since: since.transpose()?,
            until: until.transpose()?,
            follow: self.until.is_none() || !self.until_is_past(now),
        };
        let engine = app.engine()?;
        for event in engine.events(options).map_err(Failure::from)? {
            let event = event.map_err(Failure::from)?;
            if !Filter::accept(&filters, &event) {
                continue;
            }
            let line = match &template {
                Some(template) => {
                    let shown = template.render(&fields(&event)).map_err(bad_format)?;
                    ui::escape_lines(&shown).into_owned()
                }
                None if self.format.as_deref() == Some("json") => document(&event).to_string(),
                None => shown(&event),
            };
            ui::out(&(line + "\n"))?;
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl EventsArgs {
    fn until_is_past(&self, now: Timestamp) -> bool {
        let until = self
            .until
            .as_deref()
            .map(|text| ui::parse_moment(text, now));
        matches!(until, Some(Ok(until)) if until <= now)
    }
}

/// Reads a template and tries it on an event, so that a typing mistake does not wait for one.
fn checked(text: &str) -> Outcome<Template> {
    let template = template(text)?;
    let attributes = BTreeMap::from(["name", "image"].map(|name| (name.to_owned(), String::new())));
    let event = Event::now(Kind::Container, "", "", attributes);
    let tried = template.render(&fields(&event));
    match tried {
        // What an event has no attribute for, another may have.
        Err(error) if !text.contains("Attributes") => {
            Err(bad_format(error).exits(exit_codes::TEMPLATE))
        }
        _ => Ok(template),
    }
}

/// Returns an event as templates see it: under the names of the API too, and in capitals.
fn fields(event: &Event) -> Value {
    let mut document = document(event);
    if let Some(fields) = document.as_object_mut() {
        let names = ["status", "id", "from", "scope", "time", "timeNano"];
        let capitals = ["Status", "ID", "From", "Scope", "Time", "TimeNano"];
        for (name, capital) in names.into_iter().zip(capitals) {
            let value = fields.get(name).cloned().unwrap_or_else(|| "".into());
            fields.insert(capital.to_owned(), value);
        }
    }
    document
}

fn moment(text: &str, now: Timestamp) -> Outcome<Time> {
    let moment = ui::parse_moment(text, now).map_err(|_| {
        let text: String = text.chars().take(80).collect();
        let text = format!("failed to parse value as time or duration: {text:?}");
        Failure::said(ErrorKind::InvalidArgument, text).hint(
            "known are 2013-01-02T13:23:37Z, seconds since 1970, and 42m for before 42 minutes",
        )
    })?;
    Ok(Time::from_timestamp(moment))
}

/// Shows an event as Docker's line, in local time.
fn shown(event: &Event) -> String {
    let zoned = event.time.timestamp().to_zoned(TimeZone::system());
    let zone = match zoned.offset().is_zero() {
        true => "Z".to_owned(),
        false => zoned.strftime("%:z").to_string(),
    };
    let attributes = event.attributes.iter();
    let attributes: Vec<String> = attributes.map(|(k, v)| format!("{k}={v}")).collect();
    let line = format!(
        "{}{zone} {} {} {} ({})",
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.9f"),
        event.kind.as_str(),
        event.action,
        event.id,
        attributes.join(", ")
    );
    ui::escape(&line).into_owned()
}

/// Returns an event with the fields of Docker's API.
fn document(event: &Event) -> Value {
    let moment = event.time.timestamp();
    let mut document = json!({
        "Type": event.kind.as_str(),
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": moment.as_second(),
        "timeNano": i64::try_from(moment.as_nanosecond()).unwrap_or(i64::MAX),
    });
    // The names they had before there were types; templates are written with capitals.
    if let Some(fields) = document.as_object_mut() {
        if matches!(event.kind, Kind::Container | Kind::Image) {
            fields.insert("status".to_owned(), event.action.clone().into());
            fields.insert("id".to_owned(), event.id.clone().into());
        }
        if event.kind == Kind::Container {
            let image = event.attributes.get("image").cloned();
            fields.insert("from".to_owned(), image.unwrap_or_default().into());
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_shown_as_docker_shows_them() {
        let attributes = [("name", "web"), ("image", "bb"), ("a", "x\u{1b}[2J")];
        let attributes = attributes.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let time: Time = "2026-11-22T14:04:44.000000009Z".parse().unwrap();
        let event = Event::now(Kind::Container, "start", "abc", attributes.into()).at(time);
        let line = shown(&event);
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.parse::<Timestamp>().unwrap().subsec_nanosecond(), 9);
        assert_eq!(
            rest,
            "container start abc (a=x\\u{1b}[2J, image=bb, name=web)"
        );
        let document = document(&event);
        assert_eq!(document["timeNano"], 1_795_356_284_000_000_009_i64);
        assert_eq!(document["Actor"]["Attributes"]["name"], "web");
        assert_eq!(
            (&document["status"], &document["from"]),
            (&json!("start"), &json!("bb"))
        );
    }
}
