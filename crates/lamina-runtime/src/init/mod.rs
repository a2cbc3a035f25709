//! The init process: what a clone does to become a container.
//!
//! It is the same program image as its parent, with no exec in between, so everything it needs is
//! in the plan. Each step is one kernel operation with its reason, and every failure names what
//! was being done; it travels to the parent over the channel (`report`).
//!
//! Order matters and is said where it does. In short: leave the host's signals and descriptors →
//! join namespaces → take the bind sources while the host is still visible → make the mount tree
//! private → build the root → join cgroups → mount → pivot → limits and identity → wait for the
//! start → filter, user, capabilities → execute.

mod binds;
mod cgroups;
mod devices;
mod execute;
pub(crate) mod joined;
mod masks;
mod mounts;
pub(crate) mod newborn;
pub(crate) mod orders;
mod privileges;
mod reaper;
pub(crate) mod report;
mod root;
mod settings;
mod terminal;
mod trees;
mod waiting;

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use lamina_sys::fds;
use lamina_sys::process::exit_now;
use lamina_sys::signals::{self, SignalSet};
use lamina_types::explain::Explainer;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid, umask};

use crate::plan::Plan;
use crate::plan::process::ProcessPlan;
use crate::seccomp::Program;
use report::{Failure, Report, Step};

/// What the parent prepared for the child.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) network: Network,
    /// A directory of ours that a mount of an old kernel may need as a mount point.
    pub(crate) bundle: &'a Path,
    /// The child's end of the channel to its parent.
    pub(crate) channel: OwnedFd,
}

/// What is left to do about the network namespace.
#[derive(Debug)]
pub(crate) enum Network {
    /// What the plan says.
    Planned,
    /// One was made before, loopback up, and is to be entered; the clone makes none.
    Made(OwnedFd),
    /// Nothing.
    IsUp,
}

/// What the wait for `start` is entered with.
struct Prepared {
    /// What becomes stdin, stdout and stderr.
    stdio: [OwnedFd; 3],
    /// The system call filter.
    filter: Option<Program>,
    /// Whether a reaper stays as pid 1 and the program is its child.
    reaper: bool,
    /// What the start is waited for on.
    fifo: Option<OwnedFd>,
}

/// Runs the child's half. Never returns: it ends as the program, or with an exit code nobody but
/// the parent sees.
pub(crate) fn main(context: &Context<'_>, explain_pipe: Option<&OwnedFd>) -> ! {
    let mut keep = vec![context.channel.as_raw_fd()];
    if let Network::Made(namespace) = &context.network {
        keep.push(namespace.as_raw_fd());
    }
    keep.extend(explain_pipe.map(AsRawFd::as_raw_fd));
    match detach_from_parent(&keep) {
        Ok(()) => live(context, &mut explainer(explain_pipe)),
        Err(failure) => end(&context.channel, &Report::SetUp(failure)),
    }
}

/// Becomes the container. Never returns.
fn live(context: &Context<'_>, explain: &mut Explainer) -> ! {
    let prepared = prepare(context, explain);
    become_program(&context.channel, &context.plan.process, prepared, explain)
}

/// Waits for the start and executes the program, or tells why there will be none. Never returns.
fn become_program(
    channel: &OwnedFd,
    process: &ProcessPlan,
    prepared: Result<Prepared, Failure>,
    explain: &mut Explainer,
) -> ! {
    let mut prepared = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => end(channel, &Report::SetUp(failure)),
    };
    if waiting::for_start(channel, prepared.fifo.take()).is_err() {
        // The parent is gone: nobody could learn of anything any more.
        exit_now(125);
    }
    let Err(failure) = execute::run(process, &prepared, explain);
    end(channel, &Report::Start(failure))
}

/// Says why there will be no program.
fn end(channel: &OwnedFd, failure: &Report) -> ! {
    report::send(channel.as_fd(), failure, None);
    exit_now(failure.exit_code())
}

fn explainer(pipe: Option<&OwnedFd>) -> Explainer {
    let Some(pipe) = pipe.and_then(|pipe| rustix::io::fcntl_dupfd_cloexec(pipe, 3).ok()) else {
        return Explainer::off();
    };
    Explainer::to("init", move |step| {
        if let Ok(mut line) = serde_json::to_vec(&step) {
            line.push(b'\n');
            // Steps are for reading along; losing one is no reason to stop a container.
            let _ = rustix::io::write(&pipe, &line);
        }
    })
}

/// Everything up to the wait for `start`.
fn prepare(context: &Context<'_>, explain: &mut Explainer) -> Result<Prepared, Failure> {
    let plan = context.plan;
    settings::join_namespaces(context)?;
    settings::oom_score(&plan.process)?;
    // Sources are opened while the host's tree is still the root and its mounts still belong to
    // their peer groups: a shared or slave bind inherits that.
    let sources = binds::open_sources(&plan.mounts)?;
    explain
        .step(
            "private mounts",
            "nothing mounted from here on shows on the host, nor the other way round",
            || "mount --make-rprivate /".to_owned(),
            root::make_private,
        )
        .step(|| "make the mounts private".to_owned())?;
    let root = root::mount(context, explain)?;
    let cgroup = cgroups::join(context, explain)?;
    let mounted = mounts::all(
        &plan.mounts,
        &root,
        cgroup.as_ref(),
        sources,
        context.bundle,
        explain,
    )?;
    devices::make(&root, &plan.devices, explain)?;
    let console = match plan.process.terminal {
        true => Some(terminal::open(&root, mounted.devpts, &plan.process)?),
        false => None,
    };
    settings::network(context, explain)?;
    settings::sysctls(&plan.sysctls, mounted.proc.as_ref(), explain)?;
    masks::apply(&root, plan, explain)?;
    settings::working_directory(&root, &plan.process)?;
    root::seal(&root, plan.readonly, explain)?;
    root::pivot(&root, explain)?;
    settings::names(plan, explain)?;
    let is_filtered = plan.is_filtered;
    limit(
        &context.channel,
        &plan.process,
        is_filtered,
        console,
        explain,
    )
}

/// The last of what the program is to have, and the word that all is set up.
fn limit(
    channel: &OwnedFd,
    process: &ProcessPlan,
    is_filtered: bool,
    console: Option<terminal::Console>,
    explain: &mut Explainer,
) -> Result<Prepared, Failure> {
    settings::keyring(explain);
    settings::limits(process, explain)?;
    privileges::drop_bounding(&process.capabilities, explain)?;
    let filter = match is_filtered {
        true => Some(waiting::for_filter(channel)),
        false => None,
    };
    let outfit = waiting::for_outfit(channel);
    let (stdio, master) = stdio(outfit.streams, console)?;
    report::send(channel.as_fd(), &Report::Ready, master.as_ref());
    Ok(Prepared {
        stdio,
        filter,
        reaper: outfit.reaper,
        fifo: outfit.fifo,
    })
}

/// Takes nothing along from the parent but the plan: not its name, its readability by a tracer,
/// its umask, its signals, its session, nor its descriptors but these.
fn detach_from_parent(keep: &[RawFd]) -> Result<(), Failure> {
    // Cosmetic: what ps shows until the exec.
    let _ = rustix::thread::set_name(c"lamina:init");
    // Nobody may attach to or read this process, which has the host's privileges and, for a
    // while, descriptors of the host (CVE-2016-9962). An exec makes it ordinary again.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step(|| "make the init process unreadable".to_owned())?;
    umask(Mode::empty());
    signals::set_blocked(&SignalSet::empty()).step(|| "unblock signals".to_owned())?;
    signals::reset_dispositions();
    setsid().step(|| "make a session".to_owned())?;
    fds::close_all_but(3, keep).step(|| "close the parent's descriptors".to_owned())
}

/// Returns what becomes stdin, stdout and stderr, and the terminal's other end for the parent.
fn stdio(
    streams: Option<[OwnedFd; 3]>,
    console: Option<terminal::Console>,
) -> Result<([OwnedFd; 3], Option<OwnedFd>), Failure> {
    let copy = |fd: &OwnedFd| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).step(|| "duplicate a standard stream".to_owned())
    };
    match (console, streams) {
        (Some(console), _) => {
            let slave = &console.slave;
            Ok((
                [copy(slave)?, copy(slave)?, copy(slave)?],
                Some(console.master),
            ))
        }
        // A parent without standard streams of its own passes descriptors that arrive as 0 to 2.
        (None, Some([stdin, stdout, stderr])) => {
            Ok(([copy(&stdin)?, copy(&stdout)?, copy(&stderr)?], None))
        }
        (None, None) => Err(Failure::invalid(
            "no standard streams and no terminal".to_owned(),
        )),
    }
}
