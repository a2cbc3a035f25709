//! A store, a registry out of another one, and what is looked at afterwards.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// A folder with a store, a registry's store and a run directory.
pub(crate) struct Places {
    folder: PathBuf,
    mode: String,
}

/// A registry out of a store of its own.
pub(crate) struct Registry {
    child: Child,
    address: String,
}

impl Places {
    /// Makes an empty folder; it goes with the value.
    pub(crate) fn new(mode: &str) -> Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/lamina-places-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            mode: mode.to_owned(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The store that commands are given in.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn served(&self) -> PathBuf {
        self.folder.join("registry")
    }

    /// Makes images of these sizes in the registry's store, as a registry serves them.
    pub(crate) fn images(&self, images: &[(&str, usize)]) -> Result<()> {
        for (name, size) in images {
            let archive = tar(&self.folder, &name.replace(':', "-"), *size)?;
            let archive = archive.to_string_lossy().into_owned();
            self.ok_in(&self.served(), &["import", &archive, name])?;
            self.ok_in(&self.served(), &["image", "blobs", "--rebuild", name])?;
        }
        Ok(())
    }

    /// Serves them.
    pub(crate) fn serve(&self) -> Result<Registry> {
        Registry::start(self, &self.served())
    }

    /// Serves a store that is empty.
    pub(crate) fn serve_empty(&self) -> Result<Registry> {
        let root = self.folder.join("empty-registry");
        let _ = fs::remove_dir_all(&root);
        Registry::start(self, &root)
    }

    /// Returns a command in the store.
    pub(crate) fn lamina(&self, words: &[&str]) -> Command {
        self.lamina_in(&self.root(), words)
    }

    pub(crate) fn lamina_in(&self, root: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(shell::binary("debug"));
        self.surround(&mut command, root);
        command.arg(&self.mode).args(words);
        command
    }

    /// Sets up the environment of a command in a store.
    pub(crate) fn surround(&self, command: &mut Command, root: &Path) {
        command
            .env("LAMINA_ROOT", root)
            .env("LAMINA_RUN", self.folder.join("run"))
            .env("HOME", &self.folder)
            .stdin(Stdio::null());
    }

    /// Runs a command to its end; returns what it printed.
    pub(crate) fn ok(&self, words: &[&str]) -> Result<String> {
        self.ok_in(&self.root(), words)
    }

    pub(crate) fn ok_in(&self, root: &Path, words: &[&str]) -> Result<String> {
        let output = self.lamina_in(root, words).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(
            output.status.success(),
            "{}: {} {}",
            words.join(" "),
            text(&output.stderr),
            text(&output.stdout)
        );
        Ok(text(&output.stdout))
    }

    /// What has a name, or can be brought back, is whole; `df` says what `du` says.
    pub(crate) fn whole(&self) -> Result<()> {
        self.ok(&["fsck"])?;
        let said = self.ok(&["df", "-v", "--format", "json"])?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let said = said["Total"].as_u64().context("df: no total")?;
        let mut du = shell::command("du", &["-s", "-B1"]);
        let output = du.arg(self.root()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let real: u64 = text.split_whitespace().next().unwrap_or("0").parse()?;
        ensure!(
            said.abs_diff(real) * 100 <= real,
            "df says {said}, du {real}"
        );
        Ok(())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Registry {
    fn start(places: &Places, root: &Path) -> Result<Self> {
        let words = ["registry", "serve", "--listen", "127.0.0.1:0", "--writable"];
        let mut command = places.lamina_in(root, &words);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("Listening on http://");
        let address = address.context("the registry does not listen")?.to_owned();
        Ok(Self { child, address })
    }

    /// Returns a word with the registry's address in the place of `REGISTRY`.
    pub(crate) fn word(&self, word: &str) -> String {
        word.replace("REGISTRY", &self.address)
    }

    /// How many bytes the server has read, which are those it has sent and a few more.
    pub(crate) fn read_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        Ok(line.context("no rchar")?.trim().parse()?)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a tar of one program and one file that does not shrink.
pub(super) fn tar(folder: &Path, name: &str, size: usize) -> Result<PathBuf> {
    let tree = folder.join(format!("tree-{name}"));
    fs::create_dir_all(tree.join("bin"))?;
    let busybox = shell::find("busybox").context("no busybox")?;
    fs::copy(busybox, tree.join("bin/true"))?;
    let mut state = name.len() as u64 + 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift: any bytes will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(size)
    .collect();
    fs::File::create(tree.join("noise"))?.write_all(&bytes)?;
    let archive = folder.join(format!("{name}.tar"));
    let mut tar = shell::command("tar", &["-C"]);
    shell::run(tar.arg(&tree).arg("-cf").arg(&archive).arg("."))?;
    Ok(archive)
}
