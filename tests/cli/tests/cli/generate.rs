//! `generate systemd`: units, as they are printed and as systemd reads them.

use std::process::Command;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::{Host, Outcome};

/// A unit with what is this test's own taken out.
fn unit(host: &Host, words: &[&str]) -> String {
    let printed = host.ok(&[&["generate", "systemd"], words].concat());
    let program = lamina_testkit::binary().display().to_string();
    let (root, run) = (host.root(), host.run_root());
    let here = format!(" --root {} --run-root {}", root.display(), run.display());
    printed
        .replace(&program, "/usr/bin/lamina")
        .replace(&here, "")
}

#[test]
fn privileged_a_container_gets_a_unit() {
    let host = Host::new();
    for words in ["--name one --stop-timeout 3", "--name two --restart always"] {
        let words: Vec<&str> = words.split(' ').collect();
        host.ok(&[&["create"], &words[..], &["minimal", "true"]].concat());
    }
    assert_snapshot!(unit(&host, &["-n", "one"]), @r"
    # Made by `lamina generate systemd`.
    [Unit]
    Description=Container one
    Wants=network-online.target
    After=network-online.target local-fs.target

    [Service]
    ExecStart=/usr/bin/lamina start -a one
    ExecStop=/usr/bin/lamina stop -t 3 one
    Restart=on-failure
    SuccessExitStatus=143
    TimeoutStopSec=13

    [Install]
    WantedBy=multi-user.target
    ");
    let two = unit(&host, &["--name", "two", "-t", "0", "--restart-sec", "5"]);
    for line in ["Restart=no", "RestartSec=5", "TimeoutStopSec=10"] {
        assert!(two.lines().any(|other| other == line), "{two}");
    }
    let by_id = unit(&host, &["one"]);
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    assert!(by_id.contains(&format!("ExecStart=/usr/bin/lamina start -a {id}")));
    assert_snapshot!(unit(&host, &["--all-restart"]), @r"
    # Made by `lamina generate systemd`.
    [Unit]
    Description=Containers whose restart policy starts them at boot
    Wants=network-online.target
    After=network-online.target local-fs.target

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/usr/bin/lamina start --all-restart
    KillMode=process

    [Install]
    WantedBy=multi-user.target
    ");
    assert_snapshot!(transcript(&host, &["generate", "systemd", "nobody"]), @r"
    ! error: no such container: nobody
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_systemd_reads_the_units() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("SKIP: systemd-analyze is not installed");
        return;
    }
    let host = Host::new();
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    for words in [&["-f", "-n", "one"][..], &["--files", "--all-restart"]] {
        let mut write = host.command(&[&["generate", "systemd"], words].concat());
        let path = Outcome::of(write.current_dir(host.folder())).stdout;
        let path = path.trim().to_owned();
        let mut verify = Command::new("systemd-analyze");
        let found = verify.args(["verify", "--man=no", &path]).output().unwrap();
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(&path)).collect();
        assert!(ours.is_empty(), "{said}");
    }
    host.remove_containers();
    host.sweep();
}
