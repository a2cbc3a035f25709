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

/// The root of the image of `bench pull`.
pub(super) const BASE: &str = "base";
/// What it has beyond debootstrap's minimum.
pub(super) const PACKAGES: &str = "python3,python3-pip,git,build-essential";
const DOCKERFILE: &str = "FROM base\n\
    RUN python3 -m compileall -q /usr/lib/python3.11 || true\n\
    RUN mkdir -p /app && cp -a /usr/share/doc /app/doc && rm -rf /usr/share/doc\n\
    RUN echo 1.0 > /app/version && find /usr/lib/python3.11/idlelib -name '*.pyc' -delete || true\n";

/// A registry on loopback, stopped with the value.
pub(super) struct Registry {
    server: Child,
    address: String,
}

impl Registry {
    /// Starts a registry that has the image, making the image first if it is not there yet.
    pub(super) fn with_image(scratch: &Scratch) -> Result<Option<Self>> {
        let data = Self::data();
        let have_image = data.join("docker/registry/v2/repositories/debian").is_dir();
        if !have_image && Docker::start(scratch)?.is_none() {
            return Ok(None);
        }
        let registry = Self::kept(scratch)?;
        if !have_image {
            registry.build(scratch)?;
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
            address: format!("127.0.0.1:{port}"),
        })
    }

    /// Starts a registry that has what earlier runs have kept.
    pub(super) fn kept(scratch: &Scratch) -> Result<Self> {
        let data = Self::data();
        std::fs::create_dir_all(&data)?;
        Self::start(scratch, &data)
    }

    fn data() -> PathBuf {
        kept().join("registry")
    }

    /// Returns the name of the image of `bench pull`.
    pub(super) fn image(&self) -> String {
        format!("{}/debian:app", self.address)
    }

    /// Returns the name of one of several related images.
    pub(super) fn related(&self, name: &str) -> String {
        format!("{}/related/{name}:1", self.address)
    }

    /// Returns the files of the layers of an image, named as `repository:tag`, bottom first.
    pub(super) fn layers(repository: &str, tag: &str) -> Result<Vec<PathBuf>> {
        let data = Self::data().join("docker/registry/v2");
        let blob = |digest: &str| {
            let hex = digest.trim().trim_start_matches("sha256:").to_owned();
            data.join("blobs/sha256")
                .join(&hex[..2])
                .join(&hex)
                .join("data")
        };
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        let manifest = blob(&std::fs::read_to_string(data.join(link))?);
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
        let layers = manifest["layers"]
            .as_array()
            .context("a manifest without layers")?;
        let digests = layers.iter().filter_map(|layer| layer["digest"].as_str());
        Ok(digests.map(blob).collect())
    }

    fn build(&self, scratch: &Scratch) -> Result<()> {
        let archive = root_tar(BASE, PACKAGES)?;
        let docker = Docker::start(scratch)?.context("no Docker to build the image with")?;
        shell::run(docker.command().arg("import").arg(&archive).arg("base"))?;
        let context = scratch.folder("context")?;
        std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
        let mut build = docker.command();
        build
            .args(["build", "--network", "none", "-t", &self.image()])
            .arg(&context);
        shell::run(build.env("DOCKER_BUILDKIT", "0"))?;
        shell::run(docker.command().args(["push", &self.image()]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes the tar of a Debian root with these packages, or finds it.
pub(super) fn root_tar(name: &str, packages: &str) -> Result<PathBuf> {
    let kept = kept();
    std::fs::create_dir_all(&kept)?;
    let archive = kept.join(format!("{name}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    let tree = kept.join(name);
    let mut debootstrap = shell::command("debootstrap", &["--variant=minbase"]);
    if !packages.is_empty() {
        debootstrap.arg(format!("--include={packages}"));
    }
    shell::run(debootstrap.arg("bookworm").arg(&tree))?;
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

fn kept() -> PathBuf {
    shell::root().join("target/bench")
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
