//! Why something is kept: the chain of owners from a root to it, or that there is none.
//!
//! The same roots, documents and indexes that the collector marks from are followed here one root
//! at a time, so that what has a chain is what the collector keeps.

use lamina_types::{DiffId, Digest};

use super::subject::{Link, Subject, SubjectError};
use crate::collect::CollectError;
use crate::collect::mark::{Document, Marker};
use crate::key::image_key;
use crate::ops::Line;
use crate::pins::Pin;
use crate::pool::ObjectKey;
use crate::store::Store;

/// An index in an index in an index is not an image.
const DEPTH: usize = 4;

impl Store {
    /// Returns every chain of owners that keeps a thing. Empty: nothing does, and of what the
    /// collector looks after it is the next to go.
    pub fn why(&self, subject: &Subject) -> Result<Vec<Vec<Link>>, SubjectError> {
        let mut finder = Finder {
            marker: Marker::new(self),
            store: self,
            subject,
        };
        let mut chains = Vec::new();
        for live in self.ops().live().map_err(CollectError::from)? {
            let root = Link::Operation {
                kind: live.kind,
                pid: live.pid,
            };
            for line in &live.lines {
                if let Some(rest) = finder.line(line)? {
                    chains.push(std::iter::once(root).chain(rest).collect());
                    break;
                }
            }
        }
        for snapshot in self.pins().snapshots()? {
            let Some(pin) = snapshot.pin else { continue };
            let rest = match subject {
                Subject::Snapshot(id) if *id == snapshot.name => {
                    Some(vec![Link::Snapshot(id.clone())])
                }
                _ => finder.pin(&pin)?,
            };
            let root = Link::Container(snapshot.name);
            chains.extend(rest.map(|rest| std::iter::once(root).chain(rest).collect()));
        }
        for entry in self.refs().list().map_err(CollectError::from)? {
            let rest = match finder.document(&entry.target.digest, 0)? {
                None => finder.document(&entry.manifest.digest, 0)?,
                found => found,
            };
            let root = Link::Name(entry.name);
            chains.extend(rest.map(|rest| std::iter::once(root).chain(rest).collect()));
        }
        for held in self.removed().held()? {
            let mut rest = None;
            for entry in &held.refs {
                for digest in [&entry.target.digest, &entry.manifest.digest] {
                    rest = match rest {
                        None => finder.document(digest, 0)?,
                        some => some,
                    };
                }
            }
            for pin in &held.pins {
                rest = match rest {
                    None => finder.pin(pin)?,
                    some => some,
                };
            }
            let root = Link::Removed {
                id: held.id,
                command: held.command.join(" "),
            };
            chains.extend(rest.map(|rest| std::iter::once(root).chain(rest).collect()));
        }
        Ok(chains)
    }
}

/// Looks for one thing below one root after the other.
struct Finder<'s> {
    marker: Marker<'s>,
    store: &'s Store,
    subject: &'s Subject,
}

type Found = Result<Option<Vec<Link>>, SubjectError>;

impl Finder<'_> {
    fn line(&mut self, line: &Line) -> Found {
        Ok(match (line, self.subject) {
            (Line::Blob(digest), Subject::Blob(wanted)) if digest == wanted => {
                Some(vec![Link::Blob(digest.clone())])
            }
            (Line::Blob(digest), Subject::Partial(wanted)) if digest == wanted => {
                Some(vec![Link::Partial(digest.clone())])
            }
            (Line::Layer(diff_id), _) => return self.layer(diff_id),
            (Line::Image(digest), _) => return self.document(digest, 0),
            (Line::Objects(keys), Subject::Content(key)) if keys.contains(key) => {
                Some(vec![Link::Content(*key)])
            }
            (Line::Pool, Subject::Content(key)) => Some(vec![Link::Content(*key)]),
            (Line::Snapshot(id), Subject::Snapshot(wanted)) if id.as_str() == wanted => {
                Some(vec![Link::Snapshot(wanted.clone())])
            }
            _ => None,
        })
    }

    fn pin(&mut self, pin: &Pin) -> Found {
        for pin in pin.each() {
            if let Some(found) = self.one_image(pin)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn one_image(&mut self, pin: &Pin) -> Found {
        if let Some(manifest) = &pin.manifest
            && let Some(found) = self.document(manifest, 0)?
        {
            return Ok(Some(found));
        }
        if let (Some(image), Subject::Blob(wanted)) = (&pin.image, self.subject)
            && image.0 == *wanted
        {
            return Ok(Some(vec![Link::Config(wanted.clone())]));
        }
        self.stack(&pin.diff_ids)
    }

    /// Layers, and what is generated from them together.
    fn stack(&mut self, diff_ids: &[DiffId]) -> Found {
        if let Subject::Generated(name) = self.subject {
            let key = name.split('.').next().unwrap_or(name);
            return Ok((image_key(diff_ids) == key).then(|| vec![Link::Generated(name.clone())]));
        }
        for diff_id in diff_ids {
            if let Some(found) = self.layer(diff_id)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn layer(&mut self, diff_id: &DiffId) -> Found {
        let link = Link::Layer(diff_id.clone());
        let subject = self.subject;
        match subject {
            Subject::Layer(wanted) if wanted == diff_id => Ok(Some(vec![link])),
            Subject::Content(key) if self.has(diff_id, key)? => {
                Ok(Some(vec![link, Link::Content(*key)]))
            }
            _ => Ok(None),
        }
    }

    fn has(&mut self, diff_id: &DiffId, key: &ObjectKey) -> Result<bool, SubjectError> {
        if let Some(keys) = self.marker.index(diff_id)? {
            return Ok(keys.binary_search(key).is_ok());
        }
        // A layer with a tree has its contents there, and what it has is in its index too. One
        // that cannot be read holds nothing, as for the collector.
        let index = self.store.layers().index(diff_id).ok().flatten();
        let has = |index: lamina_layer::ObjectIndex| {
            index
                .records()
                .iter()
                .any(|record| ObjectKey::from(&record.id) == *key)
        };
        Ok(index.is_some_and(has))
    }

    fn document(&mut self, digest: &Digest, depth: usize) -> Found {
        let wanted = match self.subject {
            Subject::Blob(wanted) => Some(wanted),
            _ => None,
        };
        let document = self.marker.manifest(digest)?;
        let link = match document {
            Document::Index(_) => Link::Index(digest.clone()),
            _ => Link::Manifest(digest.clone()),
        };
        if wanted == Some(digest) {
            return Ok(Some(vec![link]));
        }
        let below = match document {
            Document::Index(manifests) if depth < DEPTH => {
                let mut found = None;
                for manifest in &manifests {
                    found = match found {
                        None => self.document(manifest, depth + 1)?,
                        some => some,
                    };
                }
                found
            }
            Document::Manifest { config, layers } => {
                if let Some(blob) = layers.iter().find(|layer| wanted == Some(*layer)) {
                    Some(vec![Link::Blob(blob.clone())])
                } else if wanted == Some(&config) {
                    Some(vec![Link::Config(config)])
                } else if let Document::Config(diff_ids) = self.marker.config(&config)? {
                    self.stack(&diff_ids)?
                } else {
                    None
                }
            }
            _ => None,
        };
        Ok(below.map(|rest| std::iter::once(link).chain(rest).collect()))
    }
}
