//! The image that pulls are measured with: a Debian root of one big layer and three small ones,
//! built and pushed by Docker to a registry on loopback.
//!
//! Making it takes minutes, so the registry's data is kept below `target/bench`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::peers::Docker;
use super::scratch::Scratch;
use crate::shell;

const PACKAGES: &str = "python3,python3-pip,git,build-essential";
const DOCKERFILE: &str = "FROM base\n\
    RUN python3 -m compileall -q /usr/lib/python3.11 || true\n\
    RUN mkdir -p /app && cp -a /usr/share/doc /app/doc && rm -rf /usr/share/doc\n\
    RUN echo 1.0 > /app/version && find /usr/lib/python3.11/idlelib -name '*.pyc' -delete || true\n";

/// A registry on loopback, stopped with the value.
pub(super) struct Registry {
    server: Child,
    /// The image's name, with the registry's address.
    pub(super) image: String,
}

impl Registry {
    /// Starts a registry that has the image, making the image first if it is not there yet.
    pub(super) fn with_image(scratch: &Scratch) -> Result<Option<Self>> {
        let kept = shell::root().join("target/bench");
        let data = kept.join("registry");
        let have_image = data.join("docker/registry/v2/repositories/debian").is_dir();
        if !have_image && Docker::start(scratch)?.is_none() {
            return Ok(None);
        }
        std::fs::create_dir_all(&data)?;
        let registry = Self::start(scratch, &data)?;
        if !have_image {
            registry.build(scratch, &kept)?;
        }
        Ok(Some(registry))
    }

    fn start(scratch: &Scratch, data: &Path) -> Result<Self> {
        let port = free_port()?;
        let config = scratch.join("registry.yml");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '127.0.0.1:{port}'}}\n",
                data.display()
            ),
        )?;
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry")?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self {
            server,
            image: format!("127.0.0.1:{port}/debian:app"),
        })
    }

    fn build(&self, scratch: &Scratch, kept: &Path) -> Result<()> {
        let archive = base(kept)?;
        let docker = Docker::start(scratch)?.context("no Docker to build the image with")?;
        shell::run(docker.command().arg("import").arg(&archive).arg("base"))?;
        let context = scratch.folder("context")?;
        std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
        let mut build = docker.command();
        build
            .args(["build", "--network", "none", "-t", &self.image])
            .arg(&context);
        shell::run(build.env("DOCKER_BUILDKIT", "0"))?;
        shell::run(docker.command().args(["push", &self.image]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes the root filesystem's tar, or finds it.
fn base(kept: &Path) -> Result<PathBuf> {
    let archive = kept.join("base.tar");
    if archive.is_file() {
        return Ok(archive);
    }
    let tree = kept.join("base");
    let mut debootstrap = shell::command("debootstrap", &["--variant=minbase"]);
    debootstrap
        .arg(format!("--include={PACKAGES}"))
        .arg("bookworm")
        .arg(&tree);
    shell::run(&mut debootstrap)?;
    shell::run(
        Command::new("sh")
            .arg("-c")
            .arg("rm -f \"$1\"/var/cache/apt/archives/*.deb")
            .arg("sh")
            .arg(&tree),
    )?;
    super::floor::pack(&tree, &archive)?;
    std::fs::remove_dir_all(tree)?;
    Ok(archive)
}

fn free_port() -> Result<u16> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    if port == 0 {
        bail!("no free port");
    }
    Ok(port)
}
