//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! Each is a file of the container's own in `containers/<id>/`, bind mounted, so that the image
//! stays as it is and an edit inside reaches nobody else. What goes into a line has been checked
//! before: a hostname cannot carry a newline (CVE-2022-4318).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use lamina_types::ContainerId;
use rustix::fs::{Mode, OFlags};

use crate::process::hostname;
use crate::request::{CreateRequest, NamespaceMode, NetworkMode};

/// Writes a new file in a directory that nobody reads yet, so that it need not appear at once;
/// nothing is synced.
pub(crate) fn write_new(dir: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<(), PathError> {
    let path = || dir.path().join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode);
    let fd = rustix::fs::openat(dir, name, flags, mode).at("create", path())?;
    // The umask may have taken what others need; it takes nothing from a file of our own.
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        rustix::fs::fchmod(&fd, mode).at("set the mode of", path())?;
    }
    File::from(fd).write_all(bytes).at("write", path())
}

/// The largest file of the host's that is copied.
const HOST_FILE_LIMIT: u64 = 1 << 20;

/// The names of the files, in the container's directory and under `/etc`.
const NAMES: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

/// Where the files of a container are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EtcFiles {
    dir: PathBuf,
}

/// What the files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EtcContents {
    pub hosts: Vec<u8>,
    pub hostname: Vec<u8>,
    pub resolv_conf: Vec<u8>,
}

/// The host's own files, which a container on the host's network sees copies of.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostFiles {
    pub hosts: Vec<u8>,
    pub resolv_conf: Vec<u8>,
}

impl EtcFiles {
    /// Names the files in a container's directory.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Returns the binds: from, to.
    pub(crate) fn mounts(&self) -> [(PathBuf, PathBuf); 3] {
        NAMES.map(|name| (self.dir.join(name), Path::new("/etc").join(name)))
    }
}

impl EtcContents {
    /// Makes the contents; `host` is given where the network is the host's.
    pub(crate) fn plan(hostname: &str, host: Option<HostFiles>) -> Self {
        let hostname_line = format!("{hostname}\n").into_bytes();
        match host {
            Some(host) => Self {
                hosts: host.hosts,
                hostname: hostname_line,
                resolv_conf: host.resolv_conf,
            },
            // Without a network the only name that means anything is one's own.
            None => Self {
                hosts: format!(
                    "127.0.0.1\tlocalhost\n\
                     ::1\tlocalhost ip6-localhost ip6-loopback\n\
                     127.0.1.1\t{hostname}\n"
                )
                .into_bytes(),
                hostname: hostname_line,
                resolv_conf: Vec::new(),
            },
        }
    }

    /// Returns name and content of each.
    pub(crate) fn files(&self) -> [(&'static str, &[u8]); 3] {
        [
            (NAMES[0], &self.resolv_conf),
            (NAMES[1], &self.hostname),
            (NAMES[2], &self.hosts),
        ]
    }
}

/// Writes the three files into a new container's directory.
pub(crate) fn write_etc(
    dir: &Dir,
    request: &CreateRequest,
    id: &ContainerId,
) -> Result<(), PathError> {
    let host = match request.isolation.network {
        NetworkMode::Host => Some(HostFiles {
            hosts: host_file("hosts")?,
            resolv_conf: host_file("resolv.conf")?,
        }),
        NetworkMode::None => None,
    };
    let system = rustix::system::uname();
    let name = match request.isolation.uts {
        NamespaceMode::Private => hostname(request, id),
        NamespaceMode::Host => system.nodename().to_str().unwrap_or("localhost"),
    };
    for (file, content) in EtcContents::plan(name, host).files() {
        write_new(dir, file, content, 0o644)?;
    }
    Ok(())
}

/// Reads a file of the host's /etc; a missing one is empty. /etc/resolv.conf is often a link.
fn host_file(name: &str) -> Result<Vec<u8>, PathError> {
    let path = Path::new("/etc").join(name);
    let path = path.canonicalize().unwrap_or(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    match Dir::open(parent).and_then(|dir| dir.read(name, HOST_FILE_LIMIT)) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_alone_knows_itself() {
        let contents = EtcContents::plan("web", None);
        assert_eq!(contents.hostname, b"web\n");
        insta::assert_snapshot!(String::from_utf8(contents.hosts).unwrap().replace('\t', " "), @r"
        127.0.0.1 localhost
        ::1 localhost ip6-localhost ip6-loopback
        127.0.1.1 web
        ");
    }

    #[test]
    fn on_the_hosts_network_the_hosts_files_are_copied() {
        let host = HostFiles {
            hosts: b"10.0.0.1 db\n".to_vec(),
            resolv_conf: b"nameserver 10.0.0.2\n".to_vec(),
        };
        let contents = EtcContents::plan("web", Some(host));
        assert_eq!(contents.hosts, b"10.0.0.1 db\n");
        assert_eq!(contents.resolv_conf, b"nameserver 10.0.0.2\n");
    }
}
