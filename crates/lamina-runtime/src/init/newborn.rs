//! The first life of an init that has no bundle yet ([`crate::newborn`]).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lamina_fs::Dir;
use lamina_sys::process::exit_now;
use rustix::io::fcntl_dupfd_cloexec;

use super::report::{Failure, Report};
use super::{Context, Network, detach_from_parent, end, explainer, live, settings, waiting};
use crate::bundle::Bundle;
use crate::newborn::is_for;
use crate::plan::Plan;

/// Gets ready for a bundle, waits for it, and becomes its container. Never returns.
pub(crate) fn main(bundle: &Path, channel: OwnedFd, explain_pipe: Option<BorrowedFd<'_>>) -> ! {
    let explain_pipe = explain_pipe.and_then(|pipe| fcntl_dupfd_cloexec(pipe, 3).ok());
    let mut keep = vec![channel.as_raw_fd()];
    keep.extend(explain_pipe.iter().map(AsRawFd::as_raw_fd));
    let detached = detach_from_parent(&keep);
    let mut explain = explainer(explain_pipe.as_ref());
    if let Err(failure) = detached.and_then(|()| settings::loopback(&mut explain)) {
        end(&channel, &Report::SetUp(failure));
    }
    waiting::for_bundle(&channel);
    let plan = match read(bundle) {
        Ok(plan) => plan,
        Err(failure) => end(&channel, &Report::SetUp(failure)),
    };
    if !is_for(&plan.namespaces) {
        // The parent has read the same, and clones another.
        exit_now(125);
    }
    let context = Context {
        plan: &plan,
        network: Network::IsUp,
        bundle,
        channel,
    };
    live(&context, &mut explain)
}

/// Reads the bundle. The parent reads it too, and tells better what is wrong with it.
fn read(bundle: &Path) -> Result<Plan, Failure> {
    let dir = Dir::open(bundle).map_err(|error| Failure::invalid(error.to_string()))?;
    let bundle = Bundle::read(&dir).map_err(|error| Failure::invalid(error.to_string()))?;
    let plan = bundle
        .rootfs()
        .and_then(|rootfs| Plan::new(&bundle.spec, rootfs));
    let mut plan = plan.map_err(|error| Failure::invalid(error.to_string()))?;
    plan.is_filtered |= bundle.filter.is_some();
    Ok(plan)
}
