//! Images that are mounted in containers.
use std::fs;

use lamina_cli_tests::transcript;
use lamina_testkit::Host;

/// Looks at a whole tree, a file of it, and a directory that a link in the image leads to.
const LOOK: &str = "cat /whole/data/f /one /linked/f; touch /whole/x || rm -r /whole/data || \
                    chmod 777 /one; stat -c '%a %u %n' /whole/data /one";

fn images(host: &Host, mode: &str) {
    let script = "mkdir /data; echo inside > /data/f; chmod 750 /data; chown 7 /data; \
                  ln -s /data /link; ln -s ../../../../../../etc /out";
    host.ok(&[mode, "run", "--name", "make", "minimal", "sh", "-c", script]);
    host.ok(&[mode, "commit", "make", "tree"]);
    host.ok(&[mode, "rm", "--now", "make"]);
}

/// A store with the image, and a container that mounts all of it, a file, and a directory that a
/// link in the image leads to.
struct Mounting {
    host: Host,
    mode: &'static str,
}

impl Mounting {
    fn new(mode: &'static str) -> Self {
        let host = Host::new();
        images(&host, mode);
        let this = Self { host, mode };
        let mounts = [
            "/whole",
            "/one,image-subpath=data/f",
            "/linked,subpath=link",
        ]
        .map(mount);
        let [whole, one, linked] = &mounts;
        let create = ["create", "--name", "user", "--mount", whole, "--mount", one];
        let rest = ["--mount", linked, "minimal", "sh", "-c", LOOK];
        this.ok(&[&create[..], &rest].concat());
        this
    }

    fn ok(&self, words: &[&str]) -> String {
        self.host.ok(&[&[self.mode], words].concat())
    }

    fn said(&self, words: &[&str]) -> String {
        transcript(&self.host, &[&[self.mode], words].concat())
    }

    /// The container sees everything, and cannot write to it.
    fn run(&self) {
        let outcome = self.host.lamina(&[self.mode, "start", "-a", "user"]);
        let seen = "inside\ninside\ninside\n750 7 /whole/data\n644 0 /one";
        assert_eq!(outcome.stdout.trim_end(), seen, "{outcome:?}");
        assert_eq!(outcome.stderr.matches("Read-only file system").count(), 3);
    }

    /// What a stopped container would see is copied, and nothing written.
    fn is_copied(&self) {
        self.ok(&["cp", "user:/whole/data/f", "whole"]);
        self.ok(&["cp", "user:/linked/f", "linked"]);
        self.ok(&["cp", "user:/one", "one"]);
        for name in ["whole", "linked", "one"] {
            let file = self.host.folder().join(name);
            assert_eq!(fs::read_to_string(file).unwrap(), "inside\n", "{name}");
        }
        assert_eq!(
            self.said(&["cp", "whole", "user:/whole/data/f"]),
            "! error: mounted volume is marked read-only\n[exit 1]\n"
        );
    }

    /// It is used, whatever becomes of its name: the layers stay with the container, and come back
    /// with it.
    fn is_kept(&self) {
        assert_eq!(
            self.said(&["rmi", "tree"]),
            "! error: image [SHORT ID] is used by the stopped container [SHORT ID]\n\
             ! hint: lamina ps -a shows the containers that use it; lamina rm removes them\n\
             [exit 1]\n"
        );
        let prune = ["image", "prune", "-a", "-f", "--now"];
        assert_eq!(self.ok(&prune), "Total reclaimed space: 0B");
        self.ok(&["rmi", "-f", "--now", "tree"]);
        self.ok(&["prune", "--filter", "label=none", "-f", "--now"]);
        self.run();
        self.ok(&["rm", "user"]);
        self.ok(&["prune", "-f"]);
        while self.host.lamina(&[self.mode, "undo"]).code == 0 {}
        self.run();
        assert!(self.ok(&["fsck"]).starts_with("clean"));
        self.ok(&["rm", "--now", "user"]);
        let run = ["run", "--rm", "--mount", &mount("/x"), "minimal", "true"];
        assert_eq!(
            self.said(&run),
            "! error: no such image: tree\n\
             ! hint: lamina images shows what is here; lamina pull NAME fetches an image\n\
             [exit 125]\n"
        );
    }

    fn parts_stay_inside(&self) {
        images(&self.host, self.mode);
        for bad in ["none", "data/f/x"] {
            let bad = mount(&format!("/x,image-subpath={bad}"));
            let run = [self.mode, "run", "--rm", "--mount", &bad, "minimal", "true"];
            assert_eq!(self.host.lamina(&run).code, 125, "{bad}");
        }
        // A link that leads up ends at the image's own root.
        let up = mount("/x,image-subpath=out");
        let look = ["minimal", "sh", "-c", "cat /x/passwd > /dev/null"];
        self.ok(&[&["run", "--rm", "--mount", &up], &look[..]].concat());
    }
}

fn mount(rest: &str) -> String {
    format!("type=image,source=tree,destination={rest}")
}

fn all(mode: &'static str) {
    let mounting = Mounting::new(mode);
    mounting.run();
    let listed = mounting.ok(&["ps", "-a", "--no-trunc", "--format", "{{.Mounts}}"]);
    assert_eq!(listed, "tree,tree,tree");
    mounting.is_copied();
    mounting.is_kept();
    mounting.parts_stay_inside();
    mounting.host.remove_containers();
    mounting.host.sweep();
}

#[test]
fn privileged_an_image_is_mounted_in_mode_plain() {
    all("--storage-mode=plain");
}

#[test]
fn privileged_an_image_is_mounted_in_the_default_mode() {
    all("--storage-mode=auto");
}
