//! What lists and documents show.

use std::process::Command;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::{Host, Outcome, binary};

#[test]
fn privileged_ps() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["ps", "-a"]), @r"
    CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES
    [exit 0]
    ");
    host.ok(&[
        "create",
        "--name",
        "one",
        "-l",
        "a=b",
        "minimal",
        "sh",
        "-c",
        "echo \u{1b}[31m",
    ]);
    let two = host.lamina(&["run", "--name", "two", "minimal", "sh", "-c", "exit 4"]);
    assert_eq!(two.code, 4, "{two:?}");
    let format = "{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Label \"a\"}}";
    assert_snapshot!(transcript(&host, &["ps", "-a", "--format", format]), @r#"
    two|minimal|"sh -c 'exit 4'"|exited|
    one|minimal|"sh -c 'echo \u{1b}[31m'"|created|b
    [exit 0]
    "#);
    assert_eq!(host.ok(&["ps", "-q"]), "");
    assert_eq!(host.ok(&["ps", "-l", "--format", "{{.Names}}"]), "two");
    assert_eq!(
        host.ok(&["ps", "-n", "5", "--format", "{{.Names}}"]),
        "two\none"
    );
    for (filter, names) in [
        ("name=on", "one"),
        ("label=a", "one"),
        ("label=a=c", ""),
        ("status=exited", "two"),
        ("status=created", "one"),
        ("exited=4", "two"),
        ("ancestor=minimal", "two\none"),
    ] {
        let shown = host.ok(&["ps", "-a", "-f", filter, "--format", "{{.Names}}"]);
        assert_eq!(shown, names, "{filter}");
    }
    assert_snapshot!(transcript(&host, &["ps", "-f", "bogus=1"]), @r#"
    ! error: invalid filter "bogus=1"
    ! hint: known are id=, name=, label=, status=, health=, exited=, ancestor=, before=, since=, volume=, network=, publish=, expose=, is-task=
    [exit 1]
    "#);
    let json = host.ok(&["ps", "-a", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(row["Names"], "two");
    assert!(row["Status"].as_str().unwrap().starts_with("Exited (4) "));
    host.ok(&["rm", "one", "two"]);
    host.sweep();
}

#[test]
fn privileged_more_containers_are_listed_than_files_may_be_open() {
    let host = Host::new();
    for _ in 0..30 {
        host.ok(&["create", "minimal", "true"]);
    }
    let binary = binary();
    let script = format!(
        "ulimit -n 24; {0} container prune --plan >&2 && {0} ps -a -q",
        binary.display()
    );
    let mut shell = Command::new("sh");
    host.environment(&mut shell);
    let outcome = Outcome::of(shell.args(["-c", &script]));
    assert_eq!(
        (outcome.code, outcome.stdout.lines().count()),
        (0, 30),
        "{outcome:?}"
    );
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_inspect() {
    let host = Host::new();
    host.ok(&[
        "create", "--name", "one", "-e", "A=1", "-m", "64m", "minimal", "sh",
    ]);
    for (template, expected) in [
        ("{{.Name}}", "/one"),
        ("{{.State.Status}}", "created"),
        ("{{.HostConfig.Memory}}", "67108864"),
        ("{{json .Config.Cmd}}", "[\"sh\"]"),
        ("{{.HostConfig.NetworkMode}}", "none"),
    ] {
        assert_eq!(
            host.ok(&["inspect", "-f", template, "one"]),
            expected,
            "{template}"
        );
    }
    let image = host.ok(&["inspect", "-f", "{{.Image}}", "one"]);
    assert_eq!(
        host.ok(&["inspect", "--type", "image", "-f", "{{.Id}}", "minimal"]),
        image
    );
    let all: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "one"])).unwrap();
    assert_eq!(all[0]["Name"], "/one");
    assert_snapshot!(transcript(&host, &["inspect", "nope"]), @r"
    []
    ! error: no such object: nope
    ! hint: lamina ps -a shows all containers, lamina images all images, lamina volume ls all volumes
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["inspect", "-f", "{{.Nope}}", "one"]), @r#"
    ! error: template: there is no field "Nope"
    ! hint: --format '{{json .}}' shows the fields there are
    [exit 1]
    "#);
    host.ok(&["rm", "one"]);
    host.sweep();
}

#[test]
fn privileged_logs() {
    let host = Host::new();
    host.ok(&[
        "run",
        "--name",
        "one",
        "minimal",
        "sh",
        "-c",
        "echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c",
    ]);
    let outcome = host.lamina(&["logs", "one"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("a\nc\n", "b\n")
    );
    assert_eq!(host.ok(&["logs", "-n", "1", "one"]), "c");
    assert_eq!(host.ok(&["logs", "--since", "2100-01-01", "one"]), "");
    assert_eq!(host.ok(&["logs", "--until", "2000-01-01", "one"]), "");
    let stamped = host.ok(&["logs", "-t", "-n", "1", "one"]);
    assert!(stamped.ends_with("Z c"), "{stamped}");
    assert_eq!(host.lamina(&["logs", "-f", "one"]).stdout, "a\nc\n");
    assert_snapshot!(transcript(&host, &["logs", "nope"]), @r"
    ! error: no such container: nope
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.ok(&["rm", "one"]);
    host.sweep();
}

#[test]
fn privileged_diff() {
    let host = Host::new();
    let script = "echo x > /etc/new; rm /etc/passwd; echo y >> /etc/group";
    host.ok(&["run", "--name", "one", "minimal", "sh", "-c", script]);
    assert_snapshot!(transcript(&host, &["diff", "one"]), @r"
    C /etc
    C /etc/group
    A /etc/new
    D /etc/passwd
    [exit 0]
    ");
    host.ok(&["rm", "one"]);
    host.sweep();
}

#[test]
fn privileged_rm() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "one", "minimal", "sleep", "100"]);
    assert_snapshot!(transcript(&host, &["rm", "one"]), @r"
    ! error: cannot remove container one: container is running
    ! hint: lamina stop one, or lamina rm -f one
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["rm", "-f", "one", "nope"]), @r"
    one
    ! error: no such container: nope
    ! hint: lamina ps -a shows all containers
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["rm", "nope"]), @r"
    ! error: no such container: nope
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.sweep();
}

#[test]
fn privileged_info() {
    let host = Host::new();
    assert_eq!(host.ok(&["info", "-f", "{{.Containers}}"]), "0");
    assert!(host.ok(&["info"]).contains("Storage Mode: "));
}
