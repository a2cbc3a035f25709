//! A registry on 127.0.0.1 that can be told to misbehave.
//!
//! It serves images from memory ([`Registry::serve_image`]), follows a script where there is one
//! ([`Registry::script`]), and records every request with its headers, so that a test can say who
//! was shown which credentials.

mod connection;
mod content;
mod reply;
mod uploads;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use lamina_types::Digest;

pub use content::{MemoryImage, sha256};
pub use reply::{Fault, Framing, Reply};

use content::Content;

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, if it had a length.
    pub body: Vec<u8>,
    /// How many requests with this method and path came before.
    pub nth: usize,
}

impl Recorded {
    /// Returns the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the parameter of the query of this name, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?')?.1;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    }

    /// Returns the first byte that a `Range` header asks for.
    pub fn range_start(&self) -> Option<u64> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }
}

/// Answers a request, or leaves it to the served content with `None`.
pub type Script = dyn Fn(&Recorded) -> Option<Reply> + Send + Sync;

/// Says after how many bytes of a request's body its connection breaks.
type Breaks = dyn Fn(&Recorded) -> Option<u64> + Send + Sync;

struct State {
    breaks: Mutex<Option<Arc<Breaks>>>,
    content: Mutex<Content>,
    script: Mutex<Option<Arc<Script>>>,
    log: Mutex<Vec<Recorded>>,
    closed: AtomicBool,
}

/// A running registry. Its threads end when it is dropped and its connections are closed.
pub struct Registry {
    address: SocketAddr,
    state: Arc<State>,
}

impl Registry {
    /// Starts an empty registry on a free port.
    ///
    /// # Panics
    ///
    /// Panics if there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on 127.0.0.1");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State {
            content: Mutex::default(),
            script: Mutex::new(None),
            breaks: Mutex::new(None),
            log: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &shared));
        Self { address, state }
    }

    /// Returns `127.0.0.1:port`, as references name it.
    pub fn domain(&self) -> String {
        self.address.to_string()
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves `image` under `repository:tag`, and returns its manifest's digest.
    pub fn serve_image(&self, repository: &str, tag: &str, image: &MemoryImage) -> Digest {
        lock(&self.state.content).add_image(repository, tag, image)
    }

    /// Serves these bytes as the manifest `repository:tag` and by digest, and returns the digest.
    pub fn serve_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        lock(&self.state.content).add_manifest(repository, tag, media_type, bytes)
    }

    /// Serves a blob in every repository, and returns its digest.
    pub fn serve_blob(&self, bytes: Vec<u8>) -> Digest {
        lock(&self.state.content).add_blob(bytes)
    }

    /// Lets `script` answer from now on; what it leaves is served from the content.
    pub fn script(&self, script: impl Fn(&Recorded) -> Option<Reply> + Send + Sync + 'static) {
        *lock(&self.state.script) = Some(Arc::new(script));
    }

    /// Lets `breaks` say, by a request's head, after how many bytes of its body the connection is
    /// closed without an answer. What has arrived by then counts, in an upload.
    pub fn break_bodies(&self, breaks: impl Fn(&Recorded) -> Option<u64> + Send + Sync + 'static) {
        *lock(&self.state.breaks) = Some(Arc::new(breaks));
    }

    /// Returns the media type and bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        lock(&self.state.content).stored_manifest(repository, name)
    }

    /// Returns a blob that was pushed into a repository.
    pub fn pushed_blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        let content = lock(&self.state.content);
        content
            .uploads
            .blob(repository, &digest.to_string())
            .cloned()
    }

    /// Returns how many uploads were begun and left.
    pub fn pending_uploads(&self) -> usize {
        lock(&self.state.content).uploads.pending()
    }

    /// Returns every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state.log).clone()
    }

    /// Returns how many requests so far had `part` in their path.
    pub fn count(&self, part: &str) -> usize {
        let log = lock(&self.state.log);
        log.iter()
            .filter(|request| request.path.contains(part))
            .count()
    }

    /// Returns the `Authorization` headers of all requests so far.
    pub fn authorizations(&self) -> Vec<String> {
        let log = lock(&self.state.log);
        let headers = log
            .iter()
            .filter_map(|request| request.header("authorization"));
        headers.map(str::to_owned).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl State {
    fn breaks(&self, request: &Recorded) -> Option<u64> {
        let breaks = lock(&self.breaks).clone()?;
        let mut request = request.clone();
        let log = lock(&self.log);
        let same = |other: &&Recorded| other.method == request.method && other.path == request.path;
        request.nth = log.iter().filter(same).count();
        drop(log);
        breaks(&request)
    }

    /// Records a request whose connection breaks.
    fn broken(&self, request: Recorded) {
        lock(&self.content).uploads.broken(&request);
        lock(&self.log).push(request);
    }

    /// Records a request and finds its answer.
    fn answer(&self, mut request: Recorded) -> Reply {
        {
            let mut log = lock(&self.log);
            let same =
                |other: &&Recorded| other.method == request.method && other.path == request.path;
            request.nth = log.iter().filter(same).count();
            log.push(request.clone());
        }
        let script = lock(&self.script).clone();
        let scripted = script.and_then(|script| script(&request));
        scripted.unwrap_or_else(|| lock(&self.content).answer(&request))
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.closed.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(stream) = stream {
            let state = Arc::clone(state);
            thread::spawn(move || connection::serve(stream, &state));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test's script may panic; the others' view of the log stays good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
