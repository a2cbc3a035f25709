//! What changed from one image to another, and which instruction of the newer one did it.
//!
//! The finished trees are compared, not the layers: a file that was written again with the same
//! content, owner, mode and attributes has not changed, whatever layers it is in. That only its
//! time is another is a class of its own, for in images that were built anew it is the commonest.

use std::collections::{BTreeSet, HashMap, HashSet};

use lamina_layer::Shown;
use serde_json::Value;

use super::finished::{Entry, Finished, Inode};
use super::{Amount, ExplainError, steps_of};
use crate::images::{Image, Images};

/// What changed from one image to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Bytes of the older image's finished tree.
    pub before: u64,
    /// Bytes of the newer one's.
    pub after: u64,
    /// How many layers, from the bottom, both have.
    pub common: usize,
    /// The newer image's instructions with what they changed.
    pub steps: Vec<StepChanges>,
    /// What the older image has and no instruction of the newer one brings.
    pub absent: Amount,
    /// The changes, by path.
    pub changes: Vec<PathChange>,
    /// What a container runs with that is another, by name.
    pub settings: Vec<SettingChange>,
}

/// What one instruction of the newer image changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepChanges {
    /// The instruction, as the history has it.
    pub instruction: String,
    /// Its amounts, by class.
    amounts: [Amount; 5],
}

impl StepChanges {
    /// Returns how much it changed in one way. Bytes are those of the newer image, of what was
    /// deleted those of the older one.
    pub fn amount(&self, class: ChangeClass) -> Amount {
        self.amounts[class as usize]
    }
}

/// In which way a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeClass {
    /// It is new.
    Added,
    /// It has another content, leads elsewhere or is something else.
    Changed,
    /// It has another owner, mode or extended attribute.
    Metadata,
    /// It has another time and nothing else.
    Time,
    /// It is gone.
    Deleted,
}

impl ChangeClass {
    /// Every class, in the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Added,
        Self::Changed,
        Self::Metadata,
        Self::Time,
        Self::Deleted,
    ];

    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Metadata => "metadata",
            Self::Time => "time",
            Self::Deleted => "deleted",
        }
    }
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// In which way.
    pub class: ChangeClass,
    /// The path, absolute, as it is shown.
    pub path: String,
    /// What it was; `None` for what is new.
    pub before: Option<PathState>,
    /// What it is; `None` for what is gone.
    pub after: Option<PathState>,
    /// The step of the newer image that brought or deleted it, counted from 1; `None` where no
    /// step knows of it.
    pub step: Option<usize>,
    /// The bytes that count for it: none for another name of a file that counts already.
    pub bytes: u64,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// The word for what it is.
    pub kind: &'static str,
    /// Bytes of its content.
    pub size: u64,
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

/// One changed setting of the image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Its name: `Env`, `Cmd`, ….
    pub name: String,
    /// What it was; null where it was not set.
    pub before: Value,
    /// What it is.
    pub after: Value,
}

impl Images<'_> {
    /// Tells what changed from `older` to `newer`, by their layers' split streams: no content is
    /// read. Layers that both begin with are read once.
    pub fn difference(&self, older: &Image, newer: &Image) -> Result<Difference, ExplainError> {
        let (old, new) = (older.diff_ids(), newer.diff_ids());
        let common = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let mut before = Finished::default();
        for (number, layer) in old.iter().enumerate().take(common) {
            before.add(number, &self.tree_of(layer)?);
        }
        let mut after = before.clone();
        for (number, layer) in old.iter().enumerate().skip(common) {
            before.add(number, &self.tree_of(layer)?);
        }
        for (number, layer) in new.iter().enumerate().skip(common) {
            after.add(number, &self.tree_of(layer)?);
        }
        let (mut steps, mut of_layer) = (Vec::new(), Vec::new());
        for (n, step) in steps_of(newer).into_iter().enumerate() {
            of_layer.extend(step.layer.map(|_| n + 1));
            steps.push(StepChanges {
                instruction: step.instruction,
                ..StepChanges::default()
            });
        }
        let changes = compare(&before, &after, &of_layer);
        let mut absent = Amount::default();
        for change in &changes {
            let place = change.step.and_then(|step| steps.get_mut(step - 1));
            let amount = place.map_or(&mut absent, |step| &mut step.amounts[change.class as usize]);
            amount.add(change.bytes);
        }
        Ok(Difference {
            before: before.bytes(),
            after: after.bytes(),
            common,
            steps,
            absent,
            changes,
            settings: settings(older, newer),
        })
    }
}

fn settings(older: &Image, newer: &Image) -> Vec<SettingChange> {
    let read = |image: &Image| match serde_json::to_value(&image.config.config) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (read(older), read(newer));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |members: &serde_json::Map<String, Value>, name| {
        members.get(name).cloned().unwrap_or(Value::Null)
    };
    let changes = names.into_iter().map(|name| SettingChange {
        name: name.clone(),
        before: of(&old, name),
        after: of(&new, name),
    });
    changes.filter(|one| one.before != one.after).collect()
}

/// Compares two trees; `of_layer` has the step of each layer of the newer one.
fn compare(before: &Finished, after: &Finished, of_layer: &[usize]) -> Vec<PathChange> {
    let mut olds = Weights::new(before);
    let mut news = Weights::new(after);
    let mut changes = Vec::new();
    for (path, now) in &after.entries {
        let was = before.entries.get(path);
        let Some(class) = class_of(was, now) else {
            continue;
        };
        changes.push(PathChange {
            class,
            path: shown(path),
            before: was.map(state),
            after: Some(state(now)),
            step: of_layer.get(now.inode.0).copied(),
            bytes: match class {
                ChangeClass::Metadata | ChangeClass::Time => news.weigh(now, None),
                _ => news.weigh(now, Some(before)),
            },
        });
    }
    let gone = before.entries.iter();
    for (path, was) in gone.filter(|(path, _)| !after.entries.contains_key(*path)) {
        let by = after.taken.get(path).and_then(|layer| of_layer.get(*layer));
        changes.push(PathChange {
            class: ChangeClass::Deleted,
            path: shown(path),
            before: Some(state(was)),
            after: None,
            step: by.copied(),
            bytes: olds.weigh(was, Some(after)),
        });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn class_of(was: Option<&Entry>, now: &Entry) -> Option<ChangeClass> {
    let Some(was) = was else {
        return Some(ChangeClass::Added);
    };
    let rights = |entry: &Entry| (entry.meta.mode, entry.meta.uid, entry.meta.gid);
    if was.what != now.what {
        Some(ChangeClass::Changed)
    } else if rights(was) != rights(now) || was.meta.xattrs != now.meta.xattrs {
        Some(ChangeClass::Metadata)
    } else if was.meta.mtime != now.meta.mtime {
        Some(ChangeClass::Time)
    } else {
        None
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", Shown(path))
}

fn state(entry: &Entry) -> PathState {
    PathState {
        kind: entry.what.name(),
        size: entry.what.size(),
        mode: entry.meta.mode,
        owner: (entry.meta.uid, entry.meta.gid),
    }
}

/// Which bytes count, so that those of a file with several names count once.
struct Weights<'t> {
    /// The names of files that have several.
    names: HashMap<Inode, Vec<&'t [u8]>>,
    counted: HashSet<Inode>,
}

impl<'t> Weights<'t> {
    fn new(tree: &'t Finished) -> Self {
        let mut names: HashMap<Inode, Vec<&[u8]>> = HashMap::new();
        for (path, entry) in &tree.entries {
            if entry.what.size() > 0 {
                names.entry(entry.inode).or_default().push(path);
            }
        }
        names.retain(|_, names| names.len() > 1);
        Self {
            names,
            counted: HashSet::new(),
        }
    }

    /// Returns the bytes of an entry, none where they have counted, or where another of its names
    /// has the same content in the `other` tree.
    fn weigh(&mut self, entry: &Entry, other: Option<&Finished>) -> u64 {
        let names = self.names.get(&entry.inode).map_or(&[][..], Vec::as_slice);
        let mut there = names.iter().filter_map(|name| other?.entries.get(*name));
        let kept = there.any(|twin| twin.what == entry.what);
        match !kept && self.counted.insert(entry.inode) {
            true => entry.what.size(),
            false => 0,
        }
    }
}
