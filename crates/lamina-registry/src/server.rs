//! The server: listening, how many connections, and the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lamina_store::Store;
use lamina_types::ErrorKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, sleep, timeout};

use crate::access::Access;
use crate::connection;
use crate::leases::Leases;
use crate::tls::Tls;
use crate::uploads::Uploads;

/// How long requests that run may go on after a signal.
const GRACE: Duration = Duration::from_secs(10);
/// How often what is over is looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// What a failed `accept` waits, as where there are no descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How a registry is served.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Who may do what.
    pub access: Access,
    /// The certificate; plain http without one.
    pub tls: Option<Tls>,
    /// Bounds.
    pub limits: Limits,
}

/// What clients can make the server hold, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub connections: u32,
    /// Uploads that are begun and not committed.
    pub uploads: usize,
    /// Bytes of one blob.
    pub blob: u64,
    /// Bytes that stay free on the store's filesystem.
    pub keep_free: u64,
    /// The longest wait for a request's head, or for the next bytes of a body.
    pub idle: Duration,
    /// The longest time for a request.
    pub request: Duration,
    /// How long an upload is kept after its last bytes.
    pub upload: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            uploads: 512,
            blob: 256 << 30,
            keep_free: 64 << 20,
            idle: Duration::from_secs(30),
            request: Duration::from_secs(6 * 3600),
            upload: Duration::from_secs(3600),
        }
    }
}

/// What the server tells whoever started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It listens.
    Listening(SocketAddr),
    /// It answered a request.
    Answered {
        /// Who asked.
        peer: SocketAddr,
        /// The method.
        method: String,
        /// The path with its query, as it came.
        path: String,
        /// The status of the answer.
        status: u16,
    },
    /// The store failed to do its part of a request.
    Failed(String),
    /// A signal ends it.
    Ending,
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What it runs on cannot be had.
    #[error("cannot start the server")]
    Start(#[source] io::Error),
}

impl ServeError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::AlreadyExists
            }
            Self::Listen { source, .. } | Self::Start(source) => ErrorKind::of_io(source),
        }
    }
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    pub(crate) uploads: Uploads,
    pub(crate) leases: Leases,
    pub(crate) tell: Tell,
}

type Tell = Box<dyn Fn(Told) + Send + Sync>;

/// Serves until SIGTERM or SIGINT; requests that run then are finished, for some seconds.
///
/// Killed it leaves nothing but what was acknowledged, and what the next open of the store undoes.
pub fn serve(
    store: Store,
    config: ServerConfig,
    tell: impl Fn(Told) + Send + Sync + 'static,
) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_name("registry")
        .max_blocking_threads(16)
        .build()
        .map_err(ServeError::Start)?;
    let shared = Arc::new(Shared {
        store,
        access: config.access,
        limits: config.limits,
        uploads: Uploads::default(),
        leases: Leases::default(),
        tell: Box::new(tell),
    });
    let result = runtime.block_on(run(config.listen, config.tls, &shared));
    // Files that are being written to are finished with before their leases go.
    runtime.shutdown_timeout(GRACE);
    shared.leases.end();
    result
}

async fn run(
    address: SocketAddr,
    tls: Option<Tls>,
    shared: &Arc<Shared>,
) -> Result<(), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Start)?;
    (shared.tell)(Told::Listening(local));
    let (ending, _) = watch::channel(false);
    let places = Arc::new(Semaphore::new(shared.limits.connections as usize));
    let accepting = accept(&listener, tls, shared, &ending, &places);
    tokio::select! {
        () = accepting => {}
        () = sweep(shared) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(listener);
    (shared.tell)(Told::Ending);
    // Nobody may be listening any more.
    let _ = ending.send(true);
    let all = places.acquire_many(shared.limits.connections);
    // What is not done by then is cut off.
    let _ = timeout(GRACE, all).await;
    Ok(())
}

/// Accepts for ever, as many as there are places for.
async fn accept(
    listener: &TcpListener,
    tls: Option<Tls>,
    shared: &Arc<Shared>,
    ending: &watch::Sender<bool>,
    places: &Arc<Semaphore>,
) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        bound_silence(&stream, shared.limits.idle);
        let (shared, tls, ending) = (Arc::clone(shared), tls.clone(), ending.subscribe());
        tokio::spawn(async move {
            connection::serve(stream, peer, tls, shared, ending).await;
            drop(place);
        });
    }
}

/// Lets the kernel end a connection whose other side takes nothing of what is sent.
fn bound_silence(stream: &TcpStream, idle: Duration) {
    use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_user_timeout};
    // Without these it is only slower to notice.
    let _ = set_tcp_nodelay(stream, true);
    let millis = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(stream, millis.saturating_mul(2));
}

/// Ends uploads that nobody continues.
async fn sweep(shared: &Arc<Shared>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        shared.uploads.forget_old(shared.limits.upload);
    }
}
