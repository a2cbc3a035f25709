//! `cargo xtask docs`: the API documentation builds without warnings, and the pages have no dead
//! links to files of the tree.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

/// Builds the documentation with private items, then follows the links of every page.
pub(crate) fn run() -> Result<()> {
    let mut doc = shell::command(
        shell::cargo_path(),
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--quiet",
        ],
    );
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let mut dead = Vec::new();
    for page in shell::tracked()?
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(shell::root().join(page))?;
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            let folder = page.parent().unwrap_or(Path::new(""));
            if !target.is_empty() && !shell::root().join(folder).join(target).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    if !dead.is_empty() {
        bail!("dead links: {}", dead.join(", "));
    }
    Ok(())
}

/// Returns the targets of `[text](target)` that are paths, not addresses.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_links_to_files() {
        let page = "[a](b.md) and [c](https://example.org/d) and [e](f.md#g)";
        assert_eq!(super::links(page).collect::<Vec<_>>(), ["b.md", "f.md#g"]);
    }
}
