//! Files out of containers and into them.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

const SCRIPT: &str = "echo new > /new; mkdir -p /dir/sub; echo deep > /dir/sub/f; ln /new /dir/hard; \
     ln -s /new /soft; mkfifo /pipe; chmod 600 /etc/passwd; rm /etc/group; truncate -s 4M /holes";

#[test]
fn privileged_a_root_filesystem_is_exported() {
    for mode in ["plain", "auto"] {
        let host = Host::new();
        let mode = format!("--storage-mode={mode}");
        let ok = |words: &[&str]| host.ok(&[&[mode.as_str()], words].concat());
        ok(&["run", "--name", "one", "minimal", "sh", "-c", SCRIPT]);
        ok(&["export", "-o", "out.tar", "one"]);
        ok(&["export", "--output=again.tar", "one"]);
        let read = |name: &str| fs::read(host.folder().join(name)).unwrap();
        assert_eq!(read("out.tar"), read("again.tar"));
        let list = Command::new("tar")
            .args(["-tf", "out.tar"])
            .current_dir(host.folder())
            .output()
            .unwrap();
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        for name in [
            "dir/",
            "dir/hard",
            "dir/sub/f",
            "new",
            "soft",
            "pipe",
            "etc/passwd",
        ] {
            assert!(list.lines().any(|line| line == name), "{name}: {list}");
        }
        assert!(!list.contains("etc/group"), "{list}");
        ok(&["import", "out.tar", "imported"]);
        let look = "cat /soft /dir/sub/f; stat -c '%a' /etc/passwd; stat -c '%h' /new";
        assert_eq!(
            ok(&["run", "--rm", "imported", "sh", "-c", look]),
            "new\ndeep\n600\n2"
        );
        host.remove_containers();
    }
}

#[test]
fn privileged_a_running_container_is_exported() {
    let host = Host::new();
    host.ok(&[
        "create",
        "--name",
        "one",
        "-v",
        "/data",
        "minimal",
        "sh",
        "-c",
        "echo x > /f; echo y > /data/g; sleep 1000",
    ]);
    host.ok(&["start", "one"]);
    while !host.ok(&["diff", "one"]).contains("/f") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    host.ok(&["export", "-o", "out.tar", "one"]);
    host.ok(&["import", "out.tar", "imported"]);
    let look = "cat /f; ls /data /proc";
    assert_eq!(
        host.ok(&["run", "--rm", "--entrypoint", "sh", "imported", "-c", look])
            .lines()
            .next(),
        Some("x")
    );
    host.ok(&["rm", "-f", "-v", "one"]);
    assert_snapshot!(transcript(&host, &["export", "-o", "out.tar", "one"]), @r"
    ! error: no such container: one
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.sweep();
}
