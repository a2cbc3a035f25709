//! `ps --filter`: several of one key are alternatives, of different keys all must hold.

use std::mem::discriminant;
use std::path::Path;

use lamina_engine::ContainerSummary;
use lamina_types::Reference;

use super::pattern::Pattern;
use crate::commands::format::filter_pair;
use crate::failure::{Failure, Outcome};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// The beginning of the id.
    Id(String),
    /// What the name is like.
    Name(Pattern),
    /// A label, and its value.
    Label(String, Option<String>),
    /// The state.
    Status(String),
    /// How it fares.
    Health(String),
    /// The exit code.
    Exited(u8),
    /// The image, by name or id.
    Ancestor(String),
    /// Made before this container.
    Before(String),
    /// Made after this container.
    Since(String),
    /// A volume or path that is mounted, or where.
    Volume(String),
    /// A port that is published or exposed: none is.
    Port,
    /// The network, by name.
    Network(String),
    /// Whether it belongs to a swarm: none does.
    Task(bool),
}

impl Filter {
    pub(super) fn parse_all(texts: &[String]) -> Outcome<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Outcome<Self> {
        let fail = || {
            Failure::said(
                lamina_types::ErrorKind::InvalidArgument,
                format!("invalid filter {text:?}"),
            )
            .hint("known are id=, name=, label=, status=, health=, exited=, ancestor=, before=, since=, volume=, network=, publish=, expose=, is-task=")
        };
        let (key, value) = filter_pair(text)?;
        let owned = value.to_owned();
        Ok(match key {
            "id" => Self::Id(owned),
            "name" => Self::Name(Pattern::parse(value).ok_or_else(fail)?),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(owned, None),
            },
            "status" => match value {
                "created" | "running" | "paused" | "restarting" | "exited" | "dead" => {
                    Self::Status(owned)
                }
                _ => return Err(fail()),
            },
            "health" => match value {
                "starting" | "healthy" | "unhealthy" | "none" => Self::Health(owned),
                _ => return Err(fail()),
            },
            "exited" => Self::Exited(value.parse().map_err(|_| fail())?),
            "ancestor" => Self::Ancestor(owned),
            "before" => Self::Before(owned),
            "since" => Self::Since(owned),
            "volume" => Self::Volume(owned),
            "publish" | "expose" => Self::Port,
            "network" => Self::Network(owned),
            "is-task" => Self::Task(match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(fail()),
            }),
            _ => return Err(fail()),
        })
    }

    /// Returns whether the condition only makes sense for containers in any state.
    pub(super) fn names_a_state(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Exited(_))
    }

    /// Returns whether the condition compares with another container.
    pub(super) fn compares(&self) -> bool {
        matches!(self, Self::Before(_) | Self::Since(_))
    }

    /// Checks that the containers that others are compared with are there.
    pub(super) fn check_others(filters: &[Self], all: &[ContainerSummary]) -> Outcome {
        let missing = filters.iter().find_map(|filter| match filter {
            Self::Before(other) | Self::Since(other) if created(all, other).is_none() => {
                Some(other)
            }
            _ => None,
        });
        match missing {
            None => Ok(()),
            Some(other) => {
                let text = format!("no such container: {other}");
                let failure = Failure::said(lamina_types::ErrorKind::NotFound, text);
                Err(failure.hint("lamina ps -a shows all containers"))
            }
        }
    }

    /// Returns whether a container meets the conditions.
    pub(super) fn accept(
        filters: &[Self],
        container: &ContainerSummary,
        all: &[ContainerSummary],
    ) -> bool {
        filters.iter().all(|filter| {
            let same_key = filters
                .iter()
                .filter(|other| discriminant(*other) == discriminant(filter));
            match filter {
                // Labels must all be there.
                Self::Label(..) => filter.matches(container, all),
                _ => same_key
                    .into_iter()
                    .any(|filter| filter.matches(container, all)),
            }
        })
    }

    fn matches(&self, container: &ContainerSummary, all: &[ContainerSummary]) -> bool {
        match self {
            Self::Id(prefix) => container.id.as_str().starts_with(prefix.as_str()),
            // Docker's own names begin with a slash.
            Self::Name(pattern) => {
                let name = container.name.as_str();
                pattern.is_in(name) || pattern.is_in(&format!("/{name}"))
            }
            Self::Label(key, value) => container
                .labels
                .get(key)
                .is_some_and(|have| value.as_ref().is_none_or(|value| value == have)),
            Self::Status(status) => container.state.status.as_str() == status,
            Self::Health(health) => container.health == health,
            Self::Exited(code) => {
                container.state.status.as_str() == "exited" && container.state.exit_code == *code
            }
            Self::Volume(wanted) => (container.mounts.iter())
                .any(|(source, target)| source == wanted || target == Path::new(wanted)),
            Self::Port => false,
            Self::Network(name) => container.network == name,
            Self::Task(wanted) => !wanted,
            Self::Ancestor(image) => is_image(container, image),
            Self::Before(other) => {
                created(all, other).is_some_and(|time| container.created.as_str() < time)
            }
            Self::Since(other) => {
                created(all, other).is_some_and(|time| container.created.as_str() > time)
            }
        }
    }
}

fn is_image(container: &ContainerSummary, image: &str) -> bool {
    let id = container.image_id.to_string();
    let by_id = image.len() >= 4
        && (id.starts_with(image) || container.image_id.0.hex().starts_with(image));
    let by_name = image
        .parse::<Reference>()
        .is_ok_and(|name| name.familiar() == container.image);
    by_id || by_name
}

fn created<'a>(all: &'a [ContainerSummary], other: &str) -> Option<&'a str> {
    let known =
        |c: &&ContainerSummary| c.name.as_str() == other || c.id.as_str().starts_with(other);
    all.iter().find(known).map(|c| c.created.as_str())
}
