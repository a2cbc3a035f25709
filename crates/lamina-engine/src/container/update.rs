//! `update`: other limits for a container, at once where it runs, and for every start from now on.

use lamina_fs::{LockError, PathError};
use lamina_monitor::LivenessError;
use lamina_runtime::CgroupError;
use lamina_types::{ContainerId, ErrorKind, Resources, RestartPolicy};
use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};

use crate::Engine;
use crate::container::bundle::change_config;
use crate::container::cleanup;
use crate::container::find::FindError;
use crate::spec::{SpecError, resources};

/// Why limits cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// The limits do not fit each other.
    #[error(transparent)]
    Limits(#[from] SpecError),
    /// The memory limit would be above the limit of memory and swap that is set.
    #[error(
        "memory limit should be smaller than already set memoryswap limit, \
         update the memoryswap at the same time"
    )]
    AboveSwap,
    /// The kernel refuses.
    #[error("cannot update container {id}")]
    Cgroup {
        /// Which container.
        id: ContainerId,
        /// Why.
        source: CgroupError,
    },
    /// It goes with its end.
    #[error("restart policy cannot be updated because AutoRemove is enabled for the container")]
    AutoRemove,
    /// Its record cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl UpdateError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Limits(_) | Self::AboveSwap | Self::AutoRemove => ErrorKind::InvalidArgument,
            Self::Cgroup { source, .. } => source.kind(),
            Self::Path(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Changes the limits that `asked` names, and the restart policy; the others stay. What the
    /// kernel refuses is not recorded.
    pub fn update(
        &self,
        id: &ContainerId,
        asked: &Resources,
        restart: Option<RestartPolicy>,
    ) -> Result<(), UpdateError> {
        let missing = || FindError::NotFound(id.to_string());
        let _lock = cleanup::lock(&self.load_supervised(id)?)?.ok_or_else(missing)?;
        let mut container = self.load(id)?;
        if restart.is_some() && container.record.request.remove {
            return Err(UpdateError::AutoRemove);
        }
        let before = container.record.request.resources.clone();
        let merged = merge(&before, asked)?;
        resources::plan(&merged)?;
        if cleanup::is_alive(&container)? {
            let refused = |source| UpdateError::Cgroup {
                id: id.clone(),
                source,
            };
            let cgroup = self.cgroup_of(&container.record).map_err(refused)?;
            if let Some(cgroup) = cgroup {
                let changes = changes(&before, &merged, cgroup.is_v2())?;
                let mut tries = changes.iter().map(|step| cgroup.update(step));
                tries.try_for_each(|tried| tried.map_err(refused))?;
            }
        }
        container.record.request.resources = merged;
        if let Some(policy) = restart {
            container.record.request.restart = policy;
        }
        self.rewrite(&container)?;
        self.note_container(&container.record, "update", &[]);
        restart.map_or(Ok(()), |policy| self.tell_policy(id, policy))
    }
}

impl Engine {
    /// Changes the policy in the bundle, where a monitor reads it when the run ends.
    fn tell_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<(), UpdateError> {
        let bundle = match self.run_dir()?.open_at(id.as_str()) {
            // It does not run.
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        Ok(change_config(&bundle, |config| config.restart = policy)?)
    }
}

/// Returns the limits with those that are asked for over them.
fn merge(before: &Resources, asked: &Resources) -> Result<Resources, UpdateError> {
    let has = |quota: Option<i64>| quota.is_some_and(|quota| quota != 0);
    let conflict = match (asked.nano_cpus.is_some(), before.nano_cpus.is_some()) {
        (true, _) if has(before.cpu_quota) => {
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        }
        (true, _) if before.cpu_period.is_some_and(|period| period != 0) => {
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"
        }
        (_, true) if has(asked.cpu_quota) => {
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        }
        (_, true) if asked.cpu_period.is_some_and(|period| period != 0) => {
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"
        }
        _ => "",
    };
    if !conflict.is_empty() {
        return Err(SpecError::Limits(conflict).into());
    }
    let mut merged = before.clone();
    macro_rules! take {
        ($($field:ident),+) => {$(
            if asked.$field.is_some() {
                merged.$field.clone_from(&asked.$field);
            }
        )+};
    }
    take!(
        memory,
        memory_swap,
        memory_reservation,
        nano_cpus,
        cpu_shares
    );
    take!(cpuset_cpus, cpuset_mems, pids_limit);
    take!(cpu_quota, cpu_period, blkio_weight);
    if let (Some(memory), Some(swap @ 1..)) = (merged.memory, merged.memory_swap)
        && asked.memory_swap.is_none()
        && i64::try_from(memory).is_ok_and(|memory| memory > swap)
    {
        return Err(UpdateError::AboveSwap);
    }
    Ok(merged)
}

/// Returns what has to be written, in steps. In cgroup v1 the limit of memory may never be above that
/// of memory and swap: on the way up the latter goes first.
fn changes(
    before: &Resources,
    after: &Resources,
    v2: bool,
) -> Result<Vec<LinuxResources>, UpdateError> {
    let limits = resources::plan(after)?;
    let mut steps = Vec::new();
    let rises = after.memory > before.memory && before.memory.is_some();
    if let Some(memory) = &limits.memory {
        let step = |limit: Option<i64>, swap: Option<i64>| {
            let mut builder = LinuxMemoryBuilder::default();
            if let Some(limit) = limit {
                builder = builder.limit(limit);
            }
            if let Some(swap) = swap {
                builder = builder.swap(swap);
            }
            if let Some(soft) = memory.reservation() {
                builder = builder.reservation(soft);
            }
            let memory = builder.build().expect("every field has a default");
            let built = LinuxResourcesBuilder::default()
                .memory(memory)
                .devices(vec![]);
            built.build().expect("every field has a default")
        };
        // In cgroup2 swap is counted by itself.
        if rises && !v2 && memory.swap().is_some() {
            steps.push(step(None, memory.swap()));
        }
        steps.push(step(memory.limit(), memory.swap()));
    }
    let mut rest = LinuxResourcesBuilder::default().devices(vec![]);
    if after.pids_limit != before.pids_limit {
        let limit = after.pids_limit.filter(|limit| *limit > 0).unwrap_or(-1);
        let pids = LinuxPidsBuilder::default().limit(limit);
        rest = rest.pids(pids.build().expect("every field has a default"));
    }
    if let Some(io) = limits.io {
        rest = rest.block_io(io);
    }
    let cpu = limits.cpu.unwrap_or_else(|| {
        let nothing = LinuxCpuBuilder::default().build();
        nothing.expect("every field has a default")
    });
    let rest = rest.cpu(cpu).build();
    steps.push(rest.expect("every field has a default"));
    Ok(steps)
}
