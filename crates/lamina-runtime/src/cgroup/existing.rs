//! A cgroup that another process has made, found again by its path.

use std::path::{Path, PathBuf};

use lamina_types::ContainerId;
use oci_spec::runtime::Spec;
use rustix::fs::{Access, access};
use rustix::process::Pid;

use super::hierarchy::{self, Hierarchies, Version};
use super::{Cgroup, CgroupError, Member, procs, read_file};

/// Returns the path of a container's cgroup, below the root of every hierarchy.
pub(crate) fn path_of(spec: &Spec, id: &ContainerId) -> PathBuf {
    let linux = spec.linux().as_ref();
    let named = linux.and_then(|linux| linux.cgroups_path().clone());
    named.unwrap_or_else(|| PathBuf::from(format!("/lamina/lamina-{id}")))
}

impl Cgroup {
    /// Finds the cgroup of a container that another process has made by this specification.
    pub fn of_container(spec: &Spec, id: &ContainerId) -> Result<Option<Self>, CgroupError> {
        Self::find(&path_of(spec, id))
    }

    /// Finds the cgroup `path` in every hierarchy that has it; `None` where none has.
    pub fn find(path: &Path) -> Result<Option<Self>, CgroupError> {
        let hierarchies = Hierarchies::discover()?;
        let relative = hierarchy::relative(path)?;
        let members = hierarchies.mounted.iter().map(|hierarchy| Member {
            controllers: hierarchy.controllers.clone(),
            name: hierarchy
                .mount_point
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            dir: hierarchy.mount_point.join(&relative),
        });
        let members: Vec<Member> = members
            .filter(|member| access(&member.dir, Access::EXISTS).is_ok())
            .collect();
        Ok((!members.is_empty()).then(|| Self {
            path: path.to_owned(),
            unified: hierarchies.version == Version::V2,
            members,
        }))
    }

    /// Returns the directory whose files freeze it, if it has one.
    pub fn freezer(&self) -> Option<&Path> {
        self.member("freezer").map(|member| member.dir.as_path())
    }

    /// Returns whether its processes are stopped by [`Cgroup::freeze`].
    pub fn is_frozen(&self) -> bool {
        self.freezer().is_some_and(is_frozen)
    }

    /// Returns whether its processes are stopped, or about to be: somebody has asked for it in this
    /// moment, or one of them waits in the kernel.
    pub fn is_freezing(&self) -> bool {
        let state = |dir: &Path| read_file(&dir.join("freezer.state")).unwrap_or_default();
        self.is_frozen()
            || self
                .freezer()
                .is_some_and(|dir| state(dir).trim() == "FREEZING")
    }

    /// Returns whether its processes are stopped, by whatever cgroup.
    pub fn stands_still(&self) -> bool {
        let read = |dir: &Path, name: &str| read_file(&dir.join(name)).unwrap_or_default();
        self.freezer().is_some_and(|dir| {
            let events = read(dir, "cgroup.events");
            events.lines().any(|line| line == "frozen 1")
                || read(dir, "freezer.state").trim() == "FROZEN"
        })
    }

    /// Returns the processes in it and below it, at one moment.
    pub fn processes(&self) -> Vec<Pid> {
        let dir = self.member("pids").or(self.members.first());
        dir.map_or_else(Vec::new, |member| procs::all(&member.dir))
    }

    /// Returns the directory of a controller: of cgroup2 the one it has.
    pub fn controller(&self, name: &str) -> Option<&Path> {
        self.member(name).map(|member| member.dir.as_path())
    }

    /// Returns whether it is on a pure cgroup2 machine.
    pub fn is_v2(&self) -> bool {
        self.unified
    }
}

/// Returns whether the cgroup of a directory, of either version, is frozen itself.
fn is_frozen(dir: &Path) -> bool {
    let read = |name: &str| read_file(&dir.join(name)).unwrap_or_default();
    read("freezer.state").trim() == "FROZEN" || read("cgroup.freeze").trim() == "1"
}
