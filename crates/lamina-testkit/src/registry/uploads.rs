//! Blobs on their way in: begun, sent in pieces, committed; per repository, so that mounting one
//! from another repository means something.

use std::collections::BTreeMap;

use super::Recorded;
use super::content::sha256;
use super::reply::Reply;

#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// By number: what has arrived.
    open: BTreeMap<String, Vec<u8>>,
    begun: usize,
    /// By `repository/digest`.
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Uploads {
    /// Returns a blob that was pushed or mounted into a repository.
    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<&Vec<u8>> {
        self.blobs.get(&format!("{repository}/{digest}"))
    }

    /// Returns how many uploads have been begun and neither committed nor cancelled.
    pub(super) fn pending(&self) -> usize {
        self.open.len()
    }

    /// Adds what arrived of a piece whose connection then broke.
    pub(super) fn broken(&mut self, request: &Recorded) {
        let path = request.path.split('?').next().unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        if request.method == "PATCH"
            && let Some(bytes) = self.open.get_mut(id)
        {
            bytes.extend_from_slice(&request.body);
        }
    }

    pub(super) fn answer(&mut self, request: &Recorded, repository: &str, id: &str) -> Reply {
        match (request.method.as_str(), id) {
            ("POST", "") => self.begin(request, repository),
            (_, id) if !self.open.contains_key(id) => Reply::error(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            ),
            ("PATCH", id) => self.piece(request, repository, id),
            ("PUT", id) => self.commit(request, repository, id),
            ("GET", id) => self.state(204, repository, id),
            ("DELETE", id) => {
                self.open.remove(id);
                Reply::status(204)
            }
            _ => Reply::error(405, "UNSUPPORTED", "no such method"),
        }
    }

    fn begin(&mut self, request: &Recorded, repository: &str) -> Reply {
        if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
            && let Some(bytes) = self.blob(&from, &digest).cloned()
        {
            self.blobs.insert(format!("{repository}/{digest}"), bytes);
            return Reply::status(201).header("docker-content-digest", &digest);
        }
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        self.open.insert(id.clone(), Vec::new());
        self.state(202, repository, &id)
    }

    fn piece(&mut self, request: &Recorded, repository: &str, id: &str) -> Reply {
        let Some(bytes) = self.open.get_mut(id) else {
            return Reply::status(404);
        };
        let start = match request.header("content-range") {
            None => bytes.len(),
            Some(range) => {
                let start = range.split('-').next().and_then(|text| text.parse().ok());
                start.unwrap_or(usize::MAX)
            }
        };
        if start != bytes.len() {
            return Reply::status(416);
        }
        bytes.extend_from_slice(&request.body);
        self.state(202, repository, id)
    }

    fn commit(&mut self, request: &Recorded, repository: &str, id: &str) -> Reply {
        let mut bytes = self.open.remove(id).unwrap_or_default();
        bytes.extend_from_slice(&request.body);
        let digest = sha256(&bytes).to_string();
        if request.query("digest").as_deref() != Some(digest.as_str()) {
            return Reply::error(400, "DIGEST_INVALID", "provided digest did not match");
        }
        self.blobs.insert(format!("{repository}/{digest}"), bytes);
        Reply::status(201).header("docker-content-digest", &digest)
    }

    fn state(&self, status: u16, repository: &str, id: &str) -> Reply {
        let last = self.open.get(id).map_or(0, Vec::len).saturating_sub(1);
        Reply::status(status)
            .header(
                "location",
                &format!("/v2/{repository}/blobs/uploads/{id}?state=x"),
            )
            .header("range", &format!("0-{last}"))
    }
}
