//! Mending, finding by finding, in an order in which each can rely on the one before.

use lamina_distribution::{Client, FetchError};
use lamina_store::{Fault, Finding, Operation, Owner, Subject};

use super::FsckError;
use crate::fault::StoreFault;
use crate::images::Images;
use crate::progress::Progress;

/// What mending needs of its caller.
pub struct Mending<'a> {
    /// Makes the client; only called when a registry has to be asked.
    pub client: &'a dyn Fn() -> Result<Client, FetchError>,
    /// Says whether an owner is in use: nothing is taken from under a running container.
    pub busy: &'a dyn Fn(&Owner) -> bool,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Mending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mending").finish_non_exhaustive()
    }
}

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mended {
    /// It is as it should be.
    Repaired,
    /// It is gone, honestly: why nothing better could be done.
    Dropped(String),
    /// It is as it was, with the reason.
    Left(String),
}

impl Images<'_> {
    /// Mends what can be mended, and drops what can not; returns what became of each finding, in
    /// their order.
    pub fn mend(
        &self,
        findings: &[Finding],
        mending: &Mending<'_>,
    ) -> Result<Vec<Mended>, FsckError> {
        let op = self.store.ops().begin("fsck", &[]);
        let op = op.map_err(StoreFault::from)?;
        let mut mend = Mend {
            images: *self,
            op: &op,
            mending,
            client: None,
            findings,
            results: vec![None; findings.len()],
        };
        mend.derived()?;
        mend.documents()?;
        mend.layers()?;
        mend.blobs()?;
        let results = mend.results.into_iter();
        let results = results.map(|one| one.unwrap_or(Mended::Left("nothing mends it".to_owned())));
        let results = results.collect();
        self.store
            .sync()
            .map_err(lamina_store::RefError::from)
            .map_err(StoreFault::from)?;
        self.store
            .refs()
            .refresh_index()
            .map_err(StoreFault::from)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(results)
    }
}

pub(super) struct Mend<'a> {
    pub(super) images: Images<'a>,
    pub(super) op: &'a Operation,
    pub(super) mending: &'a Mending<'a>,
    pub(super) client: Option<Result<Client, String>>,
    pub(super) findings: &'a [Finding],
    pub(super) results: Vec<Option<Mended>>,
}

impl Mend<'_> {
    /// Returns the client of registries, made at the first use; a message where there is none.
    pub(super) fn client(&mut self) -> Result<&Client, String> {
        let make = || (self.mending.client)().map_err(|error| error.to_string());
        let client = self.client.get_or_insert_with(make);
        client.as_ref().map_err(Clone::clone)
    }

    /// Returns the running container that has the thing.
    pub(super) fn busy(&self, finding: &Finding) -> Option<Mended> {
        let owner = finding
            .affects
            .iter()
            .find(|owner| (self.mending.busy)(owner))?;
        Some(Mended::Left(format!("{owner} is running: stop it first")))
    }

    /// What the store makes again by itself.
    fn derived(&mut self) -> Result<(), FsckError> {
        // Names first: what they are restored from is then derived from them.
        let is_name = |finding: &Finding| match &finding.subject {
            Subject::Own(path) => path.starts_with("refs/"),
            _ => false,
        };
        let all = || self.findings.iter().enumerate();
        let names = all().filter(|(_, one)| is_name(one));
        for (at, finding) in names.chain(all().filter(|(_, one)| !is_name(one))) {
            let store = self.images.store;
            let (subject, fault) = (&finding.subject, finding.fault);
            let result = match (subject, fault) {
                (_, fault) if fault.is_note() => {
                    Mended::Left(self.images.remedy(finding, &store.owners()?).to_string())
                }
                (Subject::Generated(_), _) => match self.busy(finding) {
                    Some(busy) => busy,
                    None => {
                        store.drop_damaged(subject, fault)?;
                        Mended::Repaired
                    }
                },
                (Subject::Own(_), Fault::Document) => self.name(finding)?,
                (Subject::Layer(_), Fault::Tree) if self.busy(finding).is_some() => continue,
                // What fails here is mended in another way, or dropped.
                _ => match store.mend(self.op, subject, fault) {
                    Ok(true) => Mended::Repaired,
                    Ok(false) | Err(_) => continue,
                },
            };
            self.results[at] = Some(result);
        }
        Ok(())
    }

    /// A damaged name is restored, or dropped: the image it was for is pulled or loaded again.
    fn name(&self, finding: &Finding) -> Result<Mended, FsckError> {
        let store = self.images.store;
        if store.mend(self.op, &finding.subject, finding.fault)? {
            return Ok(Mended::Repaired);
        }
        if !finding.affects.is_empty() {
            // The name itself is known, and the documents it contradicts are damaged too.
            return Ok(Mended::Left(
                "its image has to be repaired first".to_owned(),
            ));
        }
        store.drop_damaged(&finding.subject, finding.fault)?;
        Ok(Mended::Dropped("which name it was is not known".to_owned()))
    }
}
