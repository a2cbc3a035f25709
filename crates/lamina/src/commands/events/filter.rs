//! `events --filter`: several of one key are alternatives, of different keys all must hold.

use std::mem::discriminant;

use lamina_monitor::events::{Event, Kind};
use lamina_types::ErrorKind;

use crate::commands::format::filter_pair;
use crate::failure::{Failure, Outcome};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// What kind of thing.
    Type(String),
    /// What happened; `exec_start` is every one of them.
    Event(String),
    /// A thing of a kind, by name or the beginning of its id.
    Of(Kind, String),
    /// A label of the thing, and its value.
    Label(String, Option<String>),
    /// Always `local`.
    Scope(String),
}

impl Filter {
    pub(super) fn parse_all(texts: &[String]) -> Outcome<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Outcome<Self> {
        let fail = || {
            let text = format!("invalid filter {text:?}");
            Failure::said(ErrorKind::InvalidArgument, text).hint(
                "known are type=, event=, container=, image=, volume=, network=, label=, scope=",
            )
        };
        let (key, value) = filter_pair(text)?;
        let owned = value.trim_start_matches('/').to_owned();
        Ok(match key {
            "type" => Self::Type(owned),
            "event" => Self::Event(owned),
            "container" => Self::Of(Kind::Container, owned),
            "image" => Self::Of(Kind::Image, owned),
            "volume" => Self::Of(Kind::Volume, owned),
            "network" => Self::Of(Kind::Network, owned),
            "scope" => Self::Scope(owned),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            },
            _ => return Err(fail()),
        })
    }

    /// Returns whether an event is wanted.
    pub(super) fn accept(filters: &[Self], event: &Event) -> bool {
        filters.iter().all(|filter| {
            let same = |other: &&Self| match (*other, filter) {
                // Labels must all be there, as in Docker.
                (Self::Label(..), Self::Label(..)) => *other == filter,
                (Self::Of(one, _), Self::Of(kind, _)) => one == kind,
                _ => discriminant(*other) == discriminant(filter),
            };
            filters.iter().filter(same).any(|one| one.matches(event))
        })
    }

    fn matches(&self, event: &Event) -> bool {
        let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
        match self {
            Self::Type(kind) => event.kind.as_str() == kind,
            Self::Event(action) => {
                let said = event.action.as_str();
                let before_colon = said.split(':').next().unwrap_or_default();
                said == action || before_colon == action
            }
            Self::Of(Kind::Image, name) => {
                let named = match event.kind {
                    Kind::Image => attribute("name"),
                    _ => attribute("image"),
                };
                let repository = named.map(|named| match named.rsplit_once(':') {
                    Some((repository, tag)) if !tag.contains('/') => repository,
                    _ => named,
                });
                let is_id = event.kind == Kind::Image && has_id(event, name);
                named == Some(name) || repository == Some(name) || is_id
            }
            Self::Of(kind, name) => {
                event.kind == *kind && (attribute("name") == Some(name) || has_id(event, name))
            }
            Self::Label(name, value) => {
                attribute(name).is_some_and(|have| value.as_ref().is_none_or(|want| want == have))
            }
            Self::Scope(scope) => scope == "local",
        }
    }
}

fn has_id(event: &Event, beginning: &str) -> bool {
    let hex = event.id.strip_prefix("sha256:").unwrap_or(&event.id);
    !beginning.is_empty() && (event.id == beginning || hex.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn count(filters: &[&str]) -> usize {
        let event = |kind, action: &str, id: &str, attributes: &[(&str, &str)]| {
            let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            let attributes: BTreeMap<_, _> = attributes.iter().map(own).collect();
            Event::now(kind, action, id, attributes)
        };
        let web = [("image", "bb:1"), ("name", "web"), ("tier", "front")];
        let events = [
            event(Kind::Container, "start", "abc1", &web),
            event(Kind::Container, "exec_start: true", "abc1", &web),
            event(
                Kind::Container,
                "die",
                "abd2",
                &[("image", "x"), ("name", "db")],
            ),
            event(Kind::Image, "tag", "sha256:abc9", &[("name", "bb:1")]),
        ];
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filter::parse_all(&filters).unwrap();
        let accepted = events
            .iter()
            .filter(|event| Filter::accept(&filters, event));
        accepted.count()
    }

    #[test]
    fn filters_are_alternatives_of_one_key() {
        for (filters, expected) in [
            (&[][..], 4),
            (&["type=container"], 3),
            (&["type=container", "type=image"], 4),
            (&["event=start", "event=die"], 2),
            (&["event=exec_start"], 1),
            (&["container=web"], 2),
            (&["container=/web", "container=abd2"], 3),
            (&["container=abc", "event=start"], 1),
            (&["image=bb"], 3),
            (&["image=bb:1", "type=image"], 1),
            (&["image=abc9"], 1),
            (&["label=tier"], 2),
            (&["label=tier=back"], 0),
            (&["label=tier", "label=none"], 0),
            (&["scope=swarm"], 0),
            (&["volume=web"], 0),
        ] {
            assert_eq!(count(filters), expected, "{filters:?}");
        }
        assert!(Filter::parse_all(&["bad=1".to_owned()]).is_err());
    }
}
