//! What the tests run in processes of their own: this test binary, started again with one of these
//! names, in the root of a store.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lamina_store::{CollectOptions, Line, Store};

use crate::{Sample, write_file};

/// Starts one of these; it ends when it likes or is killed.
pub(crate) fn start(name: &str, root: &Path) -> Child {
    command(name, root).spawn().unwrap()
}

/// Returns the command that runs one of these.
pub(crate) fn command(name: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", name])
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Waits until the child says a line that begins with `word`, and returns the rest of it.
pub(crate) fn wait_for(child: &mut Child, word: &str) -> String {
    let out = child.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(out).lines();
    let line = lines.find_map(|line| {
        let line = line.unwrap();
        // The harness may have begun a line of its own.
        let start = line.find(word)?;
        Some(line[start + word.len()..].to_owned())
    });
    line.expect("the child says that it is ready")
}

/// Opens the store in the current folder, unless the test is run by hand.
fn store() -> Option<Store> {
    let here = Path::new(".");
    here.join("meta.json")
        .exists()
        .then(|| Store::open(&here.canonicalize().unwrap()).unwrap())
}

fn rest() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Makes half a container and waits for the end.
#[test]
#[ignore = "run by other tests"]
fn child_half_a_container() {
    let Some(store) = store() else { return };
    let id = "c".repeat(64);
    let container = id.parse::<lamina_types::ContainerId>().unwrap();
    let run = store.root().path().join("run/containers").join(&id);
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.id())).unwrap();
    let start_time = stat.split_ascii_whitespace().nth(21).unwrap();
    let lines = [
        Line::Snapshot((&container).into()),
        Line::Container(container.clone()),
        Line::Name {
            name: "web".parse().unwrap(),
            container,
        },
        Line::RunDir(run.clone()),
        Line::Process {
            pid: sleeper.id().cast_signed(),
            start_time: start_time.parse().unwrap(),
            boot_id: store.boot().as_str().to_owned(),
        },
    ];
    let op = store.ops().begin("create", &lines).unwrap();
    for dir in [
        format!("snap/{id}/upper/a/b"),
        format!("containers/{id}/log"),
    ] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::create_dir_all(&run).unwrap();
    write_file(run.join("config.json"), "{}");
    symlink(format!("../{id}"), "containers/names/web").unwrap();
    let draft = store.layers().draft(&op).unwrap();
    write_file(draft.tree().path().join("file"), "x");
    println!("ready {}", sleeper.id());
    sleeper.wait().unwrap();
    rest();
}

/// Opens the store, which undoes what is dead.
#[test]
#[ignore = "run by other tests"]
fn child_open() {
    drop(store());
}

/// Pulls, tags, removes and collects for a second.
#[test]
#[ignore = "run by other tests"]
fn child_stress() {
    let Some(store) = store() else { return };
    let end = Instant::now() + Duration::from_millis(1500);
    let mut turn = std::process::id();
    while Instant::now() < end {
        turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let seed = format!("image {}", (turn >> 8) % 3);
        match (turn >> 16) % 4 {
            0 => drop(store.collect(&CollectOptions::default()).unwrap()),
            1 => drop(store.empty_trash()),
            2 => {
                let name = format!("name{}", (turn >> 8) % 3).parse().unwrap();
                store.refs().remove(&name).unwrap();
            }
            _ => {
                let op = store.ops().begin("pull", &[]).unwrap();
                let name = format!("name{}", (turn >> 8) % 3);
                let sample = Sample::put(&store, &op, &name, &seed);
                assert!(sample.is_whole(&store), "{seed}: leased, but gone");
                store.refs().set(&sample.entry).unwrap();
                assert!(sample.is_whole(&store), "{seed}: published, but gone");
                op.finish().unwrap();
            }
        }
    }
}
