//! Storage modes as a person meets them: the same containers, whatever holds their files.

use std::io::Write as _;

use lamina_testkit::{Host, Outcome};

const EROFS: &str = "--storage-mode=erofs";
const PLAIN: &str = "--storage-mode=plain";

/// Returns whether mode erofs works on this machine.
fn has_erofs(host: &Host) -> bool {
    let outcome = host.lamina(&[EROFS, "info"]);
    if outcome.code != 0 {
        let _ = writeln!(std::io::stderr(), "SKIP: {}", outcome.stderr);
    }
    outcome.code == 0
}

#[test]
fn privileged_info_says_which_mode_and_why() {
    let host = Host::new();
    let text = host.ok(&[PLAIN, "info"]);
    assert!(text.contains("Storage Mode: plain"), "{text}");
    assert!(text.contains("Because: it was asked for"), "{text}");
    if has_erofs(&host) {
        let text = host.ok(&[EROFS, "info"]);
        assert!(text.contains("Storage Mode: erofs"), "{text}");
    }
    host.sweep();
}

#[test]
fn privileged_a_container_in_mode_erofs_changes_and_keeps_its_files() {
    let host = Host::new();
    if !has_erofs(&host) {
        return;
    }
    let script = "if test -d /new; then \
                    id -un; stat -c %a /usr/bin/env; test -e /etc/os-release || echo gone; exit; \
                  fi; \
                  echo me:x:1234:1234::/:/bin/sh >> /etc/passwd; chmod 755 /root; \
                  chmod 711 /usr/bin/env; rm /etc/os-release; \
                  mv /etc/passwd /etc/was; cp -p /etc/was /etc/passwd; mkdir /new";
    let create = ["create", "--name", "web", "minimal", "sh", "-c", script];
    host.ok(&[&[EROFS], &create[..]].concat());
    host.ok(&[EROFS, "start", "-a", "web"]);
    let diff = host.ok(&[EROFS, "diff", "web"]);
    for line in [
        "A /new",
        "C /usr/bin/env",
        "C /root",
        "D /etc/os-release",
        "A /etc/was",
    ] {
        assert!(diff.lines().any(|found| found == line), "{line}: {diff}");
    }
    let again = host.ok(&[EROFS, "start", "-a", "web"]);
    assert_eq!(again, "root\n711\ngone");
    assert_eq!(host.ok(&[EROFS, "diff", "web"]), diff);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_images_and_containers_go_from_one_mode_to_the_other() {
    let host = Host::new();
    if !has_erofs(&host) {
        return;
    }
    let script = "wc -c < /usr/bin/env; id -un";
    let run = |mode: &str| host.ok(&[mode, "run", "--rm", "minimal", "sh", "-c", script]);
    let plain = run(PLAIN);
    assert_eq!(run(EROFS), plain);
    // A container stays in the mode it was made in, whatever mode starts it.
    for (name, made, started) in [("one", PLAIN, EROFS), ("two", EROFS, PLAIN)] {
        let script = "test -e /mark || touch /mark; ls /mark";
        host.ok(&[
            made, "create", "--name", name, "minimal", "sh", "-c", script,
        ]);
        assert_eq!(host.ok(&[started, "start", "-a", name]), "/mark");
        assert_eq!(host.ok(&[made, "start", "-a", name]), "/mark");
    }
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_an_image_that_came_in_mode_erofs_is_unpacked_for_mode_plain() {
    let host = Host::new();
    if !has_erofs(&host) {
        return;
    }
    let script = "ls -lR /etc /usr; cat /etc/passwd";
    let run = |mode: &str| host.ok(&[mode, "run", "--rm", "minimal", "sh", "-c", script]);
    let erofs = run(EROFS);
    let lines = |text: &str| -> Vec<String> {
        // The width of a column follows the sizes of directories, and those a mode's own business.
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let files = text.lines().filter(|line| line.starts_with('-'));
        let generated = ["hosts", "hostname", "resolv.conf"];
        let kept = files.filter(|line| !generated.iter().any(|name| line.ends_with(name)));
        kept.map(words).collect()
    };
    assert_eq!(lines(&run(PLAIN)), lines(&erofs));
    host.sweep();
}

#[test]
fn privileged_trees_that_the_pool_replaces_go_with_the_migration() {
    let host = Host::new();
    if !has_erofs(&host) {
        return;
    }
    let trees = || {
        let layers = std::fs::read_dir(host.root().join("layers")).unwrap();
        let layers = layers.map(|entry| entry.unwrap().path().join("plain"));
        layers.filter(|tree| tree.exists()).count()
    };
    let script = "cat /usr/bin/env | wc -c";
    let run = |mode: &str| host.ok(&[mode, "run", "--rm", "minimal", "sh", "-c", script]);
    let migrate = |mode: &str| host.ok(&[mode, "system", "migrate"]);
    let before = run(PLAIN);
    host.ok(&[
        PLAIN,
        "create",
        "--name",
        "one",
        "minimal",
        "cat",
        "/etc/passwd",
    ]);
    // The mode of the store is another now; a container that stands on the tree keeps it.
    assert_eq!(run(EROFS), before);
    assert!(!migrate(EROFS).contains("let go"));
    assert!(trees() == 1 && !host.ok(&["start", "-a", "one"]).is_empty());
    host.ok(&["rm", "--now", "one"]);
    assert!(!migrate(PLAIN).contains("let go"));
    let text = migrate(EROFS);
    assert!(text.contains("1 trees let go"), "{text}");
    assert_eq!(trees(), 0);
    assert_eq!(host.lamina(&["fsck", "--quiet"]).code, 0);
    // And comes back for who wants it.
    assert_eq!(run(EROFS), before);
    assert_eq!(run(PLAIN), before);
    assert_eq!(trees(), 1);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_a_store_whose_files_are_not_mounted_directly_gets_loop_devices() {
    let host = Host::new();
    if !has_erofs(&host) {
        return;
    }
    // In a mount namespace of its own: whatever happens, the tmpfs goes with it.
    let script = r#"
        set -e
        store=$PWD/tmpfs; mkdir "$store"; mount -t tmpfs tmpfs "$store"
        export LAMINA_ROOT=$store/root
        # By device and inode: another mount namespace may know the file by another path.
        held() { losetup -j "$(echo "$store"/root/images/*.erofs)" | wc -l; }
        lamina info --format '{{.StorageMode}}: {{.StorageReason}}'
        lamina run --rm minimal sh -c 'echo me >> /etc/passwd; tail -n 1 /etc/passwd'
        lamina run -d --name web minimal sleep 100 > web
        lamina inspect --format '{{.GraphDriver.Data.LowerDir}}' web
        echo "held: $(held)"
        kill -9 $(grep -ho '"monitor_pid":[0-9]*' "$LAMINA_ROOT"/containers/*/state.json | cut -d: -f2) \
            $(lamina inspect --format '{{.State.Pid}}' web)
        for n in $(seq 600); do test "$(held)" = 0 && break; sleep 0.1; done
        echo "held: $(held)"
        lamina rm -f web
    "#;
    let mut command = std::process::Command::new("unshare");
    host.environment(&mut command);
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .current_dir(host.folder());
    let outcome = Outcome::of(&mut command);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [mode, ran, lower, running, killed, removed] = lines[..] else {
        panic!("{outcome:?}");
    };
    assert!(mode.starts_with("erofs: "), "{mode}");
    assert!(mode.contains("loop devices"), "{mode}");
    assert_eq!(ran, "me");
    assert!(lower.ends_with(".erofs"), "{lower}");
    assert_eq!((running, killed, removed), ("held: 1", "held: 0", "web"));
    host.sweep();
}
