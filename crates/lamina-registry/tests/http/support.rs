//! A server in this process, and a client that sends what it is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lamina_registry::{Access, Limits, ServerConfig, Told, serve};
use lamina_store::Store;
use lamina_types::Digest;
use sha2::{Digest as _, Sha256, Sha512};

/// A server whose store is gone with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the code of an error.
    pub(crate) fn code(&self) -> String {
        let code = &self.json()["errors"][0]["code"];
        code.as_str().unwrap_or_default().to_owned()
    }
}

impl Server {
    /// Starts a server that everybody may write to.
    pub(crate) fn start(limits: Limits) -> Self {
        let access = Access {
            writable: true,
            ..Access::default()
        };
        Self::start_with(limits, access)
    }

    pub(crate) fn start_with(limits: Limits, access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            access,
            tls: None,
            limits,
        };
        let (to, from) = channel();
        let served = store.clone();
        // Ends with the process.
        thread::spawn(move || {
            serve(served, config, move |told| {
                if let Told::Listening(address) = told {
                    let _ = to.send(address);
                }
            })
        });
        Self {
            address: from.recv().unwrap(),
            store,
            _folder: folder,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// Sends a request and returns the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        head += &format!("content-length: {}\r\n", body.len());
        for line in headers {
            head += &format!("{line}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        // One that is refused early may not be read to its end.
        let _ = stream.write_all(body);
        read(stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Pushes a blob whole.
    pub(crate) fn blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.ask("POST", &path, &[], bytes);
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Puts a manifest.
    pub(crate) fn put(&self, repository: &str, name: &str, kind: &str, bytes: &[u8]) -> Answer {
        let path = format!("/v2/{repository}/manifests/{name}");
        self.ask("PUT", &path, &[&format!("content-type: {kind}")], bytes)
    }
}

/// Reads an answer to the end of its connection.
pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is reset has told what it had to tell.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().split(' ').nth(1);
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.and_then(|text| text.parse().ok()).unwrap_or(0),
        headers: headers
            .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
            .collect(),
        body: bytes.get(end + 4..).unwrap_or_default().to_vec(),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_sha512(Sha512::digest(bytes).into())
}
