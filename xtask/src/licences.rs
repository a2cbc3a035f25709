//! `cargo xtask licences`: what the dependencies are licensed under, where they come from, and
//! which ones must never appear.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::shell;

/// Licences that may be linked into an Apache-2.0 binary.
const ALLOWED: [&str; 14] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
];

/// Crates that must not be in the tree, and why.
const BANNED: [(&str, &str); 5] = [
    (
        "aws-lc-sys",
        "tens of milliseconds at the first TLS use; ring is the provider",
    ),
    (
        "aws-lc-rs",
        "tens of milliseconds at the first TLS use; ring is the provider",
    ),
    ("openssl-sys", "a C library; the binary is static"),
    ("native-tls", "a C library; the binary is static"),
    (
        "libseccomp",
        "the filter compiler is ours, and LGPL does not fit a static binary",
    ),
];

/// The layer of the faces, which alone are async.
const FACES: u64 = 9;
/// What makes a crate async.
const ASYNC: [&str; 2] = ["tokio", "hyper"];

/// Checks the whole tree of dependencies.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(shell::root()).exec()?;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        if !metadata.workspace_members.contains(&package.id) {
            wrong.extend(judge(package));
        }
    }
    wrong.extend(async_below_faces(&metadata));
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// Returns what is wrong with crates that are no faces: one below them that leads to an async
/// runtime by any way, or one above that names one itself.
fn async_below_faces(metadata: &Metadata) -> Vec<String> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let needs: HashMap<_, Vec<_>> = nodes
        .map(|node| {
            let normal = node.deps.iter().filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let is_async = |id: &PackageId| ASYNC.contains(&metadata[id].name.as_str());
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(layer) = package.metadata["lamina"]["layer"].as_u64() else {
            continue;
        };
        if layer == FACES {
            continue;
        }
        let (mut seen, mut next) = (HashSet::new(), vec![&package.id]);
        while let Some(id) = next.pop() {
            for dependency in needs.get(id).into_iter().flatten().copied() {
                if is_async(dependency) {
                    wrong.push(format!(
                        "{} is no face and needs {}",
                        package.name, metadata[dependency].name
                    ));
                }
                // What stands above the faces has what they have.
                if layer < FACES && seen.insert(dependency) {
                    next.push(dependency);
                }
            }
        }
    }
    wrong
}

fn judge(package: &Package) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = package.name.as_str();
    if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        wrong.push(format!("{name} is banned: {why}"));
    }
    if package
        .source
        .as_ref()
        .is_none_or(|source| !source.is_crates_io())
    {
        wrong.push(format!("{name} does not come from crates.io"));
    }
    let licence = package.license.as_deref().unwrap_or("none");
    if !acceptable(licence) {
        wrong.push(format!("{name} is licensed under {licence}"));
    }
    wrong
}

/// Returns whether an SPDX expression can be satisfied with allowed licences only.
///
/// Understands `A OR B`, `A AND B` and parentheses around one of them, which is what the tree
/// has; anything else counts as not acceptable.
fn acceptable(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], "");
    plain
        .split(" AND ")
        .all(|all| all.split(" OR ").any(|one| ALLOWED.contains(&one.trim())))
}

#[cfg(test)]
mod tests {
    use super::acceptable;

    #[test]
    fn reads_spdx_expressions() {
        assert!(acceptable("MIT OR Apache-2.0"));
        assert!(acceptable("MIT/Apache-2.0"));
        assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(acceptable("GPL-3.0 OR MIT"));
        assert!(!acceptable("GPL-3.0"));
        assert!(!acceptable("MIT AND GPL-3.0"));
        assert!(!acceptable("none"));
    }
}
