//! One layer: its parts compared with each other, and the tar that is made of them with its name.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use lamina_layer::{
    Content, IndexRecord, Kind, LayerTree, LayerTreeError, Limits, ObjectId, ObjectIndex,
    SparsePart, SplitReader, rebuild,
};
use lamina_types::DiffId;

use super::contents::{Checking, Hashing};
use super::{Fault, Finding, Work, tree};
use crate::hash::Hasher;
use crate::layers::{LayerContents, LayerError, LayerInfo, content_id};
use crate::ledger::Subject;
use crate::pool::{Found, ObjectKey, PoolError};

/// The map of a file with holes: its length and its regions.
type Map = (u64, Vec<SparsePart>);

/// What a split stream says.
pub(super) struct Said {
    pub(super) tree: LayerTree<Content>,
    pub(super) index: ObjectIndex,
    pub(super) maps: HashMap<ObjectId, Map>,
    entries: u64,
    /// Bytes of content: of files, and of everything.
    bytes: [u64; 2],
}

/// Looks at one layer.
pub(super) fn check(work: &Work<'_>, diff_id: &DiffId) -> Vec<Finding> {
    let mut layer = Layer {
        work,
        diff_id,
        findings: Vec::new(),
    };
    if let Err(error) = layer.run()
        && !is_gone(&error)
    {
        layer.found(Fault::Damaged, format!("cannot be read: {error}"));
    }
    // Removed meanwhile: whatever was found is of no interest.
    if !work.store.layers().contains(diff_id).unwrap_or(true) {
        return Vec::new();
    }
    layer.findings
}

fn is_gone(error: &LayerError) -> bool {
    matches!(error, LayerError::Path(error) if error.is_not_found())
}

struct Layer<'w, 's> {
    work: &'w Work<'s>,
    diff_id: &'w DiffId,
    findings: Vec<Finding>,
}

impl Layer<'_, '_> {
    fn found(&mut self, fault: Fault, detail: impl Into<String>) {
        let subject = Subject::Layer(self.diff_id.clone());
        self.findings.push(Finding::new(subject, fault, detail));
    }

    fn content(&mut self, key: ObjectKey, fault: Fault, detail: impl Into<String>) {
        let finding = Finding::new(Subject::Content(key), fault, detail);
        self.findings.push(finding);
    }

    fn run(&mut self) -> Result<(), LayerError> {
        let layers = self.work.store.layers();
        let info = self.info();
        let has_tree = layers.has_tree(self.diff_id)?;
        let pooled = match &info {
            Some(info) => info.pooled,
            None => !has_tree,
        };
        let Some(split) = layers.split(self.diff_id)? else {
            if pooled || has_index(self)? {
                self.found(Fault::Split, "it is not here");
            } else {
                self.found(
                    Fault::Unverified,
                    "an older lamina unpacked it: it has no split stream",
                );
            }
            return Ok(());
        };
        let said = match read(split) {
            Ok(said) => said,
            Err(error) => {
                self.found(Fault::Split, error.to_string());
                return Ok(());
            }
        };
        self.index(&said);
        if let Some(info) = &info {
            self.compare_info(info, &said);
        }
        if pooled {
            self.objects(&said)?;
        }
        if !has_tree && !pooled {
            self.found(Fault::Tree, "it is not here");
            return Ok(());
        }
        let vouched = self.work.options.contents && self.tar(has_tree && !pooled, &said)?;
        if has_tree {
            let odd = layers.has_replaced(self.diff_id)?;
            let hash = self.work.options.contents && (pooled || odd || !vouched);
            let wrong = tree::check(self.work, self.diff_id, &said, hash)?;
            if let Some(text) = tree::summary(&wrong) {
                self.found(Fault::Tree, text);
            }
        }
        Ok(())
    }

    /// Reads `layer.json`.
    fn info(&mut self) -> Option<LayerInfo> {
        match self.work.store.layers().get_strict(self.diff_id) {
            Ok(Some(info)) => Some(info),
            Ok(None) => {
                self.found(Fault::Info, "it is not here");
                None
            }
            Err(LayerError::Version { found, .. }) => {
                let text = format!("was written by another lamina: version {found}");
                self.found(Fault::Unverified, text);
                None
            }
            Err(LayerError::Info { source, .. }) => {
                self.found(Fault::Info, format!("cannot be read: {source}"));
                None
            }
            Err(error) => {
                self.found(Fault::Info, format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn index(&mut self, said: &Said) {
        let sizes = |index: &ObjectIndex| -> Vec<(ObjectId, u64)> {
            index
                .records()
                .iter()
                .map(|one| (one.id, one.size))
                .collect()
        };
        match self.work.store.layers().index(self.diff_id) {
            Ok(Some(index)) if sizes(&index) == sizes(&said.index) => {}
            Ok(Some(_)) => self.found(Fault::Index, "is not that of the split stream"),
            Ok(None) => self.found(Fault::Index, "it is not here"),
            Err(LayerError::Index { source, .. }) => self.found(Fault::Index, source.to_string()),
            Err(error) => self.found(Fault::Index, error.to_string()),
        }
    }

    fn compare_info(&mut self, info: &LayerInfo, said: &Said) {
        let wrong = if info.entries != said.entries {
            Some("the number of entries")
        } else if !said.bytes.contains(&info.size) {
            Some("the size")
        } else if info.opaque_root != said.tree.opaque_root() {
            Some("whether it hides what is below")
        } else if info.implied != said.tree.implied() {
            Some("the implied directories")
        } else {
            None
        };
        if let Some(what) = wrong {
            self.found(Fault::Info, format!("{what}: not that of the split stream"));
        }
    }

    /// Are all contents in the pool, with the right lengths?
    fn objects(&mut self, said: &Said) -> Result<(), LayerError> {
        let pool = self.work.store.pool();
        for record in said.index.records() {
            let key = ObjectKey::from(&record.id);
            match pool.find(&record.id, record.size) {
                Ok(Found::Here { .. }) => {}
                Ok(Found::Missing) => {
                    let text = format!("content {} is not here", record.id);
                    self.content(key, Fault::Missing, text);
                }
                Ok(Found::Damaged) => {
                    let text = format!("it has not the {} bytes of its layers", record.size);
                    self.content(key, Fault::Damaged, text);
                }
                Err(PoolError::Collision { found, .. }) => {
                    self.content(key, Fault::Damaged, format!("its seal is that of {found}"));
                }
                Err(PoolError::Path(error)) => {
                    self.content(
                        key,
                        Fault::Damaged,
                        format!("cannot be read: {}", error.source),
                    );
                }
                Err(error) => return Err(LayerError::Pool(Box::new(error))),
            }
        }
        Ok(())
    }

    /// Makes the tar again and says whether it is the right one; if not, which contents are to
    /// blame is found in a second pass.
    fn tar(&mut self, of_tree: bool, said: &Said) -> Result<bool, LayerError> {
        let layers = self.work.store.layers();
        let open = || match of_tree {
            true => layers.contents(self.diff_id),
            false => Ok(LayerContents::pooled(self.work.store)),
        };
        let Some(split) = layers.split(self.diff_id)? else {
            return Ok(false);
        };
        let mut out = Hashing(Hasher::new(self.diff_id.0.algorithm()));
        let mut contents = Checking {
            inner: open()?,
            work: self.work,
        };
        let rebuilt = rebuild(split, &mut contents, &mut out, &Limits::default());
        let right = rebuilt.is_ok() && out.0.finish() == self.diff_id.0;
        if right {
            if !of_tree {
                let keys = said
                    .index
                    .records()
                    .iter()
                    .map(|one| ObjectKey::from(&one.id));
                self.work.vouch(keys);
            }
            return Ok(true);
        }
        let blamed = self.blame(&mut contents, of_tree)?;
        if blamed == 0 {
            let text = match rebuilt {
                Ok(_) => "the tar made of it has another digest".to_owned(),
                Err(error) => error.to_string(),
            };
            self.found(Fault::Split, text);
        }
        Ok(false)
    }

    /// Returns how many contents are not what the split stream says.
    fn blame(
        &mut self,
        contents: &mut Checking<'_, '_>,
        of_tree: bool,
    ) -> Result<usize, LayerError> {
        let mut wrong = Vec::new();
        let Some(split) = self.work.store.layers().split(self.diff_id)? else {
            return Ok(0);
        };
        let Ok(mut reader) = SplitReader::new(split, Limits::default()) else {
            return Ok(0);
        };
        while let Ok(Some(next)) = reader.next_entry() {
            let Content::Object(object) = next.content else {
                continue;
            };
            let found = content_id(&next.entry, &object, contents);
            let text = match found {
                Ok(id) if id == object.id => {
                    if !of_tree {
                        self.work.vouch([ObjectKey::from(&object.id)]);
                    }
                    continue;
                }
                Ok(id) => format!("its bytes have digest {}", id.digest()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    "it is not here".to_owned()
                }
                Err(error) => format!("cannot be read: {error}"),
            };
            wrong.push((next.entry.path, object, text));
        }
        let count = wrong.len();
        if of_tree {
            let files: Vec<_> = wrong
                .into_iter()
                .map(|(path, _, _)| tree::Wrong::new(&path, "content"))
                .collect();
            if let Some(text) = tree::summary(&files) {
                self.found(Fault::Tree, text);
            }
        } else {
            for (_, object, text) in wrong {
                let key = ObjectKey::from(&object.id);
                let missing = text == "it is not here";
                let fault = if missing {
                    Fault::Missing
                } else {
                    Fault::Damaged
                };
                self.content(key, fault, text);
            }
        }
        Ok(count)
    }
}

fn has_index(layer: &Layer<'_, '_>) -> Result<bool, LayerError> {
    match layer.work.store.layers().index(layer.diff_id) {
        Ok(index) => Ok(index.is_some()),
        Err(LayerError::Index { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Reads a split stream to its end.
pub(super) fn read(split: File) -> Result<Said, LayerTreeError> {
    let limits = Limits::default();
    let mut reader = SplitReader::new(split, limits.clone())?;
    let mut tree = LayerTree::new(&limits);
    let mut records = Vec::new();
    let mut maps = HashMap::new();
    let (mut entries, mut bytes) = (0, [0_u64; 2]);
    while let Some(next) = reader.next_entry()? {
        let entry = &next.entry;
        entries += 1;
        let is_file = matches!(entry.kind, Kind::File | Kind::Sparse { .. });
        let of_file =
            matches!(&next.content, Content::Inline(bytes) if bytes.len() as u64 != entry.stored);
        bytes[1] += entry.stored;
        if is_file && !of_file {
            bytes[0] += entry.stored;
        }
        if let Content::Object(object) = &next.content {
            records.push(IndexRecord {
                id: object.id,
                size: entry.file_size(),
                blocks: object.stored.div_ceil(4096) * 8,
            });
            if let Kind::Sparse { size, parts } = &entry.kind {
                maps.insert(object.id, (*size, parts.clone()));
            }
        }
        tree.add(next.entry, next.content)?;
    }
    Ok(Said {
        tree,
        index: ObjectIndex::new(records),
        maps,
        entries,
        bytes,
    })
}

impl Said {
    /// Returns the description of the layer that this is the split stream of.
    pub(super) fn info(&self, pooled: bool) -> LayerInfo {
        LayerInfo {
            size: self.bytes[0],
            entries: self.entries,
            implied: self.tree.implied(),
            opaque_root: self.tree.opaque_root(),
            pooled,
        }
    }
}
