//! Working out what may go.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lamina_image::Summary;
use lamina_store::{Ref, Shares, Space};
use lamina_types::{ContainerId, ImageId};

use super::{
    LabelFilter, PlannedContainer, PlannedImage, PruneError, PruneImages, PrunePlan, PruneRequest,
    PruneVolumes,
};
use crate::Engine;
use crate::container::list::{labels, state_of};
use crate::container::remove::RemoveOptions;
use crate::record::Record;

impl PruneRequest {
    /// Returns whether something made at a time, with labels, is among what may go.
    fn fits(&self, created: Option<&str>, labels: &BTreeMap<String, String>) -> bool {
        let made = created.and_then(|text| text.parse::<Timestamp>().ok());
        let in_time = match (self.until, made) {
            (None, _) => true,
            (Some(until), Some(made)) => made < until,
            // Of what nobody knows the age nobody can say that it is old.
            (Some(_), None) => false,
        };
        in_time && self.labels.iter().all(|filter| filter.fits(labels))
    }
}

impl LabelFilter {
    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = labels
            .get(&self.key)
            .is_some_and(|have| self.value.as_ref().is_none_or(|value| value == have));
        has == self.wanted
    }
}

impl Engine {
    /// Works out what a request lets go, and what that frees. Changes nothing.
    pub fn plan_prune(&self, request: &PruneRequest) -> Result<PrunePlan, PruneError> {
        let space = self.store.space()?;
        let shares = self.store.shares(&space)?;
        let containers = self.records()?;
        let mut plan = PrunePlan {
            rest: request.rest,
            now: request.now,
            ..PrunePlan::default()
        };
        if request.containers {
            // After they were listed: one that is being started is somebody's.
            let busy = self.store.ops().containers()?;
            let free = containers.iter().filter(|c| !busy.contains(&c.id));
            plan.containers = self.stopped(free, request, &space)?;
        }
        let going: BTreeSet<ContainerId> = plan.containers.iter().map(|c| c.id.clone()).collect();
        let staying = || containers.iter().filter(|c| !going.contains(&c.id));
        if let Some(which) = request.images {
            let used: BTreeSet<&ImageId> = staying().flat_map(Record::used_images).collect();
            let list = self.images().list()?;
            let names = self
                .store
                .refs()
                .list()
                .map_err(lamina_image::StoreFault::from)?;
            plan.images = images(&list, &names, which, request, &used, &shares);
        }
        plan.image_bytes = self.freed_together(&plan, &space)?;
        if let Some(which) = request.volumes {
            let used: BTreeSet<&str> = staying()
                .flat_map(|c| c.volumes.iter().map(|volume| volume.name.as_str()))
                .collect();
            plan.volumes = self.unused_volumes(which, request, &space, &used)?;
        }
        if request.rest {
            plan.unreferenced = shares.garbage;
            plan.trash = space.trash;
            let idle = space.partials.iter().filter(|(name, _)| {
                let digest = name.replacen('-', ":", 1).parse();
                !digest.is_ok_and(|digest| shares.fetching.contains(&digest))
            });
            plan.partials = idle.map(|(name, size)| (name.clone(), *size)).collect();
        }
        if request.now {
            plan.trash += space.removed.values().sum::<u64>() + shares.removed;
        }
        Ok(plan)
    }

    /// What the images of a plan free together; an image that a container of the plan holds is
    /// freed with it.
    fn freed_together(&self, plan: &PrunePlan, space: &Space) -> Result<u64, PruneError> {
        let names = plan.images.iter().flat_map(|image| &image.names);
        let names = names.map(|entry| entry.name.clone()).collect();
        let snapshots = plan.containers.iter();
        let snapshots = snapshots.map(|one| one.id.as_str().to_owned()).collect();
        Ok(self.store.freed_without(space, &names, &snapshots)?)
    }

    /// Volumes that no container uses, nor one that can be brought back.
    fn unused_volumes(
        &self,
        which: PruneVolumes,
        request: &PruneRequest,
        space: &Space,
        used: &BTreeSet<&str>,
    ) -> Result<Vec<(String, u64)>, PruneError> {
        let kept = self.removed_records()?;
        let volumes = self.volumes()?.into_iter().filter(|volume| {
            (which == PruneVolumes::Unused || volume.anonymous)
                && !used.contains(volume.name.as_str())
                && !kept.contains(&volume.name)
                && request.fits(Some(&volume.created), &volume.labels)
        });
        Ok(volumes
            .map(|volume| {
                let size = space.volumes.get(&volume.name).copied();
                (volume.name, size.unwrap_or(0))
            })
            .collect())
    }

    /// Containers that do not run and fit the request. One that goes with its run is left to that.
    fn stopped<'c>(
        &self,
        records: impl Iterator<Item = &'c Record>,
        request: &PruneRequest,
        space: &Space,
    ) -> Result<Vec<PlannedContainer>, PruneError> {
        let mut planned = Vec::new();
        for record in records {
            let labels = labels(&record.request.labels, &record.image_config);
            if record.request.remove || !request.fits(Some(&record.created), &labels) {
                continue;
            }
            // Opened one after the other: there may be more than files may be open.
            let Some(container) = self.listed(&record.id)? else {
                continue;
            };
            if state_of(&container)?.status.is_running() {
                continue;
            }
            planned.push(planned_container(record, space));
        }
        planned.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(planned)
    }
}

fn planned_container(record: &Record, space: &Space) -> PlannedContainer {
    let id = record.id.as_str();
    let of = |map: &BTreeMap<String, u64>| map.get(id).copied().unwrap_or(0);
    PlannedContainer {
        id: record.id.clone(),
        name: record.name.clone(),
        size: of(&space.snapshots) + of(&space.containers),
    }
}

impl Engine {
    /// Finds out what goes with these containers when they are removed, with the volumes that were
    /// made for them alone if asked for, and what that frees.
    pub fn plan_removal(
        &self,
        ids: &BTreeSet<ContainerId>,
        options: RemoveOptions,
    ) -> Result<PrunePlan, PruneError> {
        let space = self.store.space()?;
        let mut plan = PrunePlan::default();
        let mut volumes = BTreeSet::new();
        let goes = |user: &str| ids.iter().any(|id| id.as_str() == user);
        for id in ids {
            // One that has gone meanwhile needs no removal.
            let Some(container) = self.listed(id)? else {
                continue;
            };
            let record = &container.record;
            plan.containers.push(planned_container(record, &space));
            if options.volumes || record.request.remove {
                volumes.extend(self.own_volumes_among(record, &goes)?);
            }
        }
        plan.containers.sort_by(|a, b| a.name.cmp(&b.name));
        let size = |name: String| {
            let size = space.volumes.get(&name).copied();
            (name, size.unwrap_or(0))
        };
        plan.volumes = volumes.into_iter().map(size).collect();
        plan.image_bytes = self.freed_together(&plan, &space)?;
        Ok(plan)
    }
}

/// Images that nobody uses and that fit the request, the oldest first.
fn images(
    list: &[Summary],
    names: &[Ref],
    which: PruneImages,
    request: &PruneRequest,
    used: &BTreeSet<&ImageId>,
    shares: &Shares,
) -> Vec<PlannedImage> {
    let kept = request.keep_last.map(|count| newest(list, count));
    let mut by_image: BTreeMap<&ImageId, Vec<&Summary>> = BTreeMap::new();
    for summary in list {
        by_image.entry(&summary.id).or_default().push(summary);
    }
    let mut planned: Vec<(Option<&str>, PlannedImage)> = Vec::new();
    for (id, summaries) in by_image {
        let Some(first) = summaries.first() else {
            continue;
        };
        let dangling = summaries.iter().all(|summary| summary.tag.is_none());
        let goes = (which == PruneImages::Unused || dangling)
            && !used.contains(id)
            && !kept.as_ref().is_some_and(|kept| kept.contains(id))
            && request.fits(first.created.as_deref(), &first.labels);
        if goes {
            let own = names.iter().filter(|entry| entry.image == *id);
            let freed = shares.images.get(id).map_or(0, |share| share.freed);
            planned.push((
                first.created.as_deref(),
                PlannedImage {
                    id: id.clone(),
                    names: own.cloned().collect(),
                    freed,
                },
            ));
        }
    }
    planned.sort_by_key(|(created, _)| *created);
    planned.into_iter().map(|(_, image)| image).collect()
}

/// The newest images of each repository, which stay.
fn newest(list: &[Summary], count: usize) -> BTreeSet<&ImageId> {
    let mut by_repository: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    for summary in list {
        if let (Some(repository), Some(_)) = (&summary.repository, &summary.tag) {
            by_repository.entry(repository).or_default().push(summary);
        }
    }
    let mut kept = BTreeSet::new();
    for mut summaries in by_repository.into_values() {
        summaries.sort_by(|a, b| (&b.created, &b.tag).cmp(&(&a.created, &a.tag)));
        let mut images: Vec<&ImageId> = summaries.into_iter().map(|s| &s.id).collect();
        images.dedup();
        kept.extend(images.into_iter().take(count));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, tag: Option<&str>, seed: u8, created: &str) -> Summary {
        Summary {
            repository: Some(name.to_owned()),
            tag: tag.map(str::to_owned),
            digest: format!("sha256:{}", format!("{seed:02x}").repeat(32))
                .parse()
                .unwrap(),
            id: ImageId(
                format!("sha256:{}", format!("{seed:02x}").repeat(32))
                    .parse()
                    .unwrap(),
            ),
            created: Some(created.to_owned()),
            size: 1,
            missing_layers: 0,
            labels: BTreeMap::from([("tier".to_owned(), name.to_owned())]),
        }
    }

    fn chosen(request: &PruneRequest, which: PruneImages, used: &[u8]) -> Vec<u8> {
        let list = [
            image("app", Some("3"), 3, "2026-01-03T00:00:00Z"),
            image("app", Some("2"), 2, "2026-01-02T00:00:00Z"),
            image("app", Some("latest"), 3, "2026-01-03T00:00:00Z"),
            image("app", Some("1"), 1, "2026-01-01T00:00:00Z"),
            image("db", Some("1"), 4, "2025-01-01T00:00:00Z"),
            image("db", None, 5, "2025-06-01T00:00:00Z"),
        ];
        let used: Vec<ImageId> = list
            .iter()
            .filter(|one| used.contains(&(one.id.0.hex().as_bytes()[1] - b'0')))
            .map(|one| one.id.clone())
            .collect();
        let used = used.iter().collect();
        let planned = images(&list, &[], which, request, &used, &Shares::default());
        let seed = |image: PlannedImage| image.id.0.hex().as_bytes()[1] - b'0';
        planned.into_iter().map(seed).collect()
    }

    #[test]
    fn images_are_chosen_by_use_age_label_and_rank() {
        use PruneImages::{Dangling, Unused};
        let all = PruneRequest::default();
        assert_eq!(chosen(&all, Dangling, &[]), [5]);
        assert!(chosen(&all, Dangling, &[5]).is_empty());
        assert_eq!(chosen(&all, Unused, &[2]), [4, 5, 1, 3]);
        let last = |count| PruneRequest {
            keep_last: Some(count),
            ..PruneRequest::default()
        };
        assert_eq!(chosen(&last(1), Unused, &[]), [5, 1, 2]);
        assert_eq!(chosen(&last(2), Unused, &[]), [5, 1]);
        assert_eq!(chosen(&last(0), Unused, &[]), [4, 5, 1, 2, 3]);
        let until = PruneRequest {
            until: "2026-01-02T00:00:00Z".parse().ok(),
            ..PruneRequest::default()
        };
        assert_eq!(chosen(&until, Unused, &[]), [4, 5, 1]);
        let label = |value: Option<&str>, wanted| PruneRequest {
            labels: vec![LabelFilter {
                key: "tier".to_owned(),
                value: value.map(str::to_owned),
                wanted,
            }],
            ..PruneRequest::default()
        };
        assert_eq!(chosen(&label(Some("db"), true), Unused, &[]), [4, 5]);
        assert_eq!(chosen(&label(Some("db"), false), Unused, &[]), [1, 2, 3]);
        assert!(chosen(&label(None, false), Unused, &[]).is_empty());
    }

    #[test]
    fn nothing_of_unknown_age_is_old() {
        let request = PruneRequest {
            until: "2026-01-02T00:00:00Z".parse().ok(),
            ..PruneRequest::default()
        };
        assert!(!request.fits(None, &BTreeMap::new()));
        assert!(!request.fits(Some("yesterday"), &BTreeMap::new()));
        assert!(request.fits(Some("2026-01-01T23:59:59Z"), &BTreeMap::new()));
    }
}
