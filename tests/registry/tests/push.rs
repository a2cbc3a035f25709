//! What lamina pushes to a `docker-registry`, other people's tools and other machines of ours take
//! from there; and a push that is killed.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lamina_registry_tests::{Registry, run};
use lamina_testkit::registry::{Registry as Scripted, Reply};
use lamina_testkit::{Host, have};

/// Makes an image of two small layers with umoci, in an OCI layout, and loads it as `made:1`.
fn load_image(host: &Host) -> String {
    let layout = host.folder().join("layout");
    let image = format!("{}:made", layout.display());
    let umoci = |words: &[&str]| run(Command::new("umoci").args(words));
    umoci(&["init", "--layout", &layout.to_string_lossy()]);
    umoci(&["new", "--image", &image]);
    for number in 0..2 {
        let bundle = host.folder().join(format!("bundle{number}"));
        let path = bundle.to_string_lossy().into_owned();
        umoci(&["unpack", "--image", &image, &path]);
        let script = format!(
            "mkdir -p d && head -c 6M /dev/urandom > d/f{number} && ln d/f{number} l{number}"
        );
        run(Command::new("sh")
            .args(["-euc", &script])
            .current_dir(bundle.join("rootfs")));
        umoci(&["repack", "--image", &image, &path]);
    }
    let said = host.ok(&["load", "-i", &layout.to_string_lossy()]);
    let name = said.rsplit(": ").next().expect("a name").trim().to_owned();
    host.ok(&["tag", &name, "made:1"]);
    format!("oci:{image}")
}

fn raw_manifest(of: &str) -> Vec<u8> {
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", of])
        .output()
        .expect("skopeo");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn privileged_what_is_pushed_is_what_others_pull() {
    if !["umoci", "skopeo", "docker-registry"].into_iter().all(have) {
        return;
    }
    let (host, other) = (Host::new(), Host::new());
    let layout = load_image(&host);
    let registry = Registry::start(host.folder());
    let image = registry.image("team/made:1");
    host.ok(&["tag", "made:1", &image]);
    let said = host.lamina(&["push", &image]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let repository = image.trim_end_matches(":1");
    let refers = format!("The push refers to repository [{repository}]\n1: digest: sha256:");
    assert!(said.stdout.starts_with(&refers), "{}", said.stdout);
    assert_eq!(
        said.stderr.matches(": Pushed").count(),
        3,
        "{}",
        said.stderr
    );

    // skopeo sees the very manifest that umoci made, and takes everything.
    let there = format!("docker://{image}");
    assert!(raw_manifest(&there) == raw_manifest(&layout));
    let copied = host.folder().join("copied");
    run(Command::new("skopeo").args([
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        &there,
        &format!("dir:{}", copied.display()),
    ]));

    // Another machine gets the same digest, and pushes it on without sending a layer.
    let pulled = other.ok(&["pull", &image]);
    let digest = said.stdout.split("digest: ").nth(1).expect("a digest");
    let digest = digest.split(' ').next().expect("a digest");
    assert!(pulled.contains(&format!("Digest: {digest}\n")), "{pulled}");
    let second = registry.image("other/name:2");
    other.ok(&["tag", &image, &second]);
    let said = other.lamina(&["push", &second]);
    assert!(said.stdout.contains(digest), "{}", said.stdout);
    assert_eq!(
        said.stderr.matches(": Mounted").count(),
        2,
        "{}",
        said.stderr
    );
    assert_eq!(other.ok(&["push", "-q", &second]), second);

    // Every tag, packed anew; the image is the same.
    host.ok(&["tag", "made:1", &registry.image("team/made:2")]);
    let said = host.ok(&["push", "-a", "--compression", "zstd", repository]);
    assert!(said.contains("2 tags: 1, 2\n"), "{said}");
    let zstd = registry.image("team/made:2");
    other.ok(&["pull", &zstd]);
    let id = |host: &Host, name: &str| host.ok(&["inspect", "--format", "{{.Id}}", name]);
    assert_eq!(id(&other, &zstd), id(&host, "made:1"));
    assert_ne!(
        raw_manifest(&format!("docker://{zstd}")),
        raw_manifest(&layout)
    );

    drop(registry);
    host.sweep();
    other.sweep();
}

#[test]
fn privileged_a_killed_push_leaves_nothing_and_goes_on() {
    if !["umoci", "skopeo"].into_iter().all(have) {
        return;
    }
    let host = Host::new();
    load_image(&host);
    let registry = Scripted::start();
    let image = format!("{}/made:1", registry.domain());
    host.ok(&["tag", "made:1", &image]);
    // The second commit of a layer is never answered.
    registry.script(|request| {
        let large = request.method == "PATCH" && request.path.contains("upload-2");
        large.then(|| Reply::status(202).delay(Duration::from_secs(300)))
    });
    let mut push = host.command(&["push", &image]);
    let push = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut push = push.expect("lamina");
    let deadline = Instant::now() + Duration::from_secs(60);
    while registry.count("upload-2") == 0 || registry.count("digest=") < 1 {
        assert!(Instant::now() < deadline, "{:?}", registry.requests().len());
        sleep(Duration::from_millis(5));
    }
    run(Command::new("kill").args(["-KILL", &push.id().to_string()]));
    assert_eq!(push.wait().expect("it has ended").signal(), Some(9));
    assert_eq!(entries(&host.root().join("ops")), 1);
    host.ok(&["images"]);
    assert_eq!(entries(&host.root().join("ops")), 0);
    assert!(registry.manifest("made", "1").is_none());

    registry.script(|_| None);
    let said = host.lamina(&["push", &image]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let exists = said.stderr.matches("Layer already exists").count();
    assert!(exists >= 1, "{}", said.stderr);
    assert!(registry.manifest("made", "1").is_some());
    host.sweep();
}

fn entries(folder: &Path) -> usize {
    folder.read_dir().expect("a folder").count()
}
