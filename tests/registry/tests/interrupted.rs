//! A pull that is interrupted ends at once, and the next one goes on where it was.

#![expect(
    clippy::disallowed_methods,
    reason = "what tests write is not the store's"
)]

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lamina_registry_tests::{Registry, run};
use lamina_testkit::{Host, have};

/// Of the one layer: long enough that the interruption comes before its end.
const LAYER_MIB: u32 = 96;

#[test]
fn privileged_an_interrupted_pull_is_resumed() {
    if !["umoci", "skopeo", "docker-registry"].into_iter().all(have) {
        return;
    }
    let host = Host::new();
    // So that the file of the download can be looked at after the layer was unpacked from it.
    let settings = host.folder().join(".config/lamina");
    std::fs::create_dir_all(&settings).expect("a folder");
    std::fs::write(settings.join("config.toml"), "keep-blobs = \"always\"\n").expect("a file");
    let registry = Registry::start(host.folder());
    push_noise(&host, &registry);
    let image = registry.image("noise:1");

    let mut pull = host.command(&["pull", &image]);
    let pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut pull = pull.expect("lamina");
    let deadline = Instant::now() + Duration::from_secs(60);
    while arrived(&host).is_none_or(|file| file.len() < 1 << 20) {
        assert!(Instant::now() < deadline, "nothing arrives");
        sleep(Duration::from_millis(1));
    }
    let interrupted = Instant::now();
    run(Command::new("kill").args(["-INT", &pull.id().to_string()]));
    let status = pull.wait().expect("lamina has ended");
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    assert_eq!(code, Some(130), "{status}");
    assert!(interrupted.elapsed() < Duration::from_secs(5));
    assert_eq!(host.ok(&["images", "-q"]), "", "half an image is visible");

    let kept = arrived(&host).expect("what has arrived is kept");
    let said = host.ok(&["pull", &image]);
    assert!(
        said.contains("Status: Downloaded newer image for"),
        "{said}"
    );
    assert!(arrived(&host).is_none());
    let blobs = files(&host.root().join("oci/blobs/sha256"));
    assert!(
        blobs.iter().any(|blob| blob.ino() == kept.ino()),
        "the download was begun anew"
    );
    let said = host.ok(&["pull", &image]);
    assert!(said.contains("Status: Image is up to date for"), "{said}");

    drop(registry);
    host.sweep();
}

/// Pushes an image of one layer that does not compress.
fn push_noise(host: &Host, registry: &Registry) {
    let (layout, bundle) = (host.folder().join("layout"), host.folder().join("bundle"));
    let image = format!("{}:noise", layout.display());
    let umoci = |words: &[&str]| run(Command::new("umoci").args(words));
    let path = bundle.to_string_lossy();
    umoci(&["init", "--layout", &layout.to_string_lossy()]);
    umoci(&["new", "--image", &image]);
    umoci(&["unpack", "--image", &image, &path]);
    let fill = format!("head -c {LAYER_MIB}M /dev/urandom > noise");
    run(Command::new("sh")
        .args(["-euc", &fill])
        .current_dir(bundle.join("rootfs")));
    umoci(&["repack", "--image", &image, &path]);
    registry.push(&format!("oci:{image}"), "noise:1");
}

/// Returns the file of the download that is under way, if there is one.
fn arrived(host: &Host) -> Option<Metadata> {
    files(&host.root().join("partial")).pop()
}

fn files(folder: &Path) -> Vec<Metadata> {
    let entries = folder.read_dir().into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .collect()
}
