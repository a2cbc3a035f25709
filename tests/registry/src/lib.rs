//! A `docker-registry` on loopback, and an image that other people's tools have made.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "what tests write is not the store's"
)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A registry that keeps its data in a folder; stopped with the value.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    port: u16,
}

impl Registry {
    /// Starts a registry and waits until it answers.
    pub fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/registry}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            folder.display()
        );
        std::fs::write(&config, text).expect("the registry's configuration");
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            sleep(Duration::from_millis(50));
        }
        Self { server, port }
    }

    /// Returns the name of an image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Copies an image of an OCI layout into the registry, with skopeo.
    pub fn push(&self, layout: &str, name: &str) {
        let to = format!("docker://{}", self.image(name));
        run(Command::new("skopeo").args([
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            layout,
            &to,
        ]));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs a command; panics with what it said if it fails.
pub fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes, with debootstrap and umoci, an image `debian` of three layers in an OCI layout at
/// `folder/layout`: a Debian with Python, a layer that deletes and replaces, and a layer with
/// what images rarely have (hard links, file capabilities, a sparse file, an opaque directory).
pub fn make_debian(folder: &Path) -> PathBuf {
    let layout = folder.join("layout");
    let image = format!("{}:debian", layout.display());
    let umoci = |words: &[&str]| run(Command::new("umoci").args(words));
    umoci(&["init", "--layout", &layout.to_string_lossy()]);
    umoci(&["new", "--image", &image]);
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.cmd",
        "python3",
        "--config.env",
        "MADE_BY=umoci",
    ]);
    for (number, script) in LAYERS.iter().enumerate() {
        let bundle = folder.join(format!("bundle{number}"));
        let path = bundle.to_string_lossy().into_owned();
        umoci(&["unpack", "--image", &image, &path]);
        run(Command::new("sh")
            .args(["-euc", script])
            .current_dir(bundle.join("rootfs")));
        umoci(&["repack", "--image", &image, &path]);
        std::fs::remove_dir_all(&bundle).expect("the bundle goes");
    }
    layout
}

/// What each layer does, in the root filesystem.
const LAYERS: [&str; 3] = [
    "debootstrap --variant=minbase --include=python3-minimal bookworm . && rm -rf var/cache/apt/archives/*.deb",
    "rm -rf usr/share/doc var/lib/apt/lists && mkdir -p opt/app && echo 'print(40 + 2)' > opt/app/main.py \
     && rm etc/motd && mkdir etc/motd && mv bin/sed bin/sed.old",
    "ln opt/app/main.py opt/app/again.py && cp bin/true opt/app/raw && setfattr -n security.capability \
     -v 0x0100000200200000000000000000000000000000 opt/app/raw && truncate -s 5000000 opt/app/sparse \
     && rm -rf var/log && mkdir -m 1770 var/log && echo x > var/log/new && touch -d '2001-02-03 04:05:06.789' opt/app/old \
     && mkfifo opt/app/pipe && ln -s ../../etc/passwd opt/app/link && chown 1234:4321 opt/app/old",
];
