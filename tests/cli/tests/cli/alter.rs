//! Containers that are renamed, restarted, and given other limits.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

use crate::wait_until;

fn running(words: &[&str]) -> Host {
    let host = Host::new();
    let create = ["create", "--name", "one"];
    host.ok(&[&create[..], words, &["minimal", "sleep", "1000"]].concat());
    host.ok(&["start", "one"]);
    host
}

/// Reads a control file of the only container, in whichever version of cgroups there is.
fn limit(host: &Host, v1: (&str, &str), v2: &str) -> String {
    let id = host.ok(&["ps", "-a", "-q", "--no-trunc"]);
    let group = format!("{}/lamina-{id}", host.cgroup_parent());
    let v1 = format!("/sys/fs/cgroup/{}/{group}/{}", v1.0, v1.1);
    let v2 = format!("/sys/fs/cgroup/{group}/{v2}");
    let read = |path: &str| std::fs::read_to_string(path);
    let text = read(&v1).or_else(|_| read(&v2)).unwrap();
    text.trim().to_owned()
}

#[test]
fn privileged_a_container_gets_another_name() {
    let host = running(&[]);
    host.ok(&["create", "--name", "two", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["rename", "one", "/three"]), @"[exit 0]");
    assert_snapshot!(transcript(&host, &["rename", "one", "four"]), @r"
    ! error: no such container: one
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["rename", "three", "three"]), @r"
    ! error: renaming a container with the same name as its current name
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["rename", "three", "two"]), @r#"
    ! error: the container name "two" is already in use by container [ID]
    [exit 1]
    "#);
    assert_snapshot!(transcript(&host, &["rename", "three", "a/b"]), @r#"
    ! error: invalid container name "a/b", only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed
    [exit 1]
    "#);
    assert_eq!(host.ok(&["ps", "--format", "{{.Names}}"]), "three");
    assert_eq!(host.ok(&["inspect", "-f", "{{.Name}}", "three"]), "/three");
    // The former name is free.
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_a_container_is_restarted() {
    let host = running(&[]);
    let pid = |host: &Host| host.ok(&["inspect", "-f", "{{.State.Pid}}", "one"]);
    let first = pid(&host);
    host.ok(&["pause", "one"]);
    assert_eq!(host.ok(&["restart", "-t", "0", "one"]), "one");
    let second = pid(&host);
    assert_ne!(first, second);
    host.ok(&["kill", "one"]);
    assert_snapshot!(transcript(&host, &["restart", "-s", "KILL", "nobody", "one"]), @r"
    one
    ! error: no such container: nobody
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}}", "one"]),
        "running"
    );
    host.ok(&["rm", "-f", "one"]);
    host.sweep();
}

#[test]
fn privileged_a_restart_keeps_what_goes_with_its_run() {
    let host = running(&["--rm"]);
    host.ok(&["exec", "one", "touch", "/kept"]);
    for _ in 0..3 {
        assert_eq!(host.ok(&["restart", "-t", "0", "one"]), "one");
        host.ok(&["exec", "one", "test", "-e", "/kept"]);
    }
    host.ok(&["stop", "-t", "0", "one"]);
    // Its monitor removes it, a moment after it has ended; so does who looks, if not both at once.
    wait_until("its removal", || host.ok(&["ps", "-aq"]).is_empty());
    host.sweep();
}

#[test]
fn privileged_limits_are_changed_and_kept() {
    let host = running(&["-m", "64m"]);
    let memory = |host: &Host| limit(host, ("memory", "memory.limit_in_bytes"), "memory.max");
    let pids = |host: &Host| limit(host, ("pids", "pids.max"), "pids.max");
    // Up and down, over what memory and swap were limited to together.
    for size in ["512m", "32m", "100m"] {
        assert_eq!(host.ok(&["update", "-m", size, "one"]), "one");
        let bytes = size.trim_end_matches('m').parse::<u64>().unwrap() << 20;
        assert_eq!(memory(&host), bytes.to_string());
    }
    host.ok(&[
        "update",
        "--pids-limit",
        "77",
        "--cpus",
        "0.5",
        "-c",
        "512",
        "one",
    ]);
    assert_eq!(pids(&host), "77");
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}} \
                 {{.HostConfig.CpuShares}}";
    assert_eq!(
        host.ok(&["inspect", "-f", shown, "one"]),
        "104857600 77 500000000 512"
    );
    host.ok(&["restart", "-t", "0", "one"]);
    assert_eq!(
        (memory(&host), pids(&host)),
        ("104857600".to_owned(), "77".to_owned())
    );
    host.ok(&["update", "--pids-limit", "-1", "one"]);
    assert_eq!(pids(&host), "max");
    assert_snapshot!(transcript(&host, &["update", "--cpu-quota", "20000", "one"]), @r"
    ! error: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["update", "one"]), @r"
    ! error: you must provide one or more flags when using this command
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["update", "-m", "1m", "one"]), @r"
    ! error: minimum memory limit allowed is 6MB
    [exit 1]
    ");
    // What the kernel refuses is not recorded.
    let refused = host.lamina(&["update", "--cpuset-cpus", "8000", "one"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.HostConfig.CpusetCpus}}", "one"]),
        ""
    );
    host.ok(&["rm", "-f", "one"]);
    host.sweep();
}

#[test]
fn privileged_what_does_not_run_is_updated_for_its_next_start() {
    let host = Host::new();
    let annotated = ["--annotation", "a.b/c=d=e", "--annotation", "empty"];
    let create = ["create", "--name", "one"];
    host.ok(&[&create[..], &annotated, &["minimal", "sleep", "1000"]].concat());
    let shown = "{{json .HostConfig.Annotations}}";
    assert_eq!(
        host.ok(&["inspect", "-f", shown, "one"]),
        r#"{"a.b/c":"d=e","empty":""}"#
    );
    host.ok(&["update", "-m", "64m", "one"]);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.HostConfig.Memory}}", "one"]),
        "67108864"
    );
    let update = ["update", "--cpu-period", "50000", "--cpu-quota", "20000"];
    host.ok(&[&update[..], &["one"]].concat());
    host.ok(&["start", "one"]);
    let quota = |host: &Host| limit(host, ("cpu", "cpu.cfs_quota_us"), "cpu.max");
    assert!(quota(&host).starts_with("20000"), "{}", quota(&host));
    host.ok(&["update", "--cpu-quota", "30000", "one"]);
    assert!(quota(&host).starts_with("30000"), "{}", quota(&host));
    let shown = "{{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}}";
    assert_eq!(host.ok(&["inspect", "-f", shown, "one"]), "30000 50000");
    host.remove_containers();
    host.sweep();
}
