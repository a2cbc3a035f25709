//! Gathering a minimal image's tree from a host: programs, their libraries, busybox for what
//! the host lacks, and the files every program expects.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::programs::{
    DIRECTORIES, GROUP, HOSTS, NAME_SERVICE, NSSWITCH, OS_RELEASE, PASSWD, PATH, PROGRAMS,
    TERMINALS,
};
use super::tree::{Tree, real_path};
use super::{CreateMinimalError, HostPaths};
use crate::elf::libraries::{Libraries, Missing};
use crate::elf::search::under;

/// A busybox larger than this is not searched for its applets.
const MAX_BUSYBOX: u64 = 32 << 20;
/// The kernel reads at most this much of a `#!` line (BINPRM_BUF_SIZE).
const SCRIPT_LINE: u64 = 256;

/// What was gathered.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The layer.
    pub(crate) tree: Tree,
    /// The directories that programs are in: the usual ones first.
    pub(crate) path: Vec<String>,
}

struct Gatherer<'a> {
    host: &'a HostPaths,
    tree: Tree,
    libraries: Libraries,
    directories: Vec<PathBuf>,
}

/// Gathers the standard programs and `adds` from `host`.
///
/// Of the standard programs, one that could not run (a library is missing) is left out; an added
/// path that is missing, or that lacks a library, is an error.
pub(crate) fn gather(host: &HostPaths, adds: &[PathBuf]) -> Result<Gathered, CreateMinimalError> {
    let mut gatherer = Gatherer {
        host,
        tree: Tree::new(&host.root),
        libraries: Libraries::new(&host.root),
        directories: Vec::new(),
    };
    gatherer.layout();
    for name in PROGRAMS {
        gatherer.standard(name);
    }
    gatherer.busybox();
    gatherer.shell()?;
    for path in adds {
        gatherer.added(path)?;
    }
    gatherer.run_time_files();
    gatherer.our_files();
    let mut path: Vec<String> = PATH.iter().map(|p| (*p).to_owned()).collect();
    for directory in &gatherer.directories {
        let text = directory.display().to_string();
        if !path.contains(&text) {
            path.push(text);
        }
    }
    Ok(Gathered {
        tree: gatherer.tree,
        path,
    })
}

impl Gatherer<'_> {
    /// Keeps the host's merged `/usr` where it has one.
    fn layout(&mut self) {
        for name in ["/bin", "/sbin", "/lib", "/lib64", "/lib32"] {
            let host = under(&self.host.root, Path::new(name));
            if host.is_symlink() {
                // A dangling link (a host without /usr/lib64) is simply not there.
                let _ = self.tree.add(Path::new(name));
            }
        }
    }

    /// Returns the first directory entry of that name that is a file one may execute.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let directories = self.host.directories.iter().map(PathBuf::as_path);
        directories.map(|d| d.join(name)).find(|path| {
            real_path(&self.host.root, path).is_ok_and(|real| {
                use std::os::unix::fs::PermissionsExt;
                let metadata = under(&self.host.root, &real).metadata();
                metadata.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
            })
        })
    }

    /// Adds one of the standard programs if the host has it and it can run.
    fn standard(&mut self, name: &str) {
        let Some(path) = self.find(name) else { return };
        if let Some(interpreter) = script_interpreter(&self.host.root, &path) {
            // A shell script runs with the shell that is here anyway; others would bring a
            // whole language along.
            let shell = interpreter
                .file_name()
                .is_some_and(|n| n == "sh" || n == "bash");
            if !shell || self.program(&interpreter).is_err() {
                return;
            }
        }
        if self.program(&path).is_ok() {
            self.remember(&path);
        }
    }

    fn remember(&mut self, program: &Path) {
        if let Some(directory) = program.parent().map(Path::to_owned)
            && !self.directories.contains(&directory)
        {
            self.directories.push(directory);
        }
    }

    /// Adds a program with everything it needs, or nothing at all.
    fn program(&mut self, path: &Path) -> Result<(), CreateMinimalError> {
        let closure = self
            .libraries
            .closure(path)
            .map_err(
                |Missing { needed_by, library }| CreateMinimalError::Library { needed_by, library },
            )?;
        for path in closure.paths.iter().map(PathBuf::as_path).chain([path]) {
            self.add(path)?;
        }
        for path in &closure.configuration {
            // ld.so.cache need not exist: the linker then looks in its built-in directories.
            let _ = self.tree.add(path);
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<PathBuf, CreateMinimalError> {
        self.tree
            .add(path)
            .map_err(|source| CreateMinimalError::Host {
                path: path.to_owned(),
                source,
            })
    }

    /// Adds busybox, and a link to it for each standard program that the host has not got.
    fn busybox(&mut self) {
        let Some(path) = self.find("busybox") else {
            return;
        };
        if self.program(&path).is_err() {
            return;
        }
        self.remember(&path);
        let applets = applets(&self.host.root, &path);
        for name in PROGRAMS {
            if applets.contains(*name) && !self.provides(name) {
                self.tree.link(&path.with_file_name(name), &path);
            }
        }
    }

    fn provides(&self, name: &str) -> bool {
        let mut directories = self.host.directories.iter();
        directories.any(|directory| self.tree.has(&directory.join(name)))
    }

    /// Makes sure that `/bin/sh` is there: what every script starts with.
    fn shell(&mut self) -> Result<(), CreateMinimalError> {
        if self.tree.has(Path::new("/bin/sh")) {
            return Ok(());
        }
        let shells = ["sh", "bash", "ash", "busybox"];
        let mut found = shells.iter().filter_map(|name| self.find(name));
        let shell = found.find(|path| self.tree.has(path));
        let shell = shell.ok_or(CreateMinimalError::NoShell)?;
        self.tree.link(Path::new("/bin/sh"), &shell);
        Ok(())
    }

    /// Adds a path that was asked for: a program, any file, or a directory with all in it.
    fn added(&mut self, path: &Path) -> Result<(), CreateMinimalError> {
        let path = if path.is_absolute() {
            path.to_owned()
        } else {
            let name = path.to_string_lossy();
            let found = self.find(&name);
            found.ok_or_else(|| CreateMinimalError::NoProgram(path.to_owned()))?
        };
        let real = self.add(&path)?;
        let files = if under(&self.host.root, &real).is_dir() {
            self.tree
                .add_all(&real)
                .map_err(|source| CreateMinimalError::Host { path, source })?
        } else {
            self.remember_if_program(&path);
            vec![real]
        };
        for file in files {
            if let Some(interpreter) = script_interpreter(&self.host.root, &file) {
                self.program(&interpreter)?;
            }
            self.program(&file)?;
        }
        Ok(())
    }

    fn remember_if_program(&mut self, path: &Path) {
        if path
            .parent()
            .is_some_and(|d| self.host.directories.iter().any(|h| h == d))
        {
            self.remember(path);
        }
    }

    /// Adds what libraries open by name at run time; none of it is necessary.
    fn run_time_files(&mut self) {
        let directories: BTreeSet<PathBuf> = self
            .tree
            .entries()
            .filter(|(path, _)| path.file_name().is_some_and(|n| n == "libc.so.6"))
            .filter_map(|(path, _)| path.parent().map(Path::to_owned))
            .collect();
        for directory in directories {
            for name in NAME_SERVICE {
                let _ = self.program(&directory.join(name));
            }
        }
        for name in TERMINALS {
            for base in ["/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"] {
                if self.tree.add(&Path::new(base).join(name)).is_ok() {
                    break;
                }
            }
        }
    }

    fn our_files(&mut self) {
        for (path, text) in [
            ("/etc/passwd", PASSWD),
            ("/etc/group", GROUP),
            ("/etc/hosts", HOSTS),
            ("/etc/nsswitch.conf", NSSWITCH),
            ("/etc/os-release", OS_RELEASE),
        ] {
            self.tree.put(path, 0o644, text);
        }
        for path in [
            "/dev", "/proc", "/sys", "/run", "/home", "/mnt", "/opt", "/srv",
        ] {
            self.tree.make_dir(path, 0o755);
        }
        for path in [
            "/usr/bin",
            "/usr/sbin",
            "/usr/lib",
            "/var/log",
            "/var/lib",
            "/etc",
        ] {
            self.tree.make_dir(path, 0o755);
        }
        self.tree.make_dir("/root", 0o700);
        self.tree.make_dir("/tmp", 0o1777);
        self.tree.make_dir("/var/tmp", 0o1777);
    }
}

/// Returns the interpreter that a script's first line names.
fn script_interpreter(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = real_path(root, path).ok()?;
    let mut line = Vec::new();
    let file = File::open(under(root, &real)).ok()?;
    file.take(SCRIPT_LINE).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let end = line.iter().position(|b| *b == b'\n').unwrap_or(line.len());
    let text = std::str::from_utf8(&line[..end]).ok()?;
    let name = text
        .split_whitespace()
        .next()
        .filter(|n| n.starts_with('/'))?;
    Some(PathBuf::from(name))
}

/// Returns the applets of a busybox: its sorted table of NUL-terminated names is found by the
/// entry `[`, which every build has first, followed by `[[` (busybox include/applet_tables.h).
fn applets(root: &Path, path: &Path) -> BTreeSet<String> {
    let mut bytes = Vec::new();
    let read = real_path(root, path)
        .and_then(|real| File::open(under(root, &real)))
        .and_then(|file| file.take(MAX_BUSYBOX).read_to_end(&mut bytes));
    let start = match read {
        Ok(_) => bytes.windows(6).position(|w| w == b"\0[\0[[\0"),
        Err(_) => None,
    };
    let Some(start) = start else {
        return BTreeSet::new();
    };
    let is_name = |name: &&[u8]| {
        !name.is_empty() && name.len() < 32 && name.iter().all(|b| b.is_ascii_graphic())
    };
    bytes[start + 1..]
        .split(|b| *b == 0)
        .take_while(is_name)
        .filter_map(|name| String::from_utf8(name.to_vec()).ok())
        .collect()
}

/// Returns the directories that programs are looked for in, unless the caller has others.
pub(crate) fn default_directories() -> Vec<PathBuf> {
    DIRECTORIES.iter().map(PathBuf::from).collect()
}
