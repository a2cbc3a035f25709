//! Which containers operations are about.

use std::collections::BTreeSet;

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
}
