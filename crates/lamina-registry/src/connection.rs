//! One connection: TLS if any, then requests, each decided on, routed and answered.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::access::Deed;
use crate::answer::{Answer, Refusal, set, set_named};
use crate::body::{Body, Never};
use crate::manifests;
use crate::route::{Query, Route};
use crate::server::{Shared, Told};
use crate::tls::Tls;
use crate::{blobs, uploads};

/// The longest head of a request.
const HEAD_MAX: usize = 32 << 10;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves a connection until either side ends it, or the server does.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    shared: Arc<Shared>,
    ending: watch::Receiver<bool>,
) {
    match tls {
        None => requests(stream, peer, shared, ending).await,
        Some(Tls(acceptor)) => {
            // One that cannot shake hands has nothing to be told.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                requests(stream, peer, shared, ending).await;
            }
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut ending: watch::Receiver<bool>,
) {
    let idle = shared.limits.idle;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Never>(answer(request, peer, shared).await) }
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_MAX.max(512 << 10))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            // What went wrong is the client's business.
            _ = connection.as_mut() => return,
            changed = ending.changed() => {
                connection.as_mut().graceful_shutdown();
                if changed.is_err() {
                    let _ = connection.as_mut().await;
                    return;
                }
            }
        }
    }
}

/// Answers a request, whatever it is, in bounded time.
async fn answer(request: Request<Incoming>, peer: SocketAddr, shared: Arc<Shared>) -> Answer {
    let method = request.method().clone();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = path.to_owned();
    let limit = shared.limits.request;
    let answered = match timeout(limit, handle(request, &shared)).await {
        Ok(answered) => answered,
        Err(_) => Err(Refusal::new(408, "UNKNOWN", "the request took too long")),
    };
    let mut answer = match answered {
        Ok(answer) => answer,
        Err(refusal) => {
            let mut answer = refusal.into_answer();
            // The rest of a body that is not wanted is not waited for.
            if matches!(method, Method::PUT | Method::PATCH | Method::POST) {
                set(&mut answer, CONNECTION, "close");
            }
            answer
        }
    };
    set_named(
        &mut answer,
        "docker-distribution-api-version",
        "registry/2.0",
    );
    set_named(&mut answer, "x-content-type-options", "nosniff");
    if method == Method::HEAD {
        *answer.body_mut() = Body::Empty;
    }
    (shared.tell)(Told::Answered {
        peer,
        method: method.to_string(),
        path,
        status: answer.status().as_u16(),
    });
    answer
}

async fn handle(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Answer, Refusal> {
    let route = Route::parse(request.uri().path());
    // Nobody learns what there is before it is known that they may.
    let deed = match &route {
        Ok(route) => route.deed(request.method()),
        Err(_) => Some(Deed::Read),
    };
    let (deed, known) = match deed {
        Some(deed) => (deed, true),
        None => (Deed::Read, false),
    };
    permit(&request, deed, shared).await?;
    let route = route?;
    if !known {
        let refusal = Refusal::new(405, "UNSUPPORTED", "this is not done here");
        return Err(refusal.header(ALLOW, "GET, HEAD".to_owned()));
    }
    let query = Query::parse(request.uri().query());
    match route {
        Route::Base => Ok(crate::answer::json(200, &serde_json::json!({}))),
        Route::Catalog => manifests::catalog(shared, query).await,
        Route::Tags(name) => manifests::tags(shared, name, query).await,
        Route::Referrers(name, digest) => manifests::referrers(shared, name, &digest, query).await,
        Route::Manifest(name, pointer) => {
            manifests::manifest(shared, name, &pointer, request).await
        }
        Route::Blob(name, digest) => {
            let writes = permit(&request, Deed::Write, shared).await.is_ok();
            blobs::blob(shared, name, &digest, &request, writes).await
        }
        Route::Uploads(name) => uploads::begin(shared, name, query, request).await,
        Route::Upload(name, id) => uploads::go_on(shared, name, id, query, request).await,
    }
}

async fn permit(
    request: &Request<Incoming>,
    deed: Deed,
    shared: &Arc<Shared>,
) -> Result<(), Refusal> {
    let headers = request.headers().clone();
    let access = Arc::clone(shared);
    // A password takes its time.
    let decided = blocking(move || access.access.decide(&headers, deed));
    Ok(decided.await??)
}

/// Runs what reads and writes files where it does not keep others waiting.
pub(crate) fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Refusal>> {
    let task = spawn_blocking(act);
    async move { task.await.map_err(|_| Refusal::internal()) }
}
