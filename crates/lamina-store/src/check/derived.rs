//! What is derived from other things, and what operations have left.

use super::{CheckError, Fault, Finding};
use crate::area::Area;
use crate::ledger::Subject;
use crate::refs;
use crate::store::Store;
use crate::sync;

/// Compares the OCI layout with the names, and looks for what should have been undone.
pub(super) fn check(store: &Store) -> Result<Vec<Finding>, CheckError> {
    let mut findings = Vec::new();
    // The second look is for an index that was just being written.
    let stale = || -> Result<Vec<&'static str>, CheckError> {
        Ok(refs::stale_oci_files(store).map_err(crate::collect::CollectError::from)?)
    };
    if !stale()?.is_empty() {
        for name in stale()? {
            let path = format!("{}/{name}", Area::Oci.path());
            let text = "does not list the images that are here as an OCI layout";
            findings.push(Finding::new(Subject::Own(path), Fault::Document, text));
        }
    }
    for error in &store.recovery().errors {
        let text = format!("an operation that died could not be undone: {error}");
        let path = Area::Ops.path().to_owned();
        findings.push(Finding::new(Subject::Own(path), Fault::Left, text));
    }
    for entry in store.dir(Area::Unsynced)?.entries()? {
        if !sync::is_marker_of(store.boot(), &entry.name) {
            let path = format!("{}/{}", Area::Unsynced.path(), entry.name.to_string_lossy());
            let text = "is no marker that lamina makes";
            findings.push(Finding::new(Subject::Foreign(path), Fault::Left, text));
        }
    }
    for entry in store.dir(Area::Layers)?.entries()? {
        let name = entry.name.to_string_lossy();
        if crate::collect::diff_id_of(&name).is_none() {
            let path = format!("{}/{name}", Area::Layers.path());
            let text = "no layer has such a name";
            findings.push(Finding::new(Subject::Foreign(path), Fault::Left, text));
        }
    }
    Ok(findings)
}
