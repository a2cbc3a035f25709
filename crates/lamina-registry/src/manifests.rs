//! Manifests, tags, referrers and the catalogue: translations of [`lamina_image::Hosted`].

use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, LINK};
use hyper::{Method, Request};
use lamina_image::{HostedError, Images, Pointer};
use lamina_types::oci::media;
use serde_json::json;
use tokio::time::timeout;

use crate::answer::{Answer, Refusal, bytes, empty, json, set, set_named, set_place};
use crate::blobs::failed;
use crate::connection::blocking;
use crate::route::{Query, digest};
use crate::server::Shared;

/// The longest manifest (the specification's least for registries).
const MANIFEST_MAX: usize = 4 << 20;
/// Names in one page, where the client does not ask for fewer.
const PAGE: usize = 1000;

/// Answers a request about one manifest.
pub(crate) async fn manifest(
    shared: &Arc<Shared>,
    name: String,
    pointer: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let pointer = Pointer::parse(pointer)?;
    match *request.method() {
        Method::PUT => put(shared, name, pointer, request).await,
        Method::DELETE => {
            with_images(shared, move |images| images.hosted(&name)?.delete(&pointer)).await?;
            let emptied = Arc::clone(shared);
            // What was freed goes when nobody waits for it.
            drop(blocking(move || emptied.store.empty_trash().is_ok()));
            Ok(empty(202))
        }
        _ => {
            let found = with_images(shared, move |images| {
                images.hosted(&name)?.manifest(&pointer)
            });
            let found = found.await?;
            let mut answer = bytes(200, &found.media_type, found.bytes);
            set_named(
                &mut answer,
                "docker-content-digest",
                &found.digest.to_string(),
            );
            set(&mut answer, ETAG, &format!("\"{}\"", found.digest));
            Ok(answer)
        }
    }
}

async fn put(
    shared: &Arc<Shared>,
    name: String,
    pointer: Pointer,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let media_type = request.headers().get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let media_type = media_type.map(str::to_owned);
    let collected = Limited::new(request.into_body(), MANIFEST_MAX).collect();
    let body = match timeout(shared.limits.idle, collected).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(HostedError::TooLarge(MANIFEST_MAX as u64).into());
        }
        Ok(Err(_)) => {
            return Err(Refusal::new(
                400,
                "MANIFEST_INVALID",
                "the body ended early",
            ));
        }
        Err(_) => {
            return Err(Refusal::new(
                408,
                "MANIFEST_INVALID",
                "the body took too long",
            ));
        }
    };
    let hosted = name.clone();
    let put = with_images(shared, move |images| {
        let repository = images.hosted(&hosted)?;
        repository.put(&pointer, media_type.as_deref(), &body)
    });
    let put = put.await?;
    let mut answer = empty(201);
    let place = format!("/v2/{name}/manifests/{}", put.digest);
    set_place(&mut answer, &place, &put.digest);
    if let Some(subject) = put.subject {
        set_named(&mut answer, "oci-subject", &subject.to_string());
    }
    Ok(answer)
}

/// Lists the tags of a repository.
pub(crate) async fn tags(
    shared: &Arc<Shared>,
    name: String,
    query: Query,
) -> Result<Answer, Refusal> {
    let hosted = name.clone();
    let tags = with_images(shared, move |images| images.hosted(&hosted)?.tags()).await?;
    let (page, more) = page(tags, &query)?;
    let mut answer = json(200, &json!({"name": name, "tags": page}));
    if more {
        link(&mut answer, &format!("/v2/{name}/tags/list"), &page);
    }
    Ok(answer)
}

/// Lists the repositories, as Docker's registry does.
pub(crate) async fn catalog(shared: &Arc<Shared>, query: Query) -> Result<Answer, Refusal> {
    let names = with_images(shared, |images| Ok(images.repositories()?)).await?;
    let (page, more) = page(names, &query)?;
    let mut answer = json(200, &json!({"repositories": page}));
    if more {
        link(&mut answer, "/v2/_catalog", &page);
    }
    Ok(answer)
}

/// Lists what refers to a manifest.
pub(crate) async fn referrers(
    shared: &Arc<Shared>,
    name: String,
    text: &str,
    query: Query,
) -> Result<Answer, Refusal> {
    let digest = digest(text)?;
    let wanted = query.get("artifactType").map(str::to_owned);
    let filter = wanted.clone();
    let found = with_images(shared, move |images| {
        images.hosted(&name)?.referrers(&digest, filter.as_deref())
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found.await?,
    });
    let mut answer = json(200, &index);
    set(&mut answer, CONTENT_TYPE, media::OCI_INDEX);
    if wanted.is_some() {
        set_named(&mut answer, "oci-filters-applied", "artifactType");
    }
    Ok(answer)
}

/// Cuts a page out of sorted names: `n` of them after `last`.
fn page(names: Vec<String>, query: &Query) -> Result<(Vec<String>, bool), Refusal> {
    let bad = |_| Refusal::new(400, "PAGINATION_NUMBER_INVALID", "n is no number");
    let most = query
        .get("n")
        .map(str::parse::<usize>)
        .transpose()
        .map_err(bad)?;
    let most = most.unwrap_or(PAGE).min(PAGE);
    let after = query.get("last").unwrap_or_default().to_owned();
    let mut rest = names.into_iter().filter(|name| *name > after);
    let page: Vec<String> = rest.by_ref().take(most).collect();
    let more = !page.is_empty() && rest.next().is_some();
    Ok((page, more))
}

fn link(answer: &mut Answer, path: &str, page: &[String]) {
    let last = page.last().map(String::as_str).unwrap_or_default();
    let last = last.replace('/', "%2F");
    let next = format!("<{path}?n={}&last={last}>; rel=\"next\"", page.len());
    set(answer, LINK, &next);
}

async fn with_images<T: Send + 'static>(
    shared: &Arc<Shared>,
    act: impl FnOnce(Images<'_>) -> Result<T, HostedError> + Send + 'static,
) -> Result<T, Refusal> {
    let worker = Arc::clone(shared);
    let done = blocking(move || {
        act(Images::new(&worker.store)).map_err(|error| {
            if let HostedError::Store(fault) = &error {
                failed(&worker, fault);
            }
            Refusal::from(error)
        })
    });
    done.await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        for (query, expected, more) in [
            ("", &["a", "b", "c"][..], false),
            ("n=2", &["a", "b"], true),
            ("n=2&last=b", &["c"], false),
            ("n=0", &[], false),
            ("last=aa", &["b", "c"], false),
        ] {
            let found = page(names.clone(), &Query::parse(Some(query))).unwrap();
            assert_eq!(
                (found.0.as_slice(), found.1),
                (
                    &expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
                    more
                ),
                "{query}"
            );
        }
        assert!(page(names, &Query::parse(Some("n=x"))).is_err());
    }
}
