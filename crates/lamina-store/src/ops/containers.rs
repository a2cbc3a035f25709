//! Which containers and volumes operations are about.

use std::collections::{BTreeMap, BTreeSet};

use lamina_fs::PathError;
use lamina_types::ContainerId;

use super::{Line, Ops};

impl Ops<'_> {
    /// Lists the containers that operations are making, starting or removing. One that was seen
    /// before this is called and is not listed is nobody's.
    pub fn containers(&self) -> Result<BTreeSet<ContainerId>, PathError> {
        let id = |line: Line| match line {
            Line::Container(id) | Line::Name { container: id, .. } => Some(id),
            Line::RunDir(path) => path.file_name()?.to_str()?.parse().ok(),
            _ => None,
        };
        Ok(self.leases()?.into_iter().filter_map(id).collect())
    }

    /// Lists the volumes that operations make or use, each with who does: a container's id, or
    /// the word for the operation. A volume that was seen before this is called and is not listed
    /// is used by those alone whose records say so.
    pub fn volumes(&self) -> Result<BTreeMap<String, BTreeSet<String>>, PathError> {
        let mut volumes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in self.live()? {
            let id = one.lines.iter().find_map(|line| match line {
                Line::Container(id) => Some(id.to_string()),
                _ => None,
            });
            let who = id.unwrap_or(one.kind);
            for line in one.lines {
                if let Line::UsesVolume(name) | Line::Volume(name) = line {
                    volumes.entry(name).or_default().insert(who.clone());
                }
            }
        }
        Ok(volumes)
    }
}
