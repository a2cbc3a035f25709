//! Control groups: one container's, in every hierarchy it is in.
//!
//! `hierarchy` finds out what this machine has (pure v2, or v1 hierarchies beside which a cgroup2
//! one may be), `plan` turns an OCI `resources` into writes, `device_program` into the eBPF that
//! v2 wants instead of device files. [`Cgroup`] applies, and is serialisable: the paths are the
//! truth, so that any later process can kill, count and remove.
//!
//! On v2 the container's process is born in its cgroup; on v1 it moves itself, once the parent has
//! made it.

mod device_program;
mod error;
mod existing;
pub(crate) mod hierarchy;
pub(crate) mod plan;
mod procs;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lamina_types::ErrorKind;
use oci_spec::runtime::LinuxResources;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

pub use error::CgroupError;
use error::io_error;
pub(crate) use existing::path_of;
use hierarchy::{Hierarchies, Version};
use plan::Write;

/// How long [`Cgroup::remove`] and the freezer wait for the kernel in all.
const PATIENCE: Duration = Duration::from_secs(2);

/// One container's cgroup, in each hierarchy that has one for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The path below the root of every hierarchy: `/lamina/lamina-ID`.
    path: PathBuf,
    /// Whether it is on a pure cgroup2 machine.
    unified: bool,
    /// The directories.
    members: Vec<Member>,
}

/// The cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The controllers of the hierarchy; empty for cgroup2.
    pub(crate) controllers: Vec<String>,
    /// The name of its mount, as below /sys/fs/cgroup: `cpu,cpuacct`.
    pub(crate) name: String,
    /// The directory.
    pub(crate) dir: PathBuf,
}

/// A cgroup that is decided and not made yet.
#[derive(Debug)]
pub(crate) struct CgroupPlan<'a> {
    pub(crate) cgroup: Cgroup,
    relative: PathBuf,
    writes: Vec<Write>,
    resources: Option<&'a LinuxResources>,
}

impl<'a> CgroupPlan<'a> {
    /// Decides on the cgroup `path` with the limits of `resources`.
    pub(crate) fn new(
        hierarchies: &Hierarchies,
        path: &Path,
        resources: Option<&'a LinuxResources>,
    ) -> Result<Self, CgroupError> {
        let relative = hierarchy::relative(path)?;
        let unified = hierarchies.version == Version::V2;
        let writes = if unified {
            plan::v2(resources)?
        } else {
            plan::v1(resources)?
        };
        let members = hierarchies.members(&relative, &writes);
        let cgroup = Cgroup {
            path: path.to_owned(),
            unified,
            members,
        };
        Ok(Self {
            cgroup,
            relative,
            writes,
            resources,
        })
    }

    /// Makes it.
    ///
    /// What was made is removed again where a later step fails. An existing directory is used as
    /// it is: a crashed run of the same container may have left it.
    pub(crate) fn make(&self, hierarchies: &Hierarchies) -> Result<(), CgroupError> {
        self.cgroup
            .make(hierarchies, &self.relative)
            .and_then(|()| self.cgroup.apply(&self.writes))
            .and_then(|()| self.cgroup.restrict_devices(self.resources))
            .inspect_err(|_| {
                // The first failure is what is told.
                let _ = self.cgroup.remove();
            })
    }
}

impl Cgroup {
    fn make(&self, hierarchies: &Hierarchies, relative: &Path) -> Result<(), CgroupError> {
        if self.unified {
            hierarchies.enable_controllers(relative)?;
        }
        for member in &self.members {
            hierarchy::make_directory(&member.dir)?;
            if member.has("cpuset") {
                hierarchy::inherit_cpuset(&member.dir)?;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), CgroupError> {
        // Consecutive writes to the same file (device rules) share a descriptor.
        let mut open: Option<(PathBuf, OwnedFd)> = None;
        for write in writes {
            let member =
                self.member(write.controller)
                    .ok_or_else(|| CgroupError::NoController {
                        controller: write.controller,
                        file: write.file.clone(),
                    })?;
            let file = member.dir.join(&write.file);
            let refused = |errno: Errno| CgroupError::Limit {
                file: file.clone(),
                value: write.value.clone(),
                source: errno.into(),
            };
            let fd = match open.take() {
                Some((path, fd)) if path == file => fd,
                _ => match rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                {
                    Ok(fd) => fd,
                    Err(Errno::NOENT) if write.optional => continue,
                    Err(errno) => return Err(refused(errno)),
                },
            };
            match rustix::io::write(&fd, write.value.as_bytes()) {
                Ok(_) => {}
                Err(_) if write.optional => {}
                Err(errno) => return Err(refused(errno)),
            }
            open = Some((file, fd));
        }
        Ok(())
    }

    fn restrict_devices(&self, resources: Option<&LinuxResources>) -> Result<(), CgroupError> {
        if !self.unified {
            return Ok(());
        }
        let rules = plan::device_rules(resources);
        if rules.iter().any(plan::allows_everything) {
            return Ok(());
        }
        let dir = self.directory()?;
        let attach = || -> Result<(), Errno> {
            use std::os::fd::AsFd;
            let program = lamina_sys::bpf::load_device_program(&device_program::compile(&rules))?;
            lamina_sys::bpf::attach_device_program(dir.as_fd(), program.as_fd())
        };
        attach()
            .map_err(|errno| io_error("attach the device program to", &self.members[0].dir, errno))
    }

    /// Opens the cgroup2 directory, for a clone into it.
    pub(crate) fn directory(&self) -> Result<OwnedFd, CgroupError> {
        self.directory_below(Path::new(""))
    }

    /// Opens a cgroup2 directory of a cgroup below this one, by its path from here.
    pub(crate) fn directory_below(&self, path: impl AsRef<Path>) -> Result<OwnedFd, CgroupError> {
        let member = self.members.first();
        let dir = member
            .ok_or_else(|| CgroupError::Invalid("has no hierarchy".to_owned()))?
            .dir
            .join(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&dir, flags, Mode::empty()).map_err(|errno| io_error("open", &dir, errno))
    }

    /// Returns whether a process is put into it by the clone itself.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Returns the directories, one per hierarchy.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the path below the root of every hierarchy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directories that make up this cgroup.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().map(|member| member.dir.as_path())
    }

    /// Returns the paths of a control file in every directory, for people.
    pub(crate) fn files(&self, name: &str) -> String {
        let paths = self
            .directories()
            .map(|dir| dir.join(name).display().to_string());
        paths.collect::<Vec<_>>().join(" ")
    }

    /// Moves a process, all its threads included, into every hierarchy's directory.
    pub fn join(&self, pid: Pid) -> Result<(), CgroupError> {
        let pid = pid.to_string();
        for member in &self.members {
            write_file(&member.dir.join("cgroup.procs"), &pid)?;
        }
        Ok(())
    }

    /// Moves the calling thread, which must be its process's only one, into every v1 directory.
    ///
    /// A thread that moves itself (`0` into `tasks`) takes no lock that stops the forks and exits
    /// of the whole machine, as moving a process by its id does: some microseconds against a
    /// millisecond per hierarchy (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`).
    pub(crate) fn join_self(&self) -> Result<(), CgroupError> {
        let mut members = self.members.iter();
        members.try_for_each(|member| write_file(&member.dir.join("tasks"), "0"))
    }

    /// Kills every process in it and below it. Returns when the signals are sent, not when the
    /// processes are gone.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if self.unified {
            match write_file(&self.members[0].dir.join("cgroup.kill"), "1") {
                // Linux before 5.14 has no cgroup.kill.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
        procs::kill_all(&self.members)
    }

    /// Stops every process in it until [`Cgroup::thaw`].
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets the processes go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        if self.unified {
            return procs::freeze_v2(&self.members[0].dir, frozen);
        }
        let freezer = self.member("freezer").ok_or(CgroupError::NoFreezer)?;
        procs::freeze_v1(&freezer.dir, frozen)
    }

    /// Returns how many of its processes the kernel killed for want of memory; 0 where it does
    /// not count.
    pub fn oom_kills(&self) -> u64 {
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let Some(member) = self.member("memory") else {
            return 0;
        };
        let text = read_file(&member.dir.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Changes the limits of a running container; what `resources` does not name stays.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let writes = if self.unified {
            plan::limits_v2(resources)?
        } else {
            plan::limits_v1(resources)?
        };
        self.apply(&writes)
    }

    /// Removes it, with every cgroup the container made below, killing what is left inside.
    ///
    /// Idempotent. A process that is still exiting keeps its cgroup busy: that is waited for, two
    /// seconds at most.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        for member in &self.members {
            loop {
                match hierarchy::remove_tree(&member.dir) {
                    Ok(()) => break,
                    Err(Errno::BUSY) if Instant::now() < deadline => {}
                    Err(Errno::BUSY) => {
                        return Err(CgroupError::Busy {
                            path: member.dir.clone(),
                        });
                    }
                    Err(errno) => return Err(io_error("remove", &member.dir, errno)),
                }
                let _ = self.thaw();
                let _ = self.kill_all();
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn member(&self, controller: &str) -> Option<&Member> {
        if self.unified {
            return self.members.first();
        }
        self.members.iter().find(|member| member.has(controller))
    }
}

impl Member {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }
}

/// Writes a control file in one call.
fn write_file(path: &Path, value: &str) -> Result<(), CgroupError> {
    let write = || {
        let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&fd, value.as_bytes())
    };
    match write() {
        Ok(_) => Ok(()),
        Err(errno) => Err(CgroupError::Limit {
            file: path.to_owned(),
            value: value.to_owned(),
            source: errno.into(),
        }),
    }
}

/// Reads a control file, which the kernel keeps small.
fn read_file(path: &Path) -> Result<String, Errno> {
    let fd = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut buffer = [0_u8; 8192];
    loop {
        match rustix::io::read(&fd, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            read => text.extend_from_slice(&buffer[..read]),
        }
        // cgroup.procs of a fork bomb: what is listed so far is enough for one round.
        if text.len() > 4 << 20 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Removes one empty cgroup directory; one that is gone is fine.
fn remove_directory(path: &Path) -> Result<(), Errno> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
