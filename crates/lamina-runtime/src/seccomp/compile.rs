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
    LinuxSeccompOperator,
};

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

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
/// Numbers from here on are x32 calls on x86-64.
const X32_BIT: u32 = 0x4000_0000;

const LD_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RET: u16 = 0x06;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// What one system call answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    /// Rules with argument conditions, in order; all conditions of one must hold.
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    /// What happens when none of them matches.
    otherwise: u32,
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
        let body = builder.calls(&answers, *arch, default);
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
struct Run<'a> {
    first: u32,
    answer: Result<u32, &'a Answer>,
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

/// Builds a program backwards. A place is counted from the end, so that it stays valid as
/// instructions are put before it.
#[derive(Default)]
struct Builder {
    /// The instructions, last first.
    reversed: Vec<Instruction>,
    /// Where each return value was put last.
    returns: BTreeMap<u32, usize>,
}

impl Builder {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len()
    }

    /// Returns a place that returns `value`, near enough for a conditional jump.
    fn ret(&mut self, value: u32) -> usize {
        match self.returns.get(&value) {
            Some(place) if self.reversed.len() - place < 200 => *place,
            _ => {
                let place = self.push(RET, 0, 0, value);
                self.returns.insert(value, place);
                place
            }
        }
    }

    /// Makes the next instruction put fall through to `place`.
    fn reach(&mut self, place: usize) {
        let distance = self.reversed.len() - place;
        if distance > 0 {
            let distance = u32::try_from(distance).unwrap_or(u32::MAX);
            self.push(JA, 0, 0, distance);
        }
    }

    /// Puts a load of the word at `offset` that goes on at `next`.
    fn load(&mut self, offset: u32, next: usize) -> usize {
        self.reach(next);
        self.push(LD_ABS, 0, 0, offset)
    }

    /// Puts a conditional with both targets.
    fn branch(&mut self, code: u16, k: u32, yes: usize, no: usize) -> usize {
        let yes = self.near(yes, no);
        let no = self.near(no, yes);
        // The second trampoline may have pushed the first target one further away.
        let yes_distance = self.reversed.len() - yes;
        let no_distance = self.reversed.len() - no;
        let jt = u8::try_from(yes_distance).unwrap_or(u8::MAX);
        let jf = u8::try_from(no_distance).unwrap_or(u8::MAX);
        self.push(code, jt, jf, k)
    }

    /// Returns `place`, or a jump to it where it is too far for a conditional.
    fn near(&mut self, place: usize, _other: usize) -> usize {
        let distance = self.reversed.len() - place;
        if distance < 250 {
            return place;
        }
        let distance = u32::try_from(distance).unwrap_or(u32::MAX);
        self.push(JA, 0, 0, distance)
    }

    /// Puts the decision over all call numbers; the number is in the accumulator.
    fn calls(&mut self, answers: &BTreeMap<u32, Answer>, arch: Arch, default: u32) -> usize {
        let runs = runs(answers, arch, default);
        self.search(&runs)
    }

    fn search(&mut self, runs: &[Run<'_>]) -> usize {
        match runs {
            [] => self.ret(RET_KILL_PROCESS),
            [run] => match run.answer {
                Ok(value) => self.ret(value),
                Err(answer) => self.arguments(answer),
            },
            _ => {
                let (low, high) = runs.split_at(runs.len() / 2);
                let split = high.first().map_or(0, |run| run.first);
                let no = self.search(low);
                let yes = self.search(high);
                self.branch(JGE, split, yes, no)
            }
        }
    }

    /// Puts the argument checks of one call.
    fn arguments(&mut self, answer: &Answer) -> usize {
        let mut next = self.ret(answer.otherwise);
        for (args, value) in answer.conditional.iter().rev() {
            let mut matched = self.ret(*value);
            for arg in args.iter().rev() {
                matched = self.condition(arg, matched, next);
            }
            next = matched;
        }
        next
    }

    /// Puts one comparison of a 64-bit argument, in two halves of 32 bits.
    fn condition(&mut self, arg: &LinuxSeccompArg, yes: usize, no: usize) -> usize {
        use LinuxSeccompOperator as Op;
        let value = arg.value();
        match arg.op() {
            Op::ScmpCmpEq => self.equal(arg.index(), u64::MAX, value, yes, no),
            Op::ScmpCmpNe => self.equal(arg.index(), u64::MAX, value, no, yes),
            // libseccomp's order: the mask is the first value, what is compared the second.
            Op::ScmpCmpMaskedEq => {
                let wanted = arg.value_two().unwrap_or(0);
                self.equal(arg.index(), value, wanted, yes, no)
            }
            Op::ScmpCmpGt => self.greater(arg.index(), JGT, value, yes, no),
            Op::ScmpCmpGe => self.greater(arg.index(), JGE, value, yes, no),
            Op::ScmpCmpLe => self.greater(arg.index(), JGT, value, no, yes),
            Op::ScmpCmpLt => self.greater(arg.index(), JGE, value, no, yes),
        }
    }

    fn equal(&mut self, index: usize, mask: u64, value: u64, yes: usize, no: usize) -> usize {
        let (mask_high, mask_low) = halves(mask);
        let (high, low) = halves(value);
        let low_place = self.half_equal(offset_low(index), mask_low, low, yes, no);
        self.half_equal(offset_high(index), mask_high, high, low_place, no)
    }

    fn half_equal(&mut self, offset: u32, mask: u32, value: u32, yes: usize, no: usize) -> usize {
        let compare = self.branch(JEQ, value, yes, no);
        if mask == u32::MAX {
            self.load(offset, compare)
        } else {
            let masked = self.push(AND_K, 0, 0, mask);
            self.load(offset, masked)
        }
    }

    /// Puts `argument > value` (JGT) or `argument >= value` (JGE).
    fn greater(&mut self, index: usize, low_code: u16, value: u64, yes: usize, no: usize) -> usize {
        let (high, low) = halves(value);
        let low_compare = self.branch(low_code, low, yes, no);
        let low_place = self.load(offset_low(index), low_compare);
        // The high half is still in the accumulator for the second question.
        let high_equal = self.branch(JEQ, high, low_place, no);
        let high_compare = self.branch(JGT, high, yes, high_equal);
        self.load(offset_high(index), high_compare)
    }

    fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}

fn halves(value: u64) -> (u32, u32) {
    let high = u32::try_from(value >> 32).unwrap_or(0);
    let low = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
    (high, low)
}

/// Arguments are 64-bit words in the byte order of the machine.
fn offset_low(index: usize) -> u32 {
    let base = OFFSET_ARGS + 8 * u32::try_from(index).unwrap_or(0);
    base + if cfg!(target_endian = "big") { 4 } else { 0 }
}

fn offset_high(index: usize) -> u32 {
    let base = OFFSET_ARGS + 8 * u32::try_from(index).unwrap_or(0);
    base + if cfg!(target_endian = "big") { 0 } else { 4 }
}
