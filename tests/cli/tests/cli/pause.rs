//! Containers whose processes stand still.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

fn running(name: &str) -> Host {
    let host = Host::new();
    host.ok(&["create", "--name", name, "minimal", "sleep", "1000"]);
    host.ok(&["start", name]);
    host
}

#[test]
fn privileged_a_container_is_paused_and_goes_on() {
    let host = running("one");
    assert_snapshot!(transcript(&host, &["unpause", "one"]), @r"
    ! error: container [ID] is not paused
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["pause", "one"]), @r"
    one
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["pause", "one", "nobody"]), @r"
    ! error: container [ID] is already paused
    ! error: no such container: nobody
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    let status = host.ok(&["ps", "--format", "{{.Status}}|{{.State}}"]);
    assert!(status.ends_with("(Paused)|paused"), "{status}");
    let state = "{{.State.Status}} {{.State.Running}} {{.State.Paused}}";
    assert_eq!(
        host.ok(&["inspect", "-f", state, "one"]),
        "paused true true"
    );
    assert_eq!(
        host.ok(&["ps", "-q", "--filter", "status=paused"]).len(),
        12
    );
    assert_eq!(host.ok(&["unpause", "one"]), "one");
    assert_eq!(
        host.ok(&["inspect", "-f", state, "one"]),
        "running true false"
    );
    host.ok(&["rm", "-f", "one"]);
    host.sweep();
}

#[test]
fn privileged_a_paused_container_is_stopped_killed_and_removed() {
    let host = running("one");
    let exit = |host: &Host| host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "one"]);
    host.ok(&["pause", "one"]);
    host.ok(&["stop", "-t", "1", "one"]);
    assert_eq!(exit(&host), "137");
    host.ok(&["start", "one"]);
    host.ok(&["pause", "one"]);
    host.ok(&["kill", "one"]);
    assert_eq!(exit(&host), "137");
    host.ok(&["start", "one"]);
    host.ok(&["pause", "one"]);
    host.ok(&["rm", "-f", "one"]);
    host.sweep();
}

#[test]
fn privileged_what_does_not_run_is_not_paused() {
    let host = Host::new();
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["pause", "one"]), @r"
    ! error: container [ID] is not running
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["unpause", "one"]), @r"
    ! error: container [ID] is not running
    [exit 1]
    ");
    host.remove_containers();
}
