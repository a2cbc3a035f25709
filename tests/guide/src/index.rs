//! The index of the guide: its table of experiments names tests, and they must be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Returns the names of tests in a page's table rows: words in backticks that are functions' names
/// and no paths.
pub fn named(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let is_name = |word: &&str| word.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
    words.filter(is_name).collect()
}

/// Returns those of the names that no Rust file below a folder has as a function.
pub fn missing<'n>(folder: &Path, names: &BTreeSet<&'n str>) -> BTreeSet<&'n str> {
    let mut missing = names.clone();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let hidden = |path: &Path| path.file_name().is_some_and(|name| name == "target");
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            todo.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| !hidden(path)),
            );
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            missing.retain(|name| !text.contains(&format!("fn {name}(")));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_index_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = fs::read_to_string(root.join("docs/guide/README.md")).expect("the index");
        let names = named(&page);
        assert!(names.len() > 10, "{names:?}");
        let mut lost = missing(&root.join("crates"), &names);
        lost.retain(|name| missing(&root.join("tests"), &[*name].into()).contains(name));
        assert_eq!(lost, BTreeSet::new(), "no such tests");
    }
}
