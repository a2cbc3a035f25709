//! `df --causes`: what makes a store larger than its data, cause by cause.

use std::collections::{BTreeSet, HashSet};

use lamina_fs::{PathError, Root};
use lamina_image::WasteClass;
use lamina_layer::ChangeKind;
use lamina_store::{Shares, Space};
use lamina_types::{ContainerId, Rootfs};
use rustix::fs::{FileType, OFlags, fstat};

use crate::Engine;
use crate::container::diff::DiffError;

/// What takes space that the data themselves do not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CauseKind {
    /// Layers of an image hold what later ones hide, or what builds have left.
    LayerBloat,
    /// What a container's program has written to its output.
    Output,
    /// Log files in a container's writable layer.
    LogFile,
    /// Files of the image that a container has changed: each was copied whole.
    CopiedUp,
    /// Other files in a container's writable layer, outside any volume.
    OutsideVolume,
    /// A volume that no container uses.
    UnusedVolume,
    /// A download that was not finished.
    PartialPull,
    /// What was removed and can still be brought back.
    Removed,
}

impl CauseKind {
    /// Returns the words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LayerBloat => "layer bloat",
            Self::Output => "container output",
            Self::LogFile => "log file",
            Self::CopiedUp => "copied-up file",
            Self::OutsideVolume => "outside a volume",
            Self::UnusedVolume => "unused volume",
            Self::PartialPull => "partial pull",
            Self::Removed => "removed",
        }
    }
}

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Which.
    pub kind: CauseKind,
    /// The image, container, volume or download it is about, by name.
    pub of: String,
    /// Bytes that it takes on the disk; of layer bloat, bytes of contents in the pool.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// The path of the largest of them, in the container or image.
    pub largest: Option<String>,
}

/// The files of one kind in a writable layer.
#[derive(Default)]
struct Group {
    bytes: u64,
    files: u64,
    largest: (u64, String),
}

impl Engine {
    /// Lists the causes, the largest first, from a measured store. Reads the split streams of all
    /// images and walks all writable layers: no content. What goes away meanwhile, or is damaged, is
    /// told as one number or left out; nothing is changed.
    pub fn causes(&self, space: &Space, shares: &Shares) -> Result<Vec<Cause>, PathError> {
        let mut causes = self.bloat(shares);
        let uses = self.container_uses()?;
        for one in &uses {
            let of = match one.name.is_empty() {
                true => one.id.short().to_owned(),
                false => one.name.clone(),
            };
            let size = |map: &std::collections::BTreeMap<String, u64>| {
                map.get(one.id.as_str()).copied().unwrap_or(0)
            };
            causes.push(whole(CauseKind::Output, &of, size(&space.logs)));
            match self.written(&one.id) {
                Ok(groups) => causes.extend(groups.into_iter().map(|(kind, group)| Cause {
                    kind,
                    of: of.clone(),
                    bytes: group.bytes,
                    files: group.files,
                    largest: Some(group.largest.1),
                })),
                Err(_) => {
                    causes.push(whole(CauseKind::OutsideVolume, &of, size(&space.snapshots)));
                }
            }
        }
        let used: BTreeSet<&String> = uses.iter().flat_map(|one| &one.volumes).collect();
        for (name, size) in &space.volumes {
            if !used.contains(name) {
                causes.push(whole(CauseKind::UnusedVolume, name, *size));
            }
        }
        for (name, size) in &space.partials {
            causes.push(whole(CauseKind::PartialPull, name, *size));
        }
        let removed = space.removed.values().sum::<u64>() + shares.removed;
        causes.push(whole(CauseKind::Removed, "", removed));
        causes.retain(|cause| cause.bytes > 0);
        causes.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.of.cmp(&b.of)));
        Ok(causes)
    }

    /// What is wasted in images. An image that cannot be explained has no line: `fsck` tells why.
    fn bloat(&self, shares: &Shares) -> Vec<Cause> {
        let mut causes = Vec::new();
        let images = self.images();
        for image in shares.images.values() {
            let Some(name) = image.names.first() else {
                continue;
            };
            let found = images.find(&name.to_string()).ok();
            let Some(explained) = found.and_then(|image| images.explain(&image, 1).ok()) else {
                continue;
            };
            // The pool has equal contents once, so they take nothing here.
            let waste = explained.findings.iter();
            let waste = waste.filter(|one| one.pooled > 0 && one.class != WasteClass::Duplicate);
            let largest = waste.clone().max_by_key(|one| one.pooled);
            causes.push(Cause {
                kind: CauseKind::LayerBloat,
                of: name.familiar(),
                bytes: waste.clone().map(|one| one.pooled).sum(),
                files: waste.map(|one| one.files).sum(),
                largest: largest.and_then(|one| Some(one.largest.first()?.0.clone())),
            });
        }
        causes
    }

    /// What a container has written, by kind.
    fn written(&self, id: &ContainerId) -> Result<Vec<(CauseKind, Group)>, DiffError> {
        let changes = self.diff(id)?;
        let Rootfs::Overlay {
            upper: Some(upper), ..
        } = self.existing_rootfs(id)?
        else {
            return Ok(Vec::new());
        };
        let upper = Root::open_path(&upper)?;
        let mut groups = [
            (CauseKind::LogFile, Group::default()),
            (CauseKind::CopiedUp, Group::default()),
            (CauseKind::OutsideVolume, Group::default()),
        ];
        let mut seen = HashSet::new();
        for change in changes {
            // A copy of metadata alone takes nothing.
            if change.kind == ChangeKind::Deleted || change.content_below.is_some() {
                continue;
            }
            // A running container may remove it meanwhile.
            let Ok(file) = upper.open(&change.path, OFlags::PATH | OFlags::NOFOLLOW) else {
                continue;
            };
            let Ok(stat) = fstat(&file) else { continue };
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !is_file || !seen.insert(stat.st_ino) {
                continue;
            }
            let path = change.path.to_string_lossy();
            let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            let place = match change.kind {
                _ if path.starts_with("var/log/") || path.ends_with(".log") => 0,
                ChangeKind::Modified => 1,
                _ => 2,
            };
            groups[place].1.add(bytes, &path);
        }
        Ok(groups.into())
    }
}

impl Group {
    fn add(&mut self, bytes: u64, path: &str) {
        self.bytes += bytes;
        self.files += 1;
        if bytes >= self.largest.0 {
            self.largest = (bytes, format!("/{path}"));
        }
    }
}

/// A cause that has one size and no files of its own.
fn whole(kind: CauseKind, of: &str, bytes: u64) -> Cause {
    Cause {
        kind,
        of: of.to_owned(),
        bytes,
        files: 1,
        largest: None,
    }
}
