//! The life of an image without a registry.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

#[test]
fn privileged_images_come_and_go() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["images"]), @r"
    REPOSITORY   TAG       IMAGE ID   CREATED   SIZE
    [exit 0]
    ");
    host.ok(&["image", "create-minimal", "mine:1"]);
    let row = "{{.Repository}}|{{.Tag}}|{{.ID}}";
    assert_snapshot!(transcript(&host, &["images", "--format", row]), @r"
    mine|1|[SHORT ID]
    [exit 0]
    ");
    assert_eq!(host.ok(&["tag", "mine:1", "other"]), "");
    let id = host.ok(&["images", "-q", "other"]);
    assert_eq!(host.ok(&["images", "-q", "--no-trunc", "mine"])[7..19], id);
    assert_snapshot!(transcript(&host, &["rmi", "mine:1"]), @r"
    Untagged: mine:1
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["rmi", "other"]), @r"
    Untagged: other:latest
    Deleted: sha256:[ID]
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["rmi", "other"]), @r"
    ! error: no such image: other
    ! hint: lamina images shows what is here; lamina pull NAME fetches an image
    [exit 1]
    ");
    assert_eq!(host.ok(&["images", "-q"]), "");
    host.sweep();
}

#[test]
fn privileged_an_image_in_use_is_kept() {
    let host = Host::new();
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["rmi", "minimal"]), @r"
    ! error: image [SHORT ID] is used by the stopped container [SHORT ID]
    ! hint: lamina ps -a shows the containers that use it; lamina rm removes them
    [exit 1]
    ");
    host.ok(&["rm", "one"]);
    host.ok(&["rmi", "minimal"]);
    host.sweep();
}

#[test]
fn privileged_bad_archives_are_refused() {
    let host = Host::new();
    let archive = host.folder().join("bad.tar");
    std::fs::copy("/etc/passwd", &archive).unwrap();
    let archive = archive.to_string_lossy().into_owned();
    for words in [
        &["load", "-i", &archive][..],
        &["load", "-i", "/nonexistent"],
    ] {
        let outcome = host.lamina(words);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
    }
    assert_eq!(host.ok(&["images", "-q"]), "");
    host.sweep();
}

#[test]
fn privileged_an_image_tells_how_it_was_made_and_what_it_shares() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    assert_snapshot!(transcript(&host, &["history", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Comment}}", "mine:1"]), @r"
    [SHORT ID]|create-minimal: the host's own programs|
    [exit 0]
    ");
    let exact = host.ok(&["image", "history", "--human=false", "--no-trunc", "mine:1"]);
    let row = exact.lines().nth(1).unwrap();
    assert!(row.starts_with("sha256:") && row.contains("T"), "{exact}");
    assert_eq!(
        host.ok(&["history", "-q", "mine:1"]),
        host.ok(&["images", "-q"])
    );
    host.ok(&["tag", "mine:1", "other:2"]);
    let tree = host.ok(&["image", "tree"]);
    assert!(tree.starts_with("└─ "), "{tree}");
    assert!(
        tree.lines().next().unwrap().ends_with("  mine:1, other:2"),
        "{tree}"
    );
    let json = host.ok(&["image", "tree", "--format", "json", "other:2"]);
    assert!(json.contains("\"Images\":1,"), "{json}");

    assert_snapshot!(transcript(&host, &["untag", "mine:1", "third"]), @r"
    ! error: third:latest is no name of image [SHORT ID]
    ! hint: lamina images shows what is here; lamina pull NAME fetches an image
    [exit 1]
    ");
    let id = host.ok(&["images", "-q", "mine"]);
    assert_snapshot!(transcript(&host, &["untag", "mine:1"]), @r"
    Untagged: mine:1
    Untagged: other:2
    [exit 0]
    ");
    assert_eq!(
        host.ok(&["images", "--format", "{{.Repository}}"]),
        "<none>"
    );
    host.ok(&["tag", &id, "again"]);
    assert_eq!(host.ok(&["images", "--format", "{{.Repository}}"]), "again");
    host.ok(&["tag", "again", "more"]);
    assert_eq!(
        host.ok(&["untag", "again", "more"]),
        "Untagged: more:latest"
    );
    assert_eq!(host.ok(&["images", "--format", "{{.Repository}}"]), "again");
    host.ok(&["rmi", "again"]);
    host.sweep();
}
