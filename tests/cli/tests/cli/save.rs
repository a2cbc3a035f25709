//! save, and load of what it wrote.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

#[test]
fn privileged_an_image_is_saved_and_loaded_again() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    host.ok(&["tag", "mine:1", "mine:2"]);
    let id = host.ok(&["images", "-q", "--no-trunc", "mine:1"]);
    let path = |name: &str| host.folder().join(name).to_string_lossy().into_owned();
    for format in ["docker-archive", "oci-archive"] {
        let archive = path(format);
        assert_eq!(
            host.ok(&["save", "--format", format, "-o", &archive, "mine"]),
            ""
        );
        // Whole, or not there: a second time replaces the first.
        host.ok(&["image", "save", "--format", format, "-o", &archive, "mine"]);
        let other = Host::new();
        let loaded = other.ok(&["load", "-i", &archive]);
        assert!(
            loaded.contains("Loaded image: mine:1\nLoaded image: mine:2"),
            "{loaded}"
        );
        assert_eq!(other.ok(&["images", "-q", "--no-trunc", "mine:2"]), id);
        assert_eq!(other.ok(&["run", "--rm", "mine:2", "true"]), "");
        other.sweep();
    }
    let again = path("again");
    host.ok(&["save", "-o", &again, "mine:2", "mine:1"]);
    let same = std::fs::read(&again).unwrap() == std::fs::read(path("docker-archive")).unwrap();
    assert!(same, "the same images are other bytes");
    assert_snapshot!(transcript(&host, &["save", "-o", &again, "nothing"]), @r"
    ! error: no such image: nothing
    ! hint: lamina images shows what is here; lamina pull NAME fetches an image
    [exit 1]
    ");
    assert!(std::fs::read(&again).is_ok_and(|bytes| !bytes.is_empty()));
    assert_snapshot!(transcript(&host, &["save", "--format", "zip", "mine"]), @r#"
    ! error: unknown format "zip": expected docker-archive or oci-archive
    [exit 125]
    "#);
    assert_snapshot!(transcript(&host, &["save", "-o", "/nonexistent/x", "mine"]), @r#"
    ! error: invalid output path: directory "/nonexistent" does not exist
    [exit 1]
    "#);
    host.sweep();
}

#[test]
fn privileged_blobs_are_listed_and_made_again() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    let row = ["--format", "{{.Here}}|{{.MediaType}}"];
    let list = ["image", "blobs", row[0], row[1], "mine:1"];
    // A plain tar is not kept beside the layer.
    assert_snapshot!(transcript(&host, &list), @r"
    false|application/vnd.oci.image.layer.v1.tar
    [exit 0]
    ");
    let id = host.ok(&["images", "-q", "--no-trunc", "mine:1"]);
    host.ok(&["image", "blobs", "--rebuild", "mine:1"]);
    assert_snapshot!(transcript(&host, &list), @r"
    true|application/vnd.oci.image.layer.v1.tar
    [exit 0]
    ");
    assert_eq!(host.ok(&["images", "-q", "--no-trunc", "mine:1"]), id);
    assert_snapshot!(transcript(&host, &["system", "migrate"]), @r"
    0 layers converted
    [exit 0]
    ");
    host.sweep();
}
