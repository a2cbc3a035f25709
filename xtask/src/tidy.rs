//! `cargo xtask tidy`: the house rules about files that no lint knows.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

/// Lines of a source file before its inline tests.
const MAX_LINES: usize = 400;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "core", "helpers", "misc"];

/// Checks every tracked file.
pub(crate) fn run() -> Result<()> {
    let mut wrong = Vec::new();
    for path in shell::tracked()? {
        let Ok(text) = std::fs::read_to_string(shell::root().join(&path)) else {
            continue;
        };
        if path.extension().is_some_and(|e| e == "rs") {
            source(&path, &text, &mut wrong);
        }
        if !path.components().any(|c| c.as_os_str() == "corpus") {
            text_file(&path, &text, &mut wrong);
        }
    }
    if !wrong.is_empty() {
        bail!("\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn source(path: &Path, text: &str, wrong: &mut Vec<String>) {
    let shown = path.display();
    if !text.starts_with("//!") {
        wrong.push(format!(
            "{shown}: no //! at the top that says what the file is for"
        ));
    }
    let is_test = path
        .components()
        .any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "tests.rs")));
    let bare = text
        .lines()
        .position(|line| line == "#[cfg(test)]")
        .unwrap_or(text.lines().count());
    if bare > MAX_LINES && !is_test {
        wrong.push(format!(
            "{shown}: {bare} lines, more than {MAX_LINES}: probably two things"
        ));
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        wrong.push(format!("{shown}: the name says nothing"));
    }
    for (number, line) in text.lines().enumerate() {
        // Put together here, so that this file does not find itself.
        let hole = [
            concat!("todo", "!("),
            concat!("unimplemented", "!("),
            concat!("FIX", "ME"),
        ];
        if hole.iter().any(|hole| line.contains(hole)) {
            wrong.push(format!("{shown}:{}: a hole", number + 1));
        }
    }
}

fn text_file(path: &Path, text: &str, wrong: &mut Vec<String>) {
    let shown = path.display();
    if !text.is_empty() && !text.ends_with('\n') {
        wrong.push(format!("{shown}: no newline at the end"));
    }
    let is_prose = path.extension().is_some_and(|e| e == "md" || e == "snap");
    for (number, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) && !is_prose {
            wrong.push(format!(
                "{shown}:{}: space at the end of the line",
                number + 1
            ));
        }
    }
}
