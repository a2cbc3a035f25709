//! One test for each section of `pages/*.md`.
//!
//! A block fenced as ```` ```console ```` holds commands, each after `$ `, and what they print on
//! stdout, with `ID` for every id and `…` as in the guide; where a command fails, `[exit N]` is its
//! last line. With `LAMINA_TEST_DOCKER` in the environment the sections are run against Docker
//! instead, one after the other.

use std::env::var_os;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lamina_guide_tests::{console, page};
use lamina_lifecycle_tests::engine::{Daemon, Engine};
use lamina_lifecycle_tests::form;
use lamina_testkit::{Host, have};
use libtest_mimic::{Arguments, Failed, Trial};

/// What a section says that Docker is not asked about.
const OURS: &str = "ours";

#[expect(
    clippy::disallowed_methods,
    reason = "who runs the tests says what they are run against"
)]
fn main() {
    let mut arguments = Arguments::from_args();
    let mut engine = Engine::Lamina;
    if var_os("LAMINA_TEST_DOCKER").is_some() {
        match Daemon::start() {
            Ok(daemon) => engine = Engine::Docker(daemon),
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "SKIP: dockerd: {error}");
                return;
            }
        }
        arguments.test_threads = Some(1);
    }
    let docker = matches!(engine, Engine::Docker(_));
    let engine = Arc::new(Mutex::new(engine));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages");
    let mut pages: Vec<_> = fs::read_dir(folder)
        .expect("pages")
        .map(|entry| entry.expect("an entry of pages").path())
        .collect();
    pages.sort();
    let trials = pages
        .iter()
        .flat_map(|path| trials(path, &engine, docker))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the process ends: the daemon is stopped with it.
    drop(engine);
    conclusion.exit();
}

fn trials(path: &Path, engine: &Arc<Mutex<Engine>>, docker: bool) -> Vec<Trial> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    page::sections(&text)
        .into_iter()
        .filter(|section| !(docker && section.title.ends_with(OURS)))
        .map(|section| {
            let (page, engine) = (path.to_path_buf(), Arc::clone(engine));
            let title = format!("privileged_{name}::{}", section.title);
            Trial::test(title, move || {
                let engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
                check(&page, &section, &engine)
            })
        })
        .collect()
}

fn check(page: &Path, section: &page::Section, engine: &Engine) -> Result<(), Failed> {
    if !have("busybox") {
        return Ok(());
    }
    let host = Host::new();
    let printed = console::run_on(&host, &engine.prologue(&host), &section.commands);
    engine.clean(&host);
    let mut wrong = String::new();
    for (command, printed) in section.commands.iter().zip(printed?) {
        let lines = form::lines(&printed);
        if !page::matches(&command.output, &lines) {
            wrong += &format!(
                "{}, line {}:\n$ {}\n--- the page says\n{}\n--- it printed\n{}\n\n",
                page.display(),
                command.line,
                command.text,
                command.output.join("\n"),
                lines.join("\n"),
            );
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failed::from(wrong))
    }
}
