//! `fsck`: the store, its images, and the containers; and what mends them.

use lamina_fs::PathError;
use lamina_image::{FsckError, Mended, Mending, Progress, Remedy};
use lamina_store::{Area, CheckOptions, CheckProgress, Fault, Finding, Owner, Subject};
use lamina_types::{ContainerId, ErrorKind, with_causes};

use crate::Engine;
use crate::container::find::{Container, FindError};

/// One finding, what would mend it, and what became of it where that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is wrong.
    pub finding: Finding,
    /// What mends it.
    pub remedy: Remedy,
    /// What was done; `None` where nothing was asked for.
    pub mended: Option<Mended>,
}

/// Why the store could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckupError {
    /// The store or its images.
    #[error(transparent)]
    Store(#[from] FsckError),
    /// The folders of containers.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl CheckupError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Path(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Compares everything in the store with what it should be. Changes nothing and locks nothing.
    pub fn check(
        &self,
        options: CheckOptions,
        watch: &(dyn Fn(CheckProgress) + Sync),
    ) -> Result<Vec<Diagnosis>, CheckupError> {
        let images = self.images();
        let mut findings = images.check(options, watch)?;
        findings.extend(self.check_containers()?);
        let owners = self.store.owners().map_err(FsckError::from)?;
        let diagnosed = findings.into_iter().map(|finding| Diagnosis {
            remedy: images.remedy(&finding, &owners),
            finding,
            mended: None,
        });
        Ok(diagnosed.collect())
    }

    /// Mends what a check has found, as far as it can be mended.
    pub fn mend(
        &self,
        diagnoses: &mut [Diagnosis],
        progress: &dyn Progress,
    ) -> Result<(), CheckupError> {
        let running: Vec<String> = (self.container_uses()?.into_iter())
            .filter(|one| one.running)
            .map(|one| one.id.to_string())
            .collect();
        let busy = |owner: &Owner| match owner {
            Owner::Container(id) => running.contains(id),
            Owner::Image(_) | Owner::Removal(_) | Owner::Operation(_) => false,
        };
        let mending = Mending {
            client: &*self.client,
            busy: &busy,
            progress,
        };
        let findings: Vec<Finding> = diagnoses.iter().map(|one| one.finding.clone()).collect();
        let mended = self.images().mend(&findings, &mending)?;
        for (diagnosis, mended) in diagnoses.iter_mut().zip(mended) {
            diagnosis.mended = Some(match self.mend_name(&diagnosis.finding)? {
                true => Mended::Repaired,
                false => mended,
            });
        }
        Ok(())
    }

    fn check_containers(&self) -> Result<Vec<Finding>, PathError> {
        let mut findings = Vec::new();
        for id in self.container_ids()? {
            findings.extend(self.check_container(&id)?);
        }
        let names = self.store.dir(Area::Names)?;
        for entry in names.entries()? {
            let name = entry.name.to_string_lossy().into_owned();
            let leads_to = name
                .parse()
                .ok()
                .map(|name| self.named(&name))
                .transpose()?;
            let is_there = match leads_to.flatten() {
                Some(id) => self.store.dir(Area::Containers)?.exists(id.as_str())?,
                None => false,
            };
            if !is_there && names.exists(&entry.name)? {
                let subject = Subject::Own(name_path(&name));
                findings.push(Finding::new(
                    subject,
                    Fault::Damaged,
                    "leads to no container",
                ));
            }
        }
        Ok(findings)
    }

    fn check_container(&self, id: &ContainerId) -> Result<Vec<Finding>, PathError> {
        let owner = Owner::Container(id.to_string());
        let subject = || Subject::Container(id.to_string());
        let wrong = |subject, fault, text: String| {
            vec![Finding::new(subject, fault, text).affecting([owner.clone()])]
        };
        let container = match self.load(id) {
            Ok(container) => container,
            // Being made or being removed.
            Err(FindError::NotFound(_)) => return Ok(Vec::new()),
            Err(error) => {
                let text = format!("its record cannot be read: {}", with_causes(&error));
                return Ok(wrong(subject(), Fault::Document, text));
            }
        };
        let record = &container.record;
        let mut findings = Vec::new();
        if record.id != *id {
            let text = format!("its record is that of container {}", record.id);
            findings.extend(wrong(subject(), Fault::Document, text));
            return Ok(findings);
        }
        if let Err(error) = container.state() {
            let text = format!("its state cannot be read: {}", with_causes(&error));
            findings.extend(wrong(subject(), Fault::Document, text));
        }
        if self.named(&record.name)?.as_ref() != Some(id) {
            let subject = Subject::Own(name_path(record.name.as_str()));
            let text = "does not lead to its container".to_owned();
            findings.extend(wrong(subject, Fault::Missing, text));
        }
        findings.extend(self.check_snapshot(&container, &wrong));
        // Removed while it was looked at.
        if matches!(self.load(id), Err(FindError::NotFound(_))) {
            findings.clear();
        }
        Ok(findings)
    }

    fn check_snapshot(
        &self,
        container: &Container,
        wrong: &dyn Fn(Subject, Fault, String) -> Vec<Finding>,
    ) -> Vec<Finding> {
        let record = &container.record;
        let Ok(snapshots) = self.snapshotter() else {
            return Vec::new();
        };
        let subject = Subject::Snapshot(record.id.to_string());
        match snapshots.upper(&(&record.id).into()) {
            Ok(Some(upper)) if !upper.is_dir() => {
                let text = "what the container has written is gone".to_owned();
                wrong(subject, Fault::Missing, text)
            }
            Ok(_) => {
                let pins = self.store.pins().list().unwrap_or_default();
                let mine = pins
                    .iter()
                    .find(|(id, _)| id.as_str() == record.id.as_str());
                match mine {
                    Some((_, pin)) if pin.diff_ids != record.layers => {
                        let text = "it stands on other layers than its record says".to_owned();
                        wrong(subject, Fault::Document, text)
                    }
                    _ => Vec::new(),
                }
            }
            Err(lamina_snapshot::PrepareError::NotFound(_)) => wrong(
                subject,
                Fault::Missing,
                "its writable layer is gone".to_owned(),
            ),
            Err(error) => {
                let text = format!("its description cannot be read: {}", with_causes(&error));
                wrong(subject, Fault::Document, text)
            }
        }
    }

    /// Makes a name lead to its container again, or removes one that leads nowhere; false for
    /// findings about other things.
    fn mend_name(&self, finding: &Finding) -> Result<bool, PathError> {
        let Subject::Own(path) = &finding.subject else {
            return Ok(false);
        };
        let prefix = format!("{}/", Area::Names.path());
        let Some(name) = path.strip_prefix(&prefix) else {
            return Ok(false);
        };
        let names = self.store.dir(Area::Names)?;
        let id = finding.affects.iter().find_map(|owner| match owner {
            Owner::Container(id) => Some(id),
            _ => None,
        });
        // Somebody else may have taken the name: then the link stays, and rm needs the id.
        if let (Some(_), Ok(name)) = (id, name.parse())
            && let Some(other) = self.named(&name)?
            && self.store.dir(Area::Containers)?.exists(other.as_str())?
        {
            return Ok(false);
        }
        self.store.trash(names, name)?;
        if let Some(id) = id {
            names.symlink(name, format!("../{id}"))?;
        }
        names.sync()?;
        Ok(true)
    }
}

/// Returns the path of a container's name below the root.
fn name_path(name: &str) -> String {
    format!("{}/{name}", Area::Names.path())
}
