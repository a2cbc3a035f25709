//! Containers that become images.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

/// Writes into every kind of place that a layer has a word for.
const SCRIPT: &str = "echo new > /new; mkdir -p /dir/sub; echo deep > /dir/sub/f; ln /new /dir/hard; \
     ln -s new /soft; chmod 600 /etc/passwd; rm /etc/group; truncate -s 4M /holes; exit 0";

fn both_modes(test: impl Fn(&Host, &str)) {
    for mode in ["plain", "auto"] {
        let host = Host::new();
        test(&host, &format!("--storage-mode={mode}"));
        host.remove_containers();
    }
}

/// Returns the digest of the topmost layer of an image.
fn layer(host: &Host, image: &str) -> String {
    let layers = host.ok(&["inspect", "--format", "{{json .RootFS.Layers}}", image]);
    layers.rsplit('"').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn privileged_an_image_has_what_its_container_changed() {
    both_modes(|host, mode| {
        let ok = |words: &[&str]| host.ok(&[&[mode], words].concat());
        ok(&["run", "--name", "one", "minimal", "sh", "-c", SCRIPT]);
        let before = ok(&["diff", "one"]);
        let id = ok(&["commit", "-a", "Me", "-m", "words", "one", "new:1"]);
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        assert_eq!(ok(&["images", "--no-trunc", "-q", "new:1"]), id);
        let look = "cat /new /dir/sub/f /soft; stat -c '%a %h' /etc/passwd /dir/hard; \
                    stat -c '%s' /holes; test -e /etc/group || echo gone";
        let seen = ok(&["run", "--rm", "new:1", "sh", "-c", look]);
        assert_eq!(seen, "new\ndeep\nnew\n600 1\n644 2\n4194304\ngone");
        // The container is as it was, and the same content is the same layer.
        assert_eq!(ok(&["diff", "one"]), before);
        let again = ok(&["commit", "one", "new:2"]);
        assert_ne!(again, id);
        assert_eq!(layer(host, "new:1"), layer(host, "new:2"));
        ok(&["start", "-a", "one"]);
        let row = "{{.CreatedBy}}|{{.Comment}}";
        let history = ok(&["history", "--no-trunc", "--format", row, "new:1"]);
        let first = history.lines().next().unwrap_or_default();
        assert_eq!(first, format!("sh -c {SCRIPT}|words"));
        assert_eq!(ok(&["inspect", "-f", "{{.Author}}", "new:1"]), "Me");
        ok(&["fsck", "--quiet"]);
    });
}

#[test]
fn privileged_nothing_changed_adds_no_layer() {
    let host = Host::new();
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    host.ok(&["commit", "one", "same"]);
    assert_eq!(layer(&host, "same"), layer(&host, "minimal"));
    let steps = host.ok(&["history", "-q", "same"]);
    assert_eq!(steps.lines().count(), 2, "{steps}");
    host.remove_containers();
}

#[test]
fn privileged_what_the_container_runs_with_is_what_the_image_does() {
    let host = Host::new();
    let asked =
        "create --name one -e A=1 -e B=2 -w /srv -u 7:8 -l l=m --entrypoint sh minimal -c echo";
    host.ok(&asked.split(' ').collect::<Vec<_>>());
    let changes = "ENV B=3 C=4|CMD [\"-c\",\"exit 9\"]|EXPOSE 80|VOLUME /data|LABEL n=o|\
                   STOPSIGNAL SIGINT|ONBUILD RUN x|HEALTHCHECK NONE";
    let mut words = vec!["commit"];
    words.extend(changes.split('|').flat_map(|change| ["-c", change]));
    words.extend(["one", "new"]);
    host.ok(&words);
    let shown = |key: &str| {
        host.ok(&[
            "inspect",
            "-f",
            &format!("{{{{json .Config.{key}}}}}"),
            "new",
        ])
    };
    for (key, value) in [
        ("Cmd", r#"["-c","exit 9"]"#),
        ("Entrypoint", r#"["sh"]"#),
        ("User", r#""7:8""#),
        ("WorkingDir", r#""/srv""#),
        ("ExposedPorts", r#"{"80/tcp":{}}"#),
        ("Volumes", r#"{"/data":{}}"#),
        ("Labels", r#"{"l":"m","n":"o"}"#),
        ("StopSignal", r#""SIGINT""#),
        ("OnBuild", r#"["RUN x"]"#),
        ("Healthcheck", r#"{"Test":["NONE"]}"#),
    ] {
        assert_eq!(shown(key), value, "{key}");
    }
    let env = shown("Env");
    assert!(env.starts_with(r#"["A=1","B=3","PATH="#), "{env}");
    assert!(env.ends_with(r#","C=4"]"#), "{env}");
    assert_eq!(host.lamina(&["run", "--rm", "-u", "0", "new"]).code, 9);
    host.remove_containers();
}

#[test]
fn privileged_what_cannot_be_committed() {
    let host = Host::new();
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["commit", "nobody"]), @r#"
    ! error: no such container: nobody
    ! hint: lamina ps -a shows all containers
    [exit 1]
    "#);
    assert_snapshot!(transcript(&host, &["commit", "-c", "RUN x", "one"]), @r#"
    ! error: "RUN" is not a valid change command
    [exit 1]
    "#);
    assert_snapshot!(transcript(&host, &["commit", "one", "UPPER"]), @r#"
    ! error: invalid reference format: repository name "UPPER" must be lowercase
    [exit 1]
    "#);
    let images = host.ok(&["images", "-q"]);
    assert_eq!(images.lines().count(), 1);
    host.remove_containers();
}

#[test]
fn privileged_a_running_container_is_held_still_and_goes_on() {
    both_modes(|host, mode| {
        let ok = |words: &[&str]| host.ok(&[&[mode], words].concat());
        ok(&[
            "create",
            "--name",
            "one",
            "minimal",
            "sh",
            "-c",
            "echo begun > /f; while :; do echo x >> /log; done",
        ]);
        ok(&["start", "one"]);
        while !ok(&["diff", "one"]).contains("/log") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        ok(&["commit", "one", "new"]);
        ok(&["commit", "--pause=false", "one", "new:unpaused"]);
        assert_eq!(ok(&["run", "--rm", "new", "cat", "/f"]), "begun");
        assert_eq!(
            ok(&["inspect", "-f", "{{.State.Status}}", "one"]),
            "running"
        );
        // One that somebody has paused stays so.
        ok(&["pause", "one"]);
        ok(&["commit", "one", "first"]);
        ok(&["commit", "one", "second"]);
        assert_eq!(layer(host, "second"), layer(host, "first"));
        assert_eq!(ok(&["inspect", "-f", "{{.State.Status}}", "one"]), "paused");
        ok(&["rm", "-f", "one"]);
        host.sweep();
    });
}

#[test]
fn privileged_a_container_without_an_image_name_is_committed() {
    let host = Host::new();
    host.ok(&["run", "--name", "one", "minimal", "sh", "-c", "echo 1 > /f"]);
    host.ok(&["rmi", "--now", "-f", "minimal"]);
    let id = host.ok(&["commit", "one"]);
    assert_eq!(host.ok(&["run", "--rm", &id, "cat", "/f"]), "1");
    assert_eq!(host.ok(&["commit", "one", "again"]).len(), id.len());
    host.remove_containers();
}
