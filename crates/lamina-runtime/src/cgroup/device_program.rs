//! Device rules as eBPF, for cgroup v2, which has no device files.
//!
//! The kernel calls the program with struct bpf_cgroup_dev_ctx: the kind of device in the low and
//! the kind of access in the high half of the first word, then major and minor number. The
//! last rule that matches decides, so the rules are tried from the last to the first; a device
//! that no rule names is denied.

use lamina_sys::bpf::Instruction;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const ACCESS_ALL: i32 = 7;

const LOAD_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb7;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const JUMP_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Registers: 0 is the result, 1 the context and then scratch, 2 the kind, 3 the access, 4 the
/// major and 5 the minor number.
const fn op(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        immediate,
    }
}

/// Compiles rules in their order.
pub(super) fn compile(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    let mut program = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        op(LOAD_WORD, 3, 1, 0, 0),
        op(SHIFT_RIGHT, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    for one in rules.iter().rev() {
        let rule = rule(one);
        let decides_all = rule.len() == 2;
        program.extend(rule);
        if decides_all {
            // The verifier refuses what cannot be reached.
            return program;
        }
    }
    program.extend([op(MOVE_IMMEDIATE, 0, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    program
}

/// Compiles one rule: conditions that jump past it, then its answer.
fn rule(rule: &LinuxDeviceCgroup) -> Vec<Instruction> {
    let mut conditions: Vec<Instruction> = Vec::new();
    let any_kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some(KIND_BLOCK),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(KIND_CHARACTER),
        _ => None,
    };
    conditions.extend(any_kind.map(|kind| op(JUMP_NOT_EQUAL, 2, 0, 0, kind)));
    let access = access(rule.access().as_deref().unwrap_or("rwm"));
    if access != ACCESS_ALL {
        conditions.push(op(MOVE_REGISTER, 1, 3, 0, 0));
        conditions.push(op(AND_IMMEDIATE, 1, 0, 0, access));
        conditions.push(if rule.allow() {
            // All that is wanted must be among what is allowed.
            op(JUMP_NOT_EQUAL_REGISTER, 1, 3, 0, 0)
        } else {
            // Anything wanted that is denied is enough.
            op(JUMP_EQUAL, 1, 0, 0, 0)
        });
    }
    for (register, number) in [(4, rule.major()), (5, rule.minor())] {
        let number = number.filter(|number| *number >= 0);
        let number = number.and_then(|number| i32::try_from(number).ok());
        conditions.extend(number.map(|number| op(JUMP_NOT_EQUAL, register, 0, 0, number)));
    }
    let len = conditions.len();
    for (at, condition) in conditions.iter_mut().enumerate() {
        let jump = matches!(
            condition.code,
            JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER | JUMP_EQUAL
        );
        if jump {
            condition.offset = i16::try_from(len - at + 1).unwrap_or(i16::MAX);
        }
    }
    conditions.push(op(MOVE_IMMEDIATE, 0, 0, 0, i32::from(rule.allow())));
    conditions.push(op(EXIT, 0, 0, 0, 0));
    conditions
}

fn access(letters: &str) -> i32 {
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => ACCESS_READ,
            'w' => ACCESS_WRITE,
            'm' => ACCESS_MKNOD,
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_default;

    /// Interprets the operations above, which is all a device program has.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [kind | access << 16, major, minor];
        let mut registers = [0_i32; 6];
        let mut at = 0_usize;
        loop {
            let now = program[at];
            at += 1;
            let (to, from) = ((now.registers & 15) as usize, (now.registers >> 4) as usize);
            let jump = match now.code {
                LOAD_WORD => {
                    registers[to] = context[usize::try_from(now.offset).unwrap() / 4];
                    false
                }
                AND_IMMEDIATE => {
                    registers[to] &= now.immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= now.immediate;
                    false
                }
                MOVE_REGISTER => {
                    registers[to] = registers[from];
                    false
                }
                MOVE_IMMEDIATE => {
                    registers[to] = now.immediate;
                    false
                }
                JUMP_NOT_EQUAL => registers[to] != now.immediate,
                JUMP_NOT_EQUAL_REGISTER => registers[to] != registers[from],
                JUMP_EQUAL => registers[to] == now.immediate,
                EXIT => return registers[0] != 0,
                other => panic!("{other:#x}"),
            };
            if jump {
                at += usize::try_from(now.offset).unwrap();
            }
        }
    }

    #[test]
    fn dockers_rules_allow_what_docker_allows() {
        let program = compile(&spec_default::device_rules());
        for (kind, access, major, minor, allowed) in [
            (KIND_CHARACTER, ACCESS_READ | ACCESS_WRITE, 1, 3, true),
            (KIND_CHARACTER, ACCESS_READ, 136, 42, true),
            (KIND_CHARACTER, ACCESS_MKNOD, 1, 1, true),
            (KIND_CHARACTER, ACCESS_READ, 1, 1, false),
            (KIND_BLOCK, ACCESS_MKNOD, 8, 0, true),
            (KIND_BLOCK, ACCESS_READ, 8, 0, false),
            (KIND_BLOCK, ACCESS_READ | ACCESS_MKNOD, 8, 0, false),
            (KIND_CHARACTER, ACCESS_WRITE, 10, 229, false),
        ] {
            let got = run(&program, kind, access, major, minor);
            assert_eq!(got, allowed, "{kind} {access} {major}:{minor}");
        }
    }

    #[test]
    fn an_empty_list_denies() {
        assert!(!run(&compile(&[]), KIND_BLOCK, ACCESS_READ, 8, 0));
    }

    #[test]
    fn a_later_denial_takes_back_one_access() {
        let allow = spec_default::device_rule(true, Some(LinuxDeviceType::B), Some(8), None, "rwm");
        let deny =
            spec_default::device_rule(false, Some(LinuxDeviceType::B), Some(8), Some(1), "w");
        let program = compile(&[allow, deny]);
        assert!(run(&program, KIND_BLOCK, ACCESS_WRITE, 8, 0));
        assert!(run(&program, KIND_BLOCK, ACCESS_READ, 8, 1));
        assert!(!run(&program, KIND_BLOCK, ACCESS_READ | ACCESS_WRITE, 8, 1));
    }

    #[test]
    fn privileged_kernels_take_the_program() {
        match lamina_sys::bpf::load_device_program(&compile(&spec_default::device_rules())) {
            Ok(_) => {}
            Err(errno) if errno == rustix::io::Errno::INVAL => panic!("the verifier refused it"),
            Err(errno) => eprintln!("SKIP: bpf(2): {errno}"),
        }
    }
}
