//! Many runs at the same time.

use std::fs::{copy, create_dir_all};
use std::process::{Child, Command, Output, Stdio};

use lamina_testkit::{Host, have};

const RUNS: usize = 200;

#[test]
fn privileged_two_hundred_runs_at_once_all_succeed_and_leave_nothing() {
    if !have("busybox") {
        return;
    }
    let host = Host::new();
    import_busybox(&host);
    let run = || {
        let words = ["run", "--rm", "--network", "none", "busybox", "true"];
        let mut command = host.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<Child> = (0..RUNS).map(|_| run()).collect();
    let outputs = children.into_iter().map(|c| c.wait_with_output().unwrap());
    let failures: Vec<Output> = outputs.filter(|output| !output.status.success()).collect();
    let first = failures.first();
    assert!(
        failures.is_empty(),
        "{} of {RUNS} failed, the first: {first:?}",
        failures.len()
    );
    host.sweep();
}

/// Makes the image `busybox`, of one static program under two names.
fn import_busybox(host: &Host) {
    let bin = host.folder().join("tree/bin");
    create_dir_all(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let copied = busybox
        .iter()
        .any(|from| copy(from, bin.join("true")).is_ok());
    assert!(copied, "busybox is installed");
    let archive = host.folder().join("busybox.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(host.folder().join("tree"));
    assert!(
        tar.arg("-cf")
            .arg(&archive)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    host.ok(&["import", &archive.display().to_string(), "busybox"]);
}
