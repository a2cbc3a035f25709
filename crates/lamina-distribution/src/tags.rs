//! The tags of a repository, for hints.

use lamina_types::Reference;
use serde::Deserialize;

use crate::auth::Subject;
use crate::client::{Client, Inner};
use crate::error::{FetchError, one_line};
use crate::exchange::Get;
use crate::hosts::Endpoint;
use crate::status;

/// The longest list that is read.
const LIST_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct TagList {
    /// `null` for a repository without any.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// Lists up to `most` tags of the repository of `reference`, in the registry's order.
    ///
    /// For showing to people: only the first page is read, what is no tag is left out, and nothing
    /// is tried twice.
    pub fn list_tags(&self, reference: &Reference, most: usize) -> Result<Vec<String>, FetchError> {
        let inner = &self.inner;
        let mut result = Ok(Vec::new());
        // Each place once: a hint is not worth waiting for.
        for endpoint in inner.rules.endpoints(reference)? {
            result = inner.tags_at(&endpoint, reference, most);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl Inner {
    fn tags_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        most: usize,
    ) -> Result<Vec<String>, FetchError> {
        let repository = endpoint.repository(reference);
        let name = reference.familiar_repository();
        let reply = self.get(&Get {
            subject: Subject {
                endpoint,
                repository: &repository,
                name: &name,
            },
            path: "tags/list".to_owned(),
            headers: vec![("accept", "application/json".to_owned())],
        })?;
        match reply.status {
            200 => {}
            404 => return Err(FetchError::RepositoryUnknown { repository: name }),
            _ => return Err(status::other(&self.http, reply)),
        }
        let host = reply.host.clone();
        let bytes = self.http.read_document(reply, "tag list", LIST_MAX)?;
        let list: TagList =
            serde_json::from_slice(&bytes).map_err(|error| FetchError::Protocol {
                host,
                detail: one_line(&error.to_string()),
            })?;
        let tags = list.tags.unwrap_or_default().into_iter();
        let real = |tag: &String| reference.with_tag(tag).is_ok();
        Ok(tags.filter(real).take(most).collect())
    }
}
