//! An image made by debootstrap and umoci, pushed by skopeo to a `docker-registry`: lamina pulls
//! it, runs Python in it, and its tree is what umoci unpacks, entry by entry.

use std::path::Path;
use std::process::Command;

use lamina_registry_tests::{Registry, make_debian, run};
use lamina_testkit::{Host, have, tree};

/// What the engine mounts or provides in every container, which no image can decide.
const PROVIDED: [&str; 6] = [
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
];

#[test]
fn privileged_debian_with_python_is_pulled_run_and_compared() {
    let tools = [
        "debootstrap",
        "umoci",
        "skopeo",
        "docker-registry",
        "setfattr",
    ];
    if !tools.iter().all(|tool| have(tool)) {
        return;
    }
    let host = Host::new();
    let layout = make_debian(host.folder());
    let registry = Registry::start(host.folder());
    registry.push(&format!("oci:{}:debian", layout.display()), "debian:app");
    let image = registry.image("debian:app");

    host.ok(&["pull", &image]);
    assert_eq!(
        host.ok(&["run", "--rm", &image, "python3", "-c", "print(40+2)"]),
        "42"
    );
    assert_eq!(
        host.ok(&["run", "--rm", &image, "python3", "/opt/app/again.py"]),
        "42"
    );
    assert_eq!(
        host.ok(&["run", "--rm", &image, "sh", "-c", "echo $MADE_BY"]),
        "umoci"
    );

    host.ok(&["run", "-d", "--name", "still", &image, "sleep", "1000"]);
    let pid = host.ok(&["inspect", "--format", "{{.State.Pid}}", "still"]);
    let ours = tree::read(Path::new(&format!("/proc/{pid}/root")));
    let theirs = unpacked(&host, &layout);
    let different = tree::differences(&ours, &theirs, 30, |path| {
        PROVIDED.iter().any(|provided| path.starts_with(provided))
    });
    assert!(
        different.is_empty(),
        "ours and umoci's differ:\n{}",
        different.join("\n")
    );
    assert!(
        ours.len() > 3_000,
        "only {} entries were compared",
        ours.len()
    );

    host.remove_containers();
    // Its files are below the folder that must be left by everybody.
    drop(registry);
    host.sweep();
}

fn unpacked(host: &Host, layout: &Path) -> tree::Tree {
    let bundle = host.folder().join("umoci");
    let image = format!("{}:debian", layout.display());
    run(Command::new("umoci")
        .args(["unpack", "--image", &image])
        .arg(&bundle));
    tree::read(&bundle.join("rootfs"))
}
