//! Telling what was done, see [`lamina_monitor::events`], and reading it.
//!
//! A command tells what it did itself once it is done; of a run that is the monitor, see
//! [`EventsConfig`]. Nothing here fails: what cannot be told is left out.

use std::collections::BTreeMap;

use lamina_image::Removed;
use lamina_monitor::events::{
    Event, EventsError, EventsOptions, EventsReader, Journal, Kind, read,
};
use lamina_monitor::{EventsConfig, Time};
use lamina_store::Area;
use lamina_types::{ContainerId, ImageId, Reference};

use crate::Engine;
use crate::container::list::labels;
use crate::container::start::StartError;
use crate::record::Record;

impl Engine {
    /// Tells what was done to something that is no container.
    pub fn note(&self, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let attributes = attributes.iter().map(own).collect();
        self.tell(&[Event::now(kind, action, id, attributes)]);
    }

    /// Tells what was done to a container, in a word of Docker's.
    pub fn note_on(&self, id: &ContainerId, action: &str) {
        if let Ok(container) = self.load_any(id) {
            self.note_container(&container.record, action, &[]);
        }
    }

    /// Tells what was done to an image, under the name that was said.
    pub fn note_image(&self, action: &str, id: &ImageId, name: Option<&str>) {
        let id = id.to_string();
        self.note(Kind::Image, action, &id, &[("name", name.unwrap_or(&id))]);
    }

    /// Tells that an image came from a registry or went to one: these know names only.
    pub fn note_transfer(&self, action: &str, name: &Reference) {
        let repository = name.familiar_repository();
        self.note(
            Kind::Image,
            action,
            &name.familiar(),
            &[("name", &repository)],
        );
    }

    /// Tells which names of an image, and which images, went; a name before its image.
    pub fn note_removed(&self, image: Option<ImageId>, removed: &[Removed]) {
        let mut image = image;
        for (index, one) in removed.iter().enumerate() {
            match one {
                Removed::Deleted(id) => self.note_image("delete", id, None),
                Removed::Untagged(name) => {
                    let next = removed[index..].iter().find_map(|one| match one {
                        Removed::Deleted(id) => Some(id.clone()),
                        Removed::Untagged(_) => None,
                    });
                    image = image.or(next);
                    if let Some(id) = &image {
                        self.note_image("untag", id, Some(&name.familiar()));
                    }
                }
            }
        }
    }

    /// Reads the events; see [`read`].
    pub fn events(&self, options: EventsOptions) -> Result<EventsReader, EventsError> {
        read(&self.store.path(Area::Events), options)
    }

    pub(crate) fn tell(&self, events: &[Event]) {
        Journal::new(self.store.path(Area::Events)).append(events);
    }

    /// Tells what was done to a container.
    pub(crate) fn note_container(&self, record: &Record, action: &str, more: &[(&str, &str)]) {
        let mut event = container_event(record, action);
        for (name, value) in more {
            event = event.with(name, *value);
        }
        self.tell(&[event]);
    }

    /// Returns what the monitor of a run tells: `before`, the start and the end.
    pub(crate) fn run_events(&self, record: &Record, before: Vec<Event>) -> EventsConfig {
        EventsConfig {
            dir: self.store.path(Area::Events),
            attributes: attributes(record),
            before,
            start: vec!["start".to_owned()],
            end: "die".to_owned(),
        }
    }

    /// Tells that a container did not come to run: the monitor that would have told of the start
    /// has nothing to tell.
    pub(crate) fn note_failed_start(
        &self,
        record: &Record,
        before: Vec<Event>,
        error: &StartError,
    ) {
        let mut told = before;
        told.push(
            container_event(record, "die")
                .with("exitCode", error.exit_code().to_string())
                .with("reason", "failed start")
                .with("error", lamina_types::with_causes(error)),
        );
        self.tell(&told);
    }
}

/// Makes an event of a container.
pub(crate) fn container_event(record: &Record, action: &str) -> Event {
    Event::now(
        Kind::Container,
        action,
        record.id.as_str(),
        attributes(record),
    )
}

/// Returns the event of a container's creation, which may be told of later.
pub(crate) fn created(record: &Record) -> Event {
    let event = container_event(record, "create");
    match record.created.parse::<Time>() {
        Ok(time) => event.at(time),
        Err(_) => event,
    }
}

/// Returns what is said of a container with each of its events: labels, image and name.
pub(crate) fn attributes(record: &Record) -> BTreeMap<String, String> {
    let mut attributes = labels(&record.request.labels, &record.image_config);
    attributes.insert("image".to_owned(), shown(&record.request.image.familiar()));
    attributes.insert("name".to_owned(), record.name.to_string());
    attributes
}

/// Docker shows a name as it was typed, and hardly anybody types the default tag.
fn shown(image: &str) -> String {
    image.strip_suffix(":latest").unwrap_or(image).to_owned()
}
