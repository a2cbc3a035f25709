//! Profiles: which rules hold for these capabilities on this machine.

use std::env::consts;

use lamina_types::ErrorKind;
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

use super::table;
use crate::plan::capabilities;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is not a profile.
    #[error("read the seccomp profile")]
    Parse(#[from] serde_json::Error),
    /// A kernel version in it is not two numbers.
    #[error("the seccomp profile's minKernel {0:?} is not a version such as 4.8")]
    Version(String),
}

impl ProfileError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Docker's form of a profile: an OCI filter whose rules have conditions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerProfile {
    default_action: LinuxSeccompAction,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<DockerArch>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    syscalls: Option<Vec<DockerRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerArch {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerRule {
    /// The old form: one name per rule.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Conditions>,
    #[serde(default)]
    excludes: Option<Conditions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditions {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// Reads a profile in Docker's JSON form (a plain OCI filter is one too) and resolves its
/// conditions for a process with `caps` in its bounding set, on this machine and kernel.
pub fn from_docker_json(text: &str, caps: &Capabilities) -> Result<LinuxSeccomp, ProfileError> {
    let profile: DockerProfile = serde_json::from_str(text)?;
    let mut rules = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        if !rule_holds(&rule, caps)? {
            continue;
        }
        let mut names = rule.names.unwrap_or_default();
        names.extend(rule.name);
        let mut resolved = LinuxSyscall::default();
        resolved
            .set_names(names)
            .set_action(rule.action)
            .set_errno_ret(rule.errno_ret)
            .set_args(rule.args);
        rules.push(resolved);
    }
    let native = native_architectures().remove(0);
    let mapped = profile.arch_map.map(|map| {
        map.into_iter()
            .filter(|entry| entry.architecture == native)
            .flat_map(|entry| {
                let mut all = vec![entry.architecture];
                all.extend(entry.sub_architectures.unwrap_or_default());
                all
            })
            .collect()
    });
    let mut filter = LinuxSeccomp::default();
    filter
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(mapped.or(profile.architectures))
        .set_flags(profile.flags)
        .set_syscalls(Some(rules));
    Ok(filter)
}

fn rule_holds(rule: &DockerRule, caps: &Capabilities) -> Result<bool, ProfileError> {
    if let Some(includes) = &rule.includes {
        let capable = includes.caps.as_ref().is_none_or(|names| {
            // As moby: every one of the capabilities named must be there.
            names.iter().all(|name| has(caps, name))
        });
        let arch = includes
            .arches
            .as_ref()
            .is_none_or(|names| names_this_arch(names));
        if !capable || !arch || !kernel_at_least(includes.min_kernel.as_deref())? {
            return Ok(false);
        }
    }
    if let Some(excludes) = &rule.excludes {
        let capable = excludes
            .caps
            .as_ref()
            .is_some_and(|names| names.iter().any(|name| has(caps, name)));
        let arch = excludes
            .arches
            .as_ref()
            .is_some_and(|names| names_this_arch(names));
        let kernel =
            excludes.min_kernel.is_some() && kernel_at_least(excludes.min_kernel.as_deref())?;
        return Ok(!capable && !arch && !kernel);
    }
    Ok(true)
}

fn has(caps: &Capabilities, name: &str) -> bool {
    capabilities::parse(name).is_some_and(|capability| caps.contains(&capability))
}

fn names_this_arch(names: &[String]) -> bool {
    let go_name = match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    names.iter().any(|name| name == go_name)
}

fn kernel_at_least(version: Option<&str>) -> Result<bool, ProfileError> {
    let Some(version) = version else {
        return Ok(true);
    };
    let wanted = two_numbers(version).ok_or_else(|| ProfileError::Version(version.to_owned()))?;
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    Ok(two_numbers(&release).is_none_or(|running| running >= wanted))
}

/// Reads the leading `major.minor` of a kernel release.
fn two_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Returns the architectures a filter covers on this machine, the native one first.
pub(crate) fn native_architectures() -> Vec<Arch> {
    match consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        "s390x" => vec![Arch::ScmpArchS390x, Arch::ScmpArchS390],
        "powerpc64" => vec![Arch::ScmpArchPpc64le],
        "loongarch64" => vec![Arch::ScmpArchLoongarch64],
        _ => vec![Arch::ScmpArchNative],
    }
}

/// Returns the default filter for `caps`.
pub(crate) fn default_profile(caps: &Capabilities) -> LinuxSeccomp {
    let admin = caps.contains(&Capability::SysAdmin);
    let mut names = words(table::ALWAYS);
    names.extend(words(table::SINCE_4_8));
    for (capability, with) in table::WITH_CAPABILITY {
        if caps.contains(&capability) {
            names.extend(words(with));
        }
    }
    for (arches, of) in table::OF_ARCH {
        if arches.contains(&consts::ARCH) {
            names.extend(words(of));
        }
    }
    let mut rules = vec![rule(names, None)];
    rules.push(socket(
        LinuxSeccompOperator::ScmpCmpLt,
        table::SOCKET_FAMILIES_BELOW,
    ));
    let families = table::SOCKET_FAMILIES.iter();
    rules.extend(families.map(|family| socket(LinuxSeccompOperator::ScmpCmpEq, *family)));
    rules.extend(table::PERSONALITIES.iter().map(|value| {
        let arg = argument(0, LinuxSeccompOperator::ScmpCmpEq, *value, None);
        rule(words("personality"), Some(arg))
    }));
    if !admin {
        // s390 has the stack before the flags.
        let index = usize::from(consts::ARCH == "s390x");
        let masked = LinuxSeccompOperator::ScmpCmpMaskedEq;
        let arg = argument(index, masked, table::CLONE_NAMESPACES, Some(0));
        rules.push(rule(words("clone"), Some(arg)));
        // ENOSYS, so that glibc falls back to clone, whose flags a filter can see.
        let mut clone3 = rule(words("clone3"), None);
        clone3
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(38));
        rules.push(clone3);
    }
    let mut filter = LinuxSeccomp::default();
    filter
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(1))
        .set_architectures(Some(native_architectures()))
        .set_syscalls(Some(rules));
    filter
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn rule(names: Vec<String>, arg: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names)
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_errno_ret(None)
        .set_args(arg.map(|arg| vec![arg]));
    rule
}

fn socket(op: LinuxSeccompOperator, family: u64) -> LinuxSyscall {
    rule(words("socket"), Some(argument(0, op, family, None)))
}

fn argument(
    index: usize,
    op: LinuxSeccompOperator,
    value: u64,
    value_two: Option<u64>,
) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value);
    let builder = match value_two {
        Some(value) => builder.value_two(value),
        None => builder,
    };
    // The builder fails only for fields without a default; there is none.
    builder.build().unwrap_or_default()
}
