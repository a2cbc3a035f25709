//! What would mend a finding, in words and before anything is done.

use std::fmt;

use lamina_store::{Fault, Finding, Owner, Owners, Subject};
use lamina_types::{DiffId, Reference};

use crate::images::Images;

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// It can be made of what is here.
    Derive,
    /// A registry has to give it again, for one of these names; where none does it is dropped.
    Fetch(Vec<Reference>),
    /// Nobody has it: it is dropped.
    Drop,
    /// A command to type.
    Command(String),
    /// Nothing is done to it.
    Nothing(&'static str),
}

impl Remedy {
    /// Returns the word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Derive => "derive",
            Self::Fetch(_) => "fetch",
            Self::Drop => "drop",
            Self::Command(_) => "command",
            Self::Nothing(_) => "none",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Derive => f.write_str("--repair makes it again from what is here"),
            Self::Fetch(names) => {
                let names: Vec<String> = names.iter().map(Reference::familiar).collect();
                write!(f, "--repair fetches it again for {}", names.join(", "))
            }
            Self::Drop => f.write_str("--repair drops it; nothing here can make it again"),
            Self::Command(command) => f.write_str(command),
            Self::Nothing(text) => f.write_str(text),
        }
    }
}

impl Images<'_> {
    /// Returns what would mend a finding.
    pub fn remedy(&self, finding: &Finding, owners: &Owners) -> Remedy {
        match (&finding.subject, finding.fault) {
            (_, Fault::Mode | Fault::Index | Fault::Info) => Remedy::Derive,
            (Subject::Own(_), Fault::Document) | (Subject::Generated(_), _) => Remedy::Derive,
            (_, Fault::Unverified) => Remedy::Command("lamina system migrate".to_owned()),
            (Subject::Foreign(_), _) => Remedy::Nothing("lamina leaves it alone"),
            (_, Fault::Left) => Remedy::Nothing("the next command tries again"),
            (Subject::Layer(diff_id), fault) => {
                let pooled = self.store.layers().get(diff_id).ok().flatten();
                let pooled = pooled.is_some_and(|layer| layer.info.pooled);
                match fault == Fault::Tree && pooled {
                    true => Remedy::Derive,
                    false => self.remedy_of_layer(diff_id, finding),
                }
            }
            (Subject::Content(key), _) => {
                let layers = owners.layers_of(key);
                let has_tree = |id: &DiffId| self.store.layers().has_tree(id).unwrap_or(false);
                let remedies = layers.iter().map(|id| match has_tree(id) {
                    true => Remedy::Derive,
                    false => self.remedy_of_layer(id, finding),
                });
                let remedies: Vec<Remedy> = remedies.collect();
                let best = remedies.iter().find(|one| **one == Remedy::Derive);
                best.or(remedies.first()).cloned().unwrap_or(Remedy::Drop)
            }
            (Subject::Blob(_), _) => fetched(finding),
            (Subject::Snapshot(id) | Subject::Container(id), _) => {
                Remedy::Command(format!("lamina rm {}", id.get(..12).unwrap_or(id)))
            }
            _ => Remedy::Nothing("nothing mends it"),
        }
    }

    fn remedy_of_layer(&self, diff_id: &DiffId, finding: &Finding) -> Remedy {
        let here = self.sources_of(diff_id).unwrap_or_default();
        let blobs = self.store.blobs();
        let is_here = |source: &super::layers::LayerSource| {
            blobs.size(&source.blob.digest).ok().flatten() == Some(source.blob.size)
        };
        match here.iter().any(is_here) {
            true => Remedy::Derive,
            false => fetched(finding),
        }
    }
}

fn fetched(finding: &Finding) -> Remedy {
    let names = finding.affects.iter().filter_map(|owner| match owner {
        Owner::Image(name) => Some(name.clone()),
        _ => None,
    });
    let names: Vec<Reference> = names.collect();
    match names.is_empty() {
        true => Remedy::Drop,
        false => Remedy::Fetch(names),
    }
}
