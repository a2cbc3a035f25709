//! Instructions, put backwards, so that every jump knows where it goes.

use std::collections::BTreeMap;

use lamina_sys::seccomp::Instruction;
use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator};

use super::compile::{Answer, Run};

pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;

const LD_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RET: u16 = 0x06;

pub(super) const OFFSET_NR: u32 = 0;
pub(super) const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Builds a program backwards. A place is counted from the end, so that it stays valid as
/// instructions are put before it.
#[derive(Default)]
pub(super) struct Builder {
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
    pub(super) fn ret(&mut self, value: u32) -> usize {
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
    pub(super) fn load(&mut self, offset: u32, next: usize) -> usize {
        self.reach(next);
        self.push(LD_ABS, 0, 0, offset)
    }

    /// Puts a conditional with both targets.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: usize, no: usize) -> usize {
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
    pub(super) fn search(&mut self, runs: &[Run<'_>]) -> usize {
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

    pub(super) fn finish(mut self) -> Vec<Instruction> {
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
