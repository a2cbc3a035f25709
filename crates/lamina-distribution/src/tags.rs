//! The tags of a repository.

use lamina_types::Reference;
use serde::Deserialize;
use ureq::http::Method;

use crate::auth::{Access, Subject};
use crate::client::{Client, Inner};
use crate::error::{FetchError, one_line};
use crate::exchange::{Ask, Place};
use crate::hosts::Endpoint;
use crate::http::{Payload, Reply};
use crate::status;

/// Pages that are read: a registry could send them for ever.
const PAGES_MAX: usize = 1000;
/// The longest page that is read.
const LIST_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct TagList {
    /// `null` for a repository without any.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// Lists up to `most` tags of the repository of `reference`, in the registry's order, page by
    /// page; what is no tag is left out. Nothing is tried twice: this is for showing to people.
    pub fn list_tags(&self, reference: &Reference, most: usize) -> Result<Vec<String>, FetchError> {
        let inner = &self.inner;
        let mut result = Ok(Vec::new());
        // Each place once: a list is not worth waiting for.
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
        let mut tags = Vec::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let place = match &next {
                None => Place::Path(format!("{repository}/tags/list")),
                Some(url) => Place::Url(url),
            };
            let reply = self.ask(&Ask {
                subject: Subject {
                    endpoint,
                    repository: &repository,
                    name: &name,
                    access: Access::Pull,
                },
                method: Method::GET,
                place,
                headers: vec![("accept", "application/json".to_owned())],
                payload: Payload::None,
                patience: self.config.timeouts.response,
            })?;
            match reply.status {
                200 => {}
                404 => return Err(FetchError::RepositoryUnknown { repository: name }),
                _ => return Err(status::other(&self.http, reply)),
            }
            let link = next_page(&reply);
            let page = self.tag_page(reply)?;
            let done = page.is_empty();
            let real = |tag: &String| reference.with_tag(tag).is_ok();
            tags.extend(page.into_iter().filter(real).take(most - tags.len()));
            let base = self.base(endpoint)?;
            let link = link.and_then(|link| base.join(&link).ok());
            // Pages come from where the list is, or not at all.
            next = link.filter(|url| url.origin == base.origin);
            if done || next.is_none() || tags.len() >= most {
                break;
            }
        }
        Ok(tags)
    }

    fn tag_page(&self, reply: Reply) -> Result<Vec<String>, FetchError> {
        let host = reply.host.clone();
        let bytes = self.http.read_document(reply, "tag list", LIST_MAX)?;
        let list: TagList =
            serde_json::from_slice(&bytes).map_err(|error| FetchError::Protocol {
                host,
                detail: one_line(&error.to_string()),
            })?;
        Ok(list.tags.unwrap_or_default())
    }
}

/// Reads `Link: <…>; rel="next"` (RFC 8288, as far as registries send it).
fn next_page(reply: &Reply) -> Option<String> {
    let lines = reply.headers.get_all("link").iter();
    let mut links = lines.filter_map(|value| value.to_str().ok()?.trim().split_once('>'));
    let (target, _) = links.find(|(_, rest)| rest.replace(['"', ' '], "").contains("rel=next"))?;
    target.strip_prefix('<').map(str::to_owned)
}
