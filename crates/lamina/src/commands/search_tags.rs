//! `search-tags`.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lamina_distribution::{Client, FetchError};
use lamina_types::{ErrorKind, Reference};
use serde_json::{Map, Value, json};

use crate::app::{App, Pulling};
use crate::args::SearchTagsArgs;
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Column, Format};

/// Tags that are looked up at a time.
const PARALLEL: usize = 6;

const COLUMNS: [Column; 3] = [
    Column {
        field: "Repository",
        header: "REPOSITORY",
    },
    Column {
        field: "Tag",
        header: "TAG",
    },
    Column {
        field: "Digest",
        header: "DIGEST",
    },
];

impl Verb for SearchTagsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let repository: Reference = self
            .repository
            .parse()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        let columns = match self.digests {
            true => &["Repository", "Tag", "Digest"][..],
            false => &["Repository", "Tag"],
        };
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => Some("{{.Tag}}"),
            (_, format) => format,
        };
        let format = Format::parse(format, columns).map_err(bad_format)?;
        let pulling = Pulling {
            tls_verify: self.registry.tls_verify,
            signals: None,
        };
        let hinted = |failure| with_hints(failure, About::Registry(&self.repository));
        let client = app
            .client(&app.config()?, &pulling)
            .map_err(Failure::from)?;
        // One more tells whether there are more.
        let tags = client
            .list_tags(&repository, self.limit.saturating_add(1))
            .map_err(Failure::from)
            .map_err(hinted)?;
        let shown = &tags[..tags.len().min(self.limit)];
        let digests = match self.digests {
            true => digests(&client, &repository, shown)
                .map_err(Failure::from)
                .map_err(hinted)?,
            false => vec![String::new(); shown.len()],
        };
        let name = repository.familiar_repository();
        let rows: Vec<Map<String, Value>> = shown
            .iter()
            .zip(digests)
            .filter_map(|(tag, digest)| {
                let row = json!({"Repository": name, "Tag": tag, "Digest": digest});
                row.as_object().cloned()
            })
            .collect();
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        if tags.len() > shown.len() {
            let next = self.limit.saturating_mul(10);
            ui::err(&format!(
                "only the first {} tags are shown: --limit {next} shows more\n",
                self.limit
            ));
        }
        Ok(exit_codes::SUCCESS)
    }
}

/// Asks what each tag stands for, several at a time; one that is gone meanwhile has no digest.
fn digests(
    client: &Client,
    repository: &Reference,
    tags: &[String],
) -> Result<Vec<String>, FetchError> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![String::new(); tags.len()]);
    let failure = Mutex::new(None);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = tags.get(at).and_then(|tag| repository.with_tag(tag).ok()) else {
                return;
            };
            match client.tag_digest(&name) {
                Ok(digest) => {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found[at] = digest.map_or_else(String::new, |digest| digest.to_string());
                }
                Err(error) => {
                    let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(error);
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(tags.len()) {
            scope.spawn(work);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}
