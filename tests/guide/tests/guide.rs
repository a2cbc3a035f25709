//! Executes the guide: one test for each section of `docs/guide/*.md` and of the README's tour.
//!
//! A block fenced as ```` ```console ```` holds commands, each after `$ `, and what they print.
//! `…` stands for any text within a line, and alone on a line for any number of lines. The blocks
//! of a section run in one shell, in an empty folder, against a store of their own.

use std::io::Write as _;
use std::path::Path;

use lamina_guide_tests::{console, page};
use lamina_testkit::Host;
use libtest_mimic::{Arguments, Failed, Trial};

/// What a section asks for that not every kernel has.
const EROFS: &str = "--storage-mode=erofs";

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    let guide = std::fs::read_dir(root.join("docs/guide")).expect("docs/guide");
    pages.extend(guide.map(|entry| entry.expect("an entry of docs/guide").path()));
    pages.sort();
    let trials = pages.iter().flat_map(|path| trials(path)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials(path: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    page::sections(&text)
        .into_iter()
        .map(|section| {
            let title = format!("privileged_{name}::{}", section.title);
            let page = path.to_path_buf();
            Trial::test(title, move || check(&page, &section))
        })
        .collect()
}

fn check(page: &Path, section: &page::Section) -> Result<(), Failed> {
    let wants_erofs = |command: &page::Command| command.text.contains(EROFS);
    if section.commands.iter().any(wants_erofs) {
        let info = Host::new().lamina(&[EROFS, "info"]);
        if info.code != 0 {
            let _ = writeln!(std::io::stderr(), "SKIP: {}", info.stderr);
            return Ok(());
        }
    }
    let printed = console::run(&section.commands)?;
    for (command, printed) in section.commands.iter().zip(printed) {
        if !page::matches(&command.output, &printed) {
            return Err(Failed::from(format!(
                "{}, line {}:\n$ {}\n--- the page says\n{}\n--- it printed\n{}",
                page.display(),
                command.line,
                command.text,
                command.output.join("\n"),
                printed.join("\n"),
            )));
        }
    }
    Ok(())
}
