//! Who the program runs as, and what it may do: bounding set, user, capabilities, filter.

use lamina_types::explain::Explainer;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::report::{Failure, Step};
use crate::plan::capabilities::{CapabilityPlan, names};
use crate::plan::process::ProcessPlan;
use crate::seccomp::Program;

/// Takes away for good what no program in the container may ever have.
pub(super) fn drop_bounding(plan: &CapabilityPlan, explain: &mut Explainer) -> Result<(), Failure> {
    explain.step(
        "capability bounding set",
        "root in the container is not root of the machine",
        || format!("capsh --drop={}", names(!plan.bounding)),
        || {
            for number in (0..64).filter(|number| plan.bounding & (1 << number) == 0) {
                let capability = CapabilitySet::from_bits_retain(1 << number);
                match remove_capability_from_bounding_set(capability) {
                    Ok(()) => {}
                    // Past the kernel's last capability.
                    Err(Errno::INVAL) => break,
                    Err(errno) => {
                        return Err(Failure::new(&format!("drop capability {number}"), errno));
                    }
                }
            }
            Ok(())
        },
    )
}

/// Loads the filter where that needs the privileges that are about to go: without
/// no_new_privs the kernel asks for CAP_SYS_ADMIN.
pub(super) fn filter_early(
    process: &ProcessPlan,
    filter: Option<&Program>,
    explain: &mut Explainer,
) -> Result<(), Failure> {
    if process.no_new_privileges {
        return Ok(());
    }
    load(filter, explain)
}

/// Sets no_new_privs and loads the filter as late as can be, so that it need not allow what is
/// done before.
pub(super) fn filter_late(
    process: &ProcessPlan,
    filter: Option<&Program>,
    explain: &mut Explainer,
) -> Result<(), Failure> {
    if !process.no_new_privileges {
        return Ok(());
    }
    explain
        .step(
            "no new privileges",
            "set-user-ID programs gain nothing",
            || "setpriv --no-new-privs".to_owned(),
            || set_no_new_privs(true),
        )
        .step(|| "set no_new_privs".to_owned())?;
    load(filter, explain)
}

fn load(filter: Option<&Program>, explain: &mut Explainer) -> Result<(), Failure> {
    let Some(program) = filter else {
        return Ok(());
    };
    explain
        .step(
            "system call filter",
            "calls that ordinary programs do not make are refused by the kernel",
            || format!("seccomp: {} BPF instructions", program.instructions.len()),
            || lamina_sys::seccomp::load(&program.instructions, program.flags),
        )
        .step(|| "load the system call filter".to_owned())
}

/// Becomes the user: supplementary groups, then group, then user; in this order, because each
/// needs privileges that the last one gives up.
pub(super) fn become_user(process: &ProcessPlan, explain: &mut Explainer) -> Result<(), Failure> {
    let command = || {
        let groups: Vec<String> = process.groups.iter().map(u32::to_string).collect();
        let groups = match groups.is_empty() {
            true => "--clear-groups".to_owned(),
            false => format!("--groups {}", groups.join(",")),
        };
        format!(
            "setpriv --reuid {} --regid {} {groups}",
            process.uid, process.gid
        )
    };
    explain.step(
        "user",
        "the program's user, group and supplementary groups",
        command,
        || {
            let groups: Vec<Gid> = process
                .groups
                .iter()
                .map(|gid| Gid::from_raw(*gid))
                .collect();
            set_thread_groups(&groups).step(|| "set the supplementary groups".to_owned())?;
            let gid = Gid::from_raw(process.gid);
            set_thread_res_gid(gid, gid, gid).step(|| format!("become group {}", process.gid))?;
            if process.uid != 0 && process.capabilities.ambient != 0 {
                set_keep_capabilities(true).step(|| "keep capabilities".to_owned())?;
            }
            let uid = Uid::from_raw(process.uid);
            set_thread_res_uid(uid, uid, uid).step(|| format!("become user {}", process.uid))
        },
    )
}

/// Gives the program its capabilities. For a user other than root they are the ambient ones, none
/// as a rule: an exec would drop the others anyway (CVE-2016-8867).
pub(super) fn set(process: &ProcessPlan, explain: &mut Explainer) -> Result<(), Failure> {
    let plan = process.capabilities;
    let most = if process.uid == 0 {
        u64::MAX
    } else {
        plan.ambient
    };
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(plan.effective & most),
        permitted: CapabilitySet::from_bits_retain(plan.permitted & most),
        inheritable: CapabilitySet::from_bits_retain(plan.inheritable & most),
    };
    explain.step(
        "capabilities",
        "what the program itself starts with; nothing is inheritable",
        || {
            format!(
                "setpriv --inh-caps=-all # permitted {}",
                names(plan.permitted & most)
            )
        },
        || {
            set_capabilities(None, sets)
                .step(|| format!("give the capabilities {}", names(plan.permitted & most)))?;
            // An ambient set of the engine's own environment must not come along. A kernel
            // without ambient capabilities (before 4.3) has none to clear.
            let _ = clear_ambient_capability_set();
            for number in (0..64).filter(|number| plan.ambient & (1 << number) != 0) {
                let capability = CapabilitySet::from_bits_retain(1 << number);
                configure_capability_in_ambient_set(capability, true)
                    .step(|| format!("make capability {number} ambient"))?;
            }
            Ok(())
        },
    )
}
