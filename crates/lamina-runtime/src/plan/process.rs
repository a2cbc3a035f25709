//! The process: what is executed, as whom, where, and within which limits.

use std::ffi::CString;
use std::path::PathBuf;

use lamina_sys::exec::CStrings;
use oci_spec::runtime::{PosixRlimitType, Process};
use rustix::process::{Resource, Rlimit};

use super::capabilities::{self, CapabilityPlan};
use super::{PlanError, absolute};

/// The search path of a process whose environment has none, as Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program and its circumstances.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// What was asked for, for messages.
    pub(crate) name: String,
    /// The paths to try in turn, the first that executes wins.
    pub(crate) candidates: Vec<CString>,
    pub(crate) args: CStrings,
    pub(crate) env: CStrings,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) terminal: bool,
    /// Rows and columns of the terminal.
    pub(crate) size: Option<(u16, u16)>,
    pub(crate) no_new_privileges: bool,
    pub(crate) capabilities: CapabilityPlan,
    pub(crate) rlimits: Vec<LimitPlan>,
    pub(crate) oom_score_adj: Option<i32>,
}

/// A resource limit that was asked for. What was not asked for is inherited: raising a hard limit
/// needs a privilege the engine may not have.
#[derive(Debug, Clone)]
pub(crate) struct LimitPlan {
    pub(crate) name: String,
    pub(crate) resource: Resource,
    pub(crate) limit: Rlimit,
}

/// Plans the process of a spec.
pub(crate) fn plan(process: &Process) -> Result<ProcessPlan, PlanError> {
    let args = process.args().as_deref().unwrap_or_default();
    let name = args
        .first()
        .ok_or(PlanError::Missing("program to execute"))?;
    let env = process.env().as_deref().unwrap_or_default();
    let user = process.user();
    for (what, id) in [("uid", user.uid()), ("gid", user.gid())] {
        // setresuid(2) takes -1 as "unchanged", which would leave root (CVE-2024-40635).
        if id == u32::MAX {
            return Err(PlanError::invalid(
                what,
                id.to_string(),
                "is the one number no user can have",
            ));
        }
    }
    let strings = |what, strings: &[String]| {
        CStrings::new(strings.iter().map(String::as_str))
            .map_err(|_| PlanError::invalid(what, strings.join(" "), "has a zero byte in it"))
    };
    let size = process.console_size().map(|size| {
        let clamp = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
        (clamp(size.height()), clamp(size.width()))
    });
    Ok(ProcessPlan {
        candidates: candidates(name, env)?,
        args: strings("arguments", args)?,
        env: strings("environment", env)?,
        name: name.clone(),
        cwd: absolute("working directory", process.cwd())?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022) & 0o777,
        terminal: process.terminal().unwrap_or(false),
        size,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities: capabilities::plan(process.capabilities().as_ref()),
        rlimits: rlimits(process)?,
        oom_score_adj: oom_score(process.oom_score_adj())?,
    })
}

fn oom_score(adjustment: Option<i32>) -> Result<Option<i32>, PlanError> {
    match adjustment {
        Some(value) if !(-1000..=1000).contains(&value) => Err(PlanError::invalid(
            "oom score adjustment",
            value.to_string(),
            "is not between -1000 and 1000",
        )),
        other => Ok(other),
    }
}

/// Returns where the program may be: itself where it names a path, else below each directory of
/// the container's PATH.
fn candidates(name: &str, env: &[String]) -> Result<Vec<CString>, PlanError> {
    let whole = |path: String| {
        CString::new(path).map_err(|_| PlanError::invalid("program", name, "has a zero byte in it"))
    };
    if name.is_empty() || name.contains('/') {
        return Ok(vec![whole(name.to_owned())?]);
    }
    // The last one wins, as in a shell.
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let directories = path.unwrap_or(DEFAULT_PATH).split(':');
    directories
        // An empty entry is the working directory, which nobody means (Go's LookPath refuses too).
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| whole(format!("{}/{name}", directory.trim_end_matches('/'))))
        .collect()
}

fn rlimits(process: &Process) -> Result<Vec<LimitPlan>, PlanError> {
    let limits = process.rlimits().as_deref().unwrap_or_default();
    limits
        .iter()
        .map(|limit| {
            let name = limit.typ().to_string();
            if limit.soft() > limit.hard() {
                return Err(PlanError::invalid("limit", name, "is above its hard limit"));
            }
            let value = |value: u64| (value != u64::MAX).then_some(value);
            Ok(LimitPlan {
                resource: resource(limit.typ()),
                limit: Rlimit {
                    current: value(limit.soft()),
                    maximum: value(limit.hard()),
                },
                name,
            })
        })
        .collect()
}

fn resource(kind: PosixRlimitType) -> Resource {
    use PosixRlimitType as Kind;
    match kind {
        Kind::RlimitCpu => Resource::Cpu,
        Kind::RlimitFsize => Resource::Fsize,
        Kind::RlimitData => Resource::Data,
        Kind::RlimitStack => Resource::Stack,
        Kind::RlimitCore => Resource::Core,
        Kind::RlimitRss => Resource::Rss,
        Kind::RlimitNproc => Resource::Nproc,
        Kind::RlimitNofile => Resource::Nofile,
        Kind::RlimitMemlock => Resource::Memlock,
        Kind::RlimitAs => Resource::As,
        Kind::RlimitLocks => Resource::Locks,
        Kind::RlimitSigpending => Resource::Sigpending,
        Kind::RlimitMsgqueue => Resource::Msgqueue,
        Kind::RlimitNice => Resource::Nice,
        Kind::RlimitRtprio => Resource::Rtprio,
        Kind::RlimitRttime => Resource::Rttime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_searched_where_a_shell_would() {
        let found = |name: &str, env: &[&str]| -> Vec<String> {
            let env: Vec<String> = env.iter().map(|entry| (*entry).to_owned()).collect();
            let candidates = candidates(name, &env).unwrap();
            candidates
                .into_iter()
                .map(|path| path.into_string().unwrap())
                .collect()
        };
        assert_eq!(found("/bin/sh", &["PATH=/x"]), ["/bin/sh"]);
        assert_eq!(found("./sh", &[]), ["./sh"]);
        assert_eq!(
            found("sh", &["PATH=/x", "PATH=/a/::b:/c"]),
            ["/a/sh", "/c/sh"]
        );
        assert_eq!(found("sh", &[]).len(), 6);
        assert_eq!(found("sh", &["PATH="]), [""; 0]);
    }
}
