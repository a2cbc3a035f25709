//! Settings of the process and its namespaces that are neither mounts nor privileges.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use lamina_fs::Root;
use lamina_types::explain::Explainer;
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::process::setrlimit;
use rustix::system::{setdomainname, sethostname};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::report::{Failure, Step};
use super::{Context, Network};
use crate::compat::new_filesystem;
use crate::plan::Plan;
use crate::plan::process::ProcessPlan;
use crate::plan::sysctl::Sysctl;

/// Joins the network namespace that was made before, and the namespaces that are given by path,
/// while the host's paths still mean something.
pub(super) fn join_namespaces(context: &Context<'_>) -> Result<(), Failure> {
    if let Network::Made(network) = &context.network {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .step(|| "enter the network namespace".to_owned())?;
    }
    for (kind, path) in &context.plan.namespaces.join {
        let act = || format!("join the {kind} namespace {}", path.display());
        let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(act)?;
        let expected = match kind {
            LinuxNamespaceType::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            LinuxNamespaceType::Ipc => LinkNameSpaceType::InterProcessCommunication,
            LinuxNamespaceType::Network => LinkNameSpaceType::Network,
            _ => LinkNameSpaceType::ControlGroup,
        };
        move_into_link_name_space(fd.as_fd(), Some(expected)).step(act)?;
    }
    Ok(())
}

/// Writes the OOM adjustment through the host's /proc, which nobody in a container can fake.
pub(super) fn oom_score(process: &ProcessPlan) -> Result<(), Failure> {
    let Some(value) = process.oom_score_adj else {
        return Ok(());
    };
    let write = || {
        let file = open(
            "/proc/self/oom_score_adj",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&file, value.to_string().as_bytes())
    };
    write().step(|| format!("set the oom score adjustment to {value}"))?;
    Ok(())
}

/// Brings loopback up in a network namespace that was just made.
pub(super) fn network(context: &Context<'_>, explain: &mut Explainer) -> Result<(), Failure> {
    let namespaces = context.plan.namespaces.create;
    match context.network {
        Network::Planned if namespaces.contains(UnshareFlags::NEWNET) => loopback(explain),
        _ => Ok(()),
    }
}

pub(super) fn loopback(explain: &mut Explainer) -> Result<(), Failure> {
    explain
        .step(
            "loopback",
            "a new network namespace has one interface, and it is down",
            || "ip link set lo up".to_owned(),
            lamina_sys::link::loopback_up,
        )
        .step(|| "bring loopback up".to_owned())
}

/// Writes kernel parameters through the container's own procfs, by the descriptor it was mounted
/// with: nothing mounted over a part of it can redirect a write (CVE-2025-52881), that is refused.
///
/// Where it is, or there is no such mount or a read-only one, an instance that is attached nowhere
/// takes its place; making one and taking it down costs a tenth of a millisecond and more.
pub(super) fn sysctls(
    sysctls: &[Sysctl],
    mounted: Option<&OwnedFd>,
    explain: &mut Explainer,
) -> Result<(), Failure> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let command = || {
        let settings = sysctls.iter().map(|s| format!("{}={}", s.file, s.value));
        format!("sysctl -w {}", settings.collect::<Vec<_>>().join(" "))
    };
    explain.step(
        "kernel parameters",
        "those of the container's own namespaces",
        command,
        || {
            let write = |proc: &OwnedFd| {
                sysctls
                    .iter()
                    .try_for_each(|sysctl| write_sysctl(proc, sysctl))
            };
            match mounted.map(write) {
                Some(Ok(())) => Ok(()),
                _ => write(&new_filesystem("proc", &[], 0)?),
            }
        },
    )
}

fn write_sysctl(proc: &OwnedFd, sysctl: &Sysctl) -> Result<(), Failure> {
    let act = || {
        format!(
            "set the kernel parameter {} to {:?}",
            sysctl.file, sysctl.value
        )
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let path = format!("sys/{}", sysctl.file);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat2(proc, path, flags, Mode::empty(), resolve).step(act)?;
    rustix::io::write(&file, sysctl.value.as_bytes()).step(act)?;
    Ok(())
}

/// Makes the working directory where it is missing, inside the root, before the root may become
/// read-only. An existing one is left as it is; whether it can be entered shows when it is.
pub(super) fn working_directory(root: &Root, process: &ProcessPlan) -> Result<(), Failure> {
    match root.create_dir_all(&process.cwd, 0o755, None) {
        Ok(_) => Ok(()),
        // A file, a read-only mount, or a magic link such as /proc/self/fd/7: entering it says so.
        Err(error) => match Errno::from_io_error(&error.source) {
            Some(Errno::NOTDIR | Errno::EXIST | Errno::ROFS | Errno::LOOP | Errno::NOENT) => Ok(()),
            errno => Err(Failure::new(
                &format!("make the working directory {}", process.cwd.display()),
                errno.unwrap_or(Errno::IO),
            )),
        },
    }
}

/// Enters the working directory, as the user it is for, and makes sure it is inside the root.
///
/// Magic links are not followed and the kernel must be able to say where we are: a descriptor of
/// the host that leaked would otherwise be a way out (CVE-2024-21626).
///
/// The exit code of a failure is a program's that is not there or may not be executed, as Docker's.
pub(super) fn enter_working_directory(process: &ProcessPlan) -> Result<(), Failure> {
    let act = || format!("enter the working directory {}", process.cwd.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let entered = openat2(CWD, &process.cwd, flags, Mode::empty(), resolve)
        .and_then(|directory| rustix::process::fchdir(&directory));
    entered.map_err(|errno| Failure {
        code: if errno == Errno::NOENT { 127 } else { 126 },
        ..Failure::new(&act(), errno)
    })?;
    let here = rustix::process::getcwd(Vec::new()).step(act)?;
    if here.to_bytes().first() != Some(&b'/') {
        let cwd = process.cwd.display();
        return Err(Failure::invalid(format!(
            "the working directory {cwd} is outside of the root"
        )));
    }
    Ok(())
}

/// Sets the names of the uts namespace.
pub(super) fn names(plan: &Plan, explain: &mut Explainer) -> Result<(), Failure> {
    if let Some(name) = &plan.hostname {
        explain
            .step(
                "hostname",
                "the uts namespace has a name of its own",
                || format!("hostname {name}"),
                || sethostname(name.as_bytes()),
            )
            .step(|| format!("set the hostname {name}"))?;
    }
    if let Some(name) = &plan.domainname {
        setdomainname(name.as_bytes()).step(|| format!("set the domain name {name}"))?;
    }
    Ok(())
}

/// Leaves the session keyring of whoever started the engine.
///
/// A kernel without keyrings, or one whose quota of keys is used up, has nothing to leave or no
/// room; the filter denies keyctl in the container either way, so it goes on as runc does.
pub(super) fn keyring(explain: &mut Explainer) {
    const NAME: &CStr = c"_lamina";
    let _ = explain.step(
        "session keyring",
        "keys of the engine's session stay out of reach",
        || "keyctl session".to_owned(),
        || lamina_sys::keyring::join_session(NAME),
    );
}

/// Sets the resource limits that were asked for, and no other.
pub(super) fn limits(process: &ProcessPlan, explain: &mut Explainer) -> Result<(), Failure> {
    for limit in &process.rlimits {
        let shown = |value: Option<u64>| value.map_or("unlimited".to_owned(), |v| v.to_string());
        let (soft, hard) = (shown(limit.limit.current), shown(limit.limit.maximum));
        let name = &limit.name;
        explain
            .step(
                "resource limit",
                "as asked",
                || format!("prlimit --pid $$ {name}={soft}:{hard}"),
                || setrlimit(limit.resource, limit.limit),
            )
            .step(|| format!("set the limit {name} to {soft}:{hard}"))?;
    }
    Ok(())
}
