//! Files out of containers and into them.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
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

/// Makes local files of every kind below the host's folder.
fn local(host: &Host) -> String {
    let script = "mkdir -p src/sub; echo one > src/f; ln src/f src/hard; ln -s f src/soft; \
                  truncate -s 2M src/holes; printf end >> src/holes; chown 7:8 src/f; chmod 640 src/f; \
                  setfattr -n user.mine -v x src/f; echo deep > src/sub/g; touch -d @1000000000 src/sub/g";
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(host.folder())
        .status();
    assert!(done.unwrap().success());
    host.folder().join("src").display().to_string()
}

const LOOK: &str = "cd /in; cat f soft sub/g; stat -c '%a %u %g %h' f; stat -c '%s %Y' sub/g; stat -c %N soft; \
                    stat -c '%s' holes; ls";

/// Copies in and out again; `running` or not, the same must come out.
fn there_and_back(mode: &str, running: bool) {
    let host = Host::new();
    let ok = |words: &[&str]| host.ok(&[&[mode], words].concat());
    let source = local(&host);
    ok(&[
        "create", "--name", "one", "-v", "/data", "minimal", "sleep", "1000",
    ]);
    if running {
        ok(&["start", "one"]);
    }
    assert_eq!(ok(&["cp", "src", "one:/in"]), "");
    ok(&["cp", "-a", "src", "one:/kept"]);
    ok(&["cp", "src/f", "one:/data"]);
    ok(&["cp", "one:/kept/.", "back"]);
    let compare = Command::new("sh")
        .args(["-c", "diff -r --no-dereference src back && stat -c '%u %g %h %a' back/f && \
                      stat -c %b back/holes && getfattr -n user.mine --only-values back/f 2>/dev/null || true"])
        .current_dir(host.folder())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&compare.stdout).into_owned();
    assert!(text.starts_with("0 0 2 640\n"), "{text}");
    ok(&["cp", "-a", "one:/kept/f", "single"]);
    let owner = fs::metadata(host.folder().join("single")).unwrap();
    assert_eq!(owner.uid(), 7);
    ok(&["cp", &format!("{source}/f"), "one:/in/again"]);
    ok(&["cp", "-L", "src/soft", "one:/in/followed"]);
    if running {
        ok(&["kill", "one"]);
    }
    assert_eq!(ok(&["cp", "one:/data/f", "volume"]), "");
    assert_eq!(
        fs::read_to_string(host.folder().join("volume")).unwrap(),
        "one\n"
    );
    ok(&["commit", "one", "new"]);
    assert_eq!(
        ok(&["run", "--rm", "new", "sh", "-c", LOOK]),
        "one\none\ndeep\n640 0 0 2\n5 1000000000\n'soft' -> 'f'\n2097155\nagain\nf\nfollowed\nhard\nholes\nsoft\nsub"
    );
    ok(&["rm", "-f", "-v", "one"]);
    host.sweep();
}

#[test]
fn privileged_files_go_into_a_stopped_container_and_come_back() {
    there_and_back("--storage-mode=auto", false);
}

#[test]
fn privileged_files_go_into_a_running_container_and_come_back() {
    there_and_back("--storage-mode=plain", true);
}

#[test]
fn privileged_dockers_rules_for_what_exists() {
    let host = Host::new();
    local(&host);
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    for words in [
        ["cp", "src", "one:/etc/passwd"],
        ["cp", "src/f", "one:/none/"],
        ["cp", "src/f", "one:/none/x"],
        ["cp", "src/f/", "one:/x"],
        ["cp", "one:/none", "x"],
        ["cp", "src/none", "one:/x"],
        ["cp", "one:/etc", "one:/x"],
        ["cp", "src", "dst"],
        ["cp", "-", "one:/none"],
    ] {
        let outcome = host.lamina(&words);
        assert_eq!(outcome.code, 1, "{words:?}: {outcome:?}");
    }
    assert_snapshot!(transcript(&host, &["cp", "one:/none", "x"]), @r"
    ! error: could not find the file /none in container one
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["cp", "src", "one:/etc/passwd"]), @r"
    ! error: cannot copy directory
    [exit 1]
    ");
    // A directory goes into one that exists, its content where that is asked for.
    host.ok(&["cp", "src", "one:/srv"]);
    host.ok(&["cp", "src/.", "one:/mnt"]);
    let list = host.ok(&["diff", "one"]);
    for path in ["A /srv/src/f", "A /mnt/f"] {
        assert!(list.lines().any(|line| line == path), "{path}: {list}");
    }
    assert!(!list.contains("/none"), "{list}");
    host.remove_containers();
}

#[test]
fn privileged_a_tar_goes_in_and_out() {
    let host = Host::new();
    local(&host);
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    let binary = lamina_testkit::binary().display().to_string();
    let script = format!(
        "tar -cf - src | {binary} cp - one:/mnt && {binary} cp one:/mnt/src - | tar -tf - | sort"
    );
    let mut command = Command::new("sh");
    host.environment(&mut command);
    let output = command
        .args(["-c", &script])
        .current_dir(host.folder())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text,
        "src/\nsrc/f\nsrc/hard\nsrc/holes\nsrc/soft\nsrc/sub/\nsrc/sub/g\n"
    );
    host.remove_containers();
}

#[test]
fn privileged_links_of_a_container_lead_nowhere_else() {
    for running in [false, true] {
        let host = Host::new();
        let marker = host.folder().join("secret");
        fs::write(&marker, "mine").unwrap();
        let outside = host.folder().display().to_string();
        let script = format!(
            "ln -s {outside} /out; ln -s {outside}/secret /file; ln -s ../../../../../..{outside} /up; \
             mkdir /d; ln -s {outside} /d/deep; sleep 1000"
        );
        host.ok(&["create", "--name", "one", "minimal", "sh", "-c", &script]);
        host.ok(&["start", "one"]);
        while !host.ok(&["diff", "one"]).contains("/d/deep") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if !running {
            host.ok(&["kill", "one"]);
        }
        fs::write(host.folder().join("mean"), "changed").unwrap();
        for path in [
            "/file",
            "/out/secret",
            "/up/secret",
            "/out/new",
            "/d/deep/new",
        ] {
            let read = host.lamina(&["cp", "-L", &format!("one:{path}"), "stolen"]);
            assert_eq!(read.code, 1, "{path}: {read:?}");
            // Written inside the container, or refused.
            host.lamina(&["cp", "mean", &format!("one:{path}")]);
        }
        assert_eq!(fs::read_to_string(&marker).unwrap(), "mine");
        assert!(!host.folder().join("new").exists());
        assert!(!host.folder().join("stolen").exists());
        // What comes out stays in the directory it is copied to.
        fs::create_dir(host.folder().join("to")).unwrap();
        host.ok(&["cp", "one:/d", "to"]);
        assert!(host.folder().join("to/d/deep").is_symlink());
        host.remove_containers();
        host.sweep();
    }
}
