//! What the word `docker` of a transcript stands for.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lamina_testkit::Host;

/// Docker's own client: another one that comes first in `PATH` may be of another version.
const CLIENT: &str = "/usr/bin/docker";
const DAEMON: &str = "/usr/sbin/dockerd";
/// How long a daemon may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Makes the archive of a root filesystem of one static busybox.
const BOX: &str = "mkdir -p bin etc tmp root proc sys dev && chmod 1777 tmp \
    && cp $(command -v busybox) bin/ \
    && for a in $(bin/busybox --list); do [ $a = busybox ] || ln -s busybox bin/$a; done \
    && printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n' > etc/passwd \
    && printf 'root:x:0:\napp:x:1000:\n' > etc/group && tar -cf ../box.tar .";

/// An engine that sections are run against.
#[derive(Debug)]
pub enum Engine {
    /// The binary under test.
    Lamina,
    /// Docker's.
    Docker(Daemon),
}

impl Engine {
    /// Returns the bash that comes before a section: the word `docker`, without its stderr, and the
    /// image `box` of one static busybox.
    ///
    /// # Panics
    /// If there is no busybox.
    pub fn prologue(&self, host: &Host) -> String {
        let command = match self {
            Self::Lamina => "lamina".to_owned(),
            Self::Docker(daemon) => format!("{CLIENT} -H {}", daemon.address()),
        };
        format!(
            "docker() {{ {command} \"$@\" 2>/dev/null; }}\n\
             docker import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' {} box >/dev/null",
            archive(host).display()
        )
    }

    /// Removes what a section has left.
    pub fn clean(&self, host: &Host) {
        match self {
            Self::Lamina => {
                host.remove_containers();
                let volumes = fs::read_dir(host.root().join("volumes"));
                if volumes.is_ok_and(|mut volumes| volumes.next().is_some()) {
                    // A container that could still be brought back holds its volumes.
                    host.lamina(&["system", "prune", "-f", "--now"]);
                    host.lamina(&["volume", "prune", "-a", "-f", "--now"]);
                }
                host.sweep();
            }
            Self::Docker(daemon) => daemon.clean(),
        }
    }
}

/// A Docker daemon with a store of its own, stopped with the value.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    child: Child,
}

impl Daemon {
    /// Starts one.
    pub fn start() -> io::Result<Self> {
        let host = Host::new();
        let at = |name: &str| host.folder().join(name);
        let log = File::create(at("dockerd.log"))?;
        let child = Command::new(DAEMON)
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .arg("-H")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let daemon = Self { host, child };
        let begun = Instant::now();
        while !daemon.succeeds(["version"]) {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("the daemon did not come up"));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.host.folder().display())
    }

    fn succeeds<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> bool {
        let mut command = Command::new(CLIENT);
        command.arg("-H").arg(self.address()).args(words);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        quiet
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn clean(&self) {
        let script = "ids=$(\"$0\" -H \"$1\" ps -aq); [ -z \"$ids\" ] || \"$0\" -H \"$1\" rm -f -v $ids; \
            ids=$(\"$0\" -H \"$1\" volume ls -q); [ -z \"$ids\" ] || \"$0\" -H \"$1\" volume rm $ids; \
            \"$0\" -H \"$1\" image prune -af";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, CLIENT]).arg(self.address());
        let _ = shell.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It ends its own helpers when it is asked to, not when it is killed.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// Makes the archive of the image below the host's folder.
fn archive(host: &Host) -> PathBuf {
    let tree = host.folder().join("box");
    let made = fs::create_dir_all(&tree).and_then(|()| shell(BOX, &tree));
    assert!(made.is_ok_and(|made| made), "no archive of the image");
    host.folder().join("box.tar")
}

fn shell(script: &str, folder: &Path) -> io::Result<bool> {
    let mut shell = Command::new("sh");
    let status = shell.args(["-ec", script]).current_dir(folder).status()?;
    Ok(status.success())
}
