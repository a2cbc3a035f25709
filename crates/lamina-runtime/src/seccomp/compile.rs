//! The compiler: an OCI filter becomes a classic BPF program.
//!
//! The program reads the architecture, rejects x32 numbers, finds the system call by a binary
//! search over ranges of numbers with the same answer, and checks arguments where a rule has any.
//! Every jump is made to fit the eight bits a conditional has by building the tree from its
//! leaves upwards and using an unconditional jump where a target is far.
//!
//! Meaning, as libseccomp and runc give it: a call with no rule gets the default action; among
//! the rules of a call the first that matches decides, those with arguments before those without;
//! a rule that names the same argument twice means "either" (runc splits it so); a call the
//! table does not know is skipped; a call newer than every call in the filter answers ENOSYS,
//! so that libraries fall back instead of failing with EPERM.

use std::collections::BTreeMap;

use lamina_sys::seccomp::Instruction;
use lamina_types::ErrorKind;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
};

use super::builder::{Builder, JEQ, OFFSET_ARCH, OFFSET_NR, RET_KILL_PROCESS};
use super::names;

/// A compiled filter, ready to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The instructions, at most 4096.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits for seccomp(2).
    pub flags: u32,
}

/// Why a filter cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The kernel takes no longer program.
    #[error("the seccomp filter needs {0} instructions, more than the kernel's 4096")]
    TooLong(usize),
    /// An argument number is not one of the six.
    #[error("the seccomp filter checks argument {0}; a system call has arguments 0 to 5")]
    Argument(usize),
    /// An action this runtime does not do.
    #[error("the seccomp action {0} is not supported")]
    Action(LinuxSeccompAction),
}

impl CompileError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong(_) => ErrorKind::ResourceExhausted,
            Self::Argument(_) => ErrorKind::InvalidArgument,
            Self::Action(_) => ErrorKind::Unsupported,
        }
    }
}

const RET_ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
/// Numbers from here on are x32 calls on x86-64.
const X32_BIT: u32 = 0x4000_0000;

/// What one system call answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Rules with argument conditions, in order; all conditions of one must hold.
    pub(super) conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    /// What happens when none of them matches.
    pub(super) otherwise: u32,
}

/// Compiles `filter` for the architectures it names (the native ones where it names none).
pub fn compile(filter: &LinuxSeccomp) -> Result<Program, CompileError> {
    let default = action(filter.default_action(), filter.default_errno_ret())?;
    let arches = architectures(filter);
    let mut builder = Builder::default();
    // Built backwards: the last architecture first, each falling to the next on a mismatch.
    let mut next = builder.ret(RET_KILL_PROCESS);
    for arch in arches.iter().rev() {
        let Some(audit) = names::audit_arch(*arch) else {
            continue;
        };
        let answers = answers(filter, *arch, default)?;
        let body = builder.search(&runs(&answers, *arch, default));
        let load = builder.load(OFFSET_NR, body);
        next = builder.branch(JEQ, audit, load, next);
    }
    builder.load(OFFSET_ARCH, next);
    let instructions = builder.finish();
    if instructions.len() > 4096 {
        return Err(CompileError::TooLong(instructions.len()));
    }
    Ok(Program {
        instructions,
        flags: flags(filter),
    })
}

fn flags(filter: &LinuxSeccomp) -> u32 {
    let flags = filter.flags().iter().flatten();
    flags.fold(0, |bits, flag| {
        bits | match flag {
            // One thread loads the filter, so there is nobody to synchronise with.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
        }
    })
}

fn architectures(filter: &LinuxSeccomp) -> Vec<Arch> {
    let mut arches = Vec::new();
    let native = super::profile::native_architectures().remove(0);
    let named = filter
        .architectures()
        .as_ref()
        .map_or(&[][..], Vec::as_slice);
    for arch in [native].iter().chain(named) {
        let arch = match arch {
            Arch::ScmpArchNative => native,
            // x32 numbers are rejected whatever the profile says: no distribution runs x32
            // programs, and its table is a second way into the same kernel.
            Arch::ScmpArchX32 => continue,
            other => *other,
        };
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    arches
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, CompileError> {
    match action {
        LinuxSeccompAction::ScmpActNotify => Err(CompileError::Action(action)),
        LinuxSeccompAction::ScmpActErrno => Ok(RET_ERRNO | (errno.unwrap_or(1) & 0xffff)),
        other => Ok(other.as_u32(errno)),
    }
}

/// Resolves the rules of `filter` to numbers of `arch`.
fn answers(
    filter: &LinuxSeccomp,
    arch: Arch,
    default: u32,
) -> Result<BTreeMap<u32, Answer>, CompileError> {
    let mut answers: BTreeMap<u32, Answer> = BTreeMap::new();
    let mut unconditional = BTreeMap::new();
    for rule in filter.syscalls().iter().flatten() {
        let result = action(
            rule.action(),
            rule.errno_ret().or(filter.default_errno_ret()),
        )?;
        let alternatives = alternatives(rule.args().as_ref().map_or(&[], Vec::as_slice))?;
        for name in rule.names() {
            let Some(number) = names::number(arch, name) else {
                continue;
            };
            let answer = answers.entry(number).or_insert_with(|| Answer {
                conditional: Vec::new(),
                otherwise: default,
            });
            if alternatives.is_empty() {
                // The first unconditional rule wins.
                unconditional.entry(number).or_insert(result);
            } else {
                let with_result = alternatives.iter().map(|args| (args.clone(), result));
                answer.conditional.extend(with_result);
            }
        }
    }
    for (number, result) in unconditional {
        if let Some(answer) = answers.get_mut(&number) {
            answer.otherwise = result;
            // A last condition that says the same as no condition decides nothing.
            while answer
                .conditional
                .last()
                .is_some_and(|(_, last)| *last == result)
            {
                answer.conditional.pop();
            }
        }
    }
    Ok(answers)
}

/// Splits a rule's conditions into alternatives: one, unless an argument is named twice.
fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<LinuxSeccompArg>>, CompileError> {
    let mut seen = [0_usize; 6];
    for arg in args {
        *seen
            .get_mut(arg.index())
            .ok_or(CompileError::Argument(arg.index()))? += 1;
    }
    if args.is_empty() {
        Ok(Vec::new())
    } else if seen.iter().any(|count| *count > 1) {
        Ok(args.iter().map(|arg| vec![*arg]).collect())
    } else {
        Ok(vec![args.to_vec()])
    }
}

/// A run of numbers with the same answer, from `first` to the next run's first.
pub(super) struct Run<'a> {
    pub(super) first: u32,
    pub(super) answer: Result<u32, &'a Answer>,
}

fn runs(answers: &BTreeMap<u32, Answer>, arch: Arch, default: u32) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut expected = 0;
    for (number, answer) in answers {
        if *number > expected || runs.is_empty() && *number > 0 {
            push_run(&mut runs, expected, Ok(default));
        }
        let answer = if answer.conditional.is_empty() {
            Ok(answer.otherwise)
        } else {
            Err(answer)
        };
        push_run(&mut runs, *number, answer);
        expected = number + 1;
    }
    // Calls newer than the filter's author knew: "not there" rather than "not allowed". Only
    // where the default is an error; a kill or an allow by default is meant for all.
    let newer = if default & 0xffff_0000 == RET_ERRNO && !answers.is_empty() {
        RET_ERRNO | ENOSYS
    } else {
        default
    };
    push_run(&mut runs, expected, Ok(newer));
    if arch == Arch::ScmpArchX86_64 {
        push_run(&mut runs, X32_BIT, Ok(RET_ERRNO | ENOSYS));
    }
    runs
}

fn push_run<'a>(runs: &mut Vec<Run<'a>>, first: u32, answer: Result<u32, &'a Answer>) {
    match (runs.last(), &answer) {
        (
            Some(Run {
                answer: Ok(last), ..
            }),
            Ok(this),
        ) if last == this => {}
        _ => runs.push(Run { first, answer }),
    }
}
