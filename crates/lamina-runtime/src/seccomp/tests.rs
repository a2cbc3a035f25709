//! The compiler against an interpreter of classic BPF and a naive reading of the rules.

use lamina_sys::seccomp::Instruction;
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator as Op, LinuxSyscall,
};
use proptest::prelude::*;

use super::compile::compile;
use super::{names, profile};
use crate::spec_default;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = ERRNO | 1;
const ENOSYS: u32 = ERRNO | 38;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Runs a program over one struct seccomp_data, as the kernel would (bpf(4), seccomp(2)).
fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::from(nr.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0_u64.to_ne_bytes());
    args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
    let (mut at, mut acc) = (0_usize, 0_u32);
    loop {
        let op = program[at];
        at += 1;
        let skip = match op.code {
            0x20 => {
                let from = op.k as usize;
                acc = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                0
            }
            0x54 => {
                acc &= op.k;
                0
            }
            0x05 => op.k as usize,
            0x15 => usize::from(if acc == op.k { op.jt } else { op.jf }),
            0x25 => usize::from(if acc > op.k { op.jt } else { op.jf }),
            0x35 => usize::from(if acc >= op.k { op.jt } else { op.jf }),
            0x06 => return op.k,
            other => panic!("unknown operation {other:#x}"),
        };
        at += skip;
    }
}

fn arg(index: usize, op: Op, value: u64, two: u64) -> LinuxSeccompArg {
    LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value)
        .value_two(two)
        .build()
        .unwrap()
}

fn holds(arg: &LinuxSeccompArg, args: [u64; 6]) -> bool {
    let (got, value) = (args[arg.index()], arg.value());
    match arg.op() {
        Op::ScmpCmpNe => got != value,
        Op::ScmpCmpLt => got < value,
        Op::ScmpCmpLe => got <= value,
        Op::ScmpCmpEq => got == value,
        Op::ScmpCmpGe => got >= value,
        Op::ScmpCmpGt => got > value,
        Op::ScmpCmpMaskedEq => got & value == arg.value_two().unwrap_or(0),
    }
}

/// What a filter of allowing rules means, read the slow way.
fn naive(filter: &LinuxSeccomp, arch: Arch, nr: u32, args: [u64; 6]) -> u32 {
    let rules = filter.syscalls().iter().flatten();
    let mine: Vec<&LinuxSyscall> = rules
        .filter(|rule| {
            rule.names()
                .iter()
                .any(|n| names::number(arch, n) == Some(nr))
        })
        .collect();
    let conditional = mine.iter().find(|rule| {
        let conditions = rule.args().as_ref().map_or(&[][..], Vec::as_slice);
        let twice = (0..6).any(|i| conditions.iter().filter(|a| a.index() == i).count() > 1);
        !conditions.is_empty()
            && if twice {
                conditions.iter().any(|a| holds(a, args))
            } else {
                conditions.iter().all(|a| holds(a, args))
            }
    });
    let plain = mine
        .iter()
        .find(|rule| rule.args().as_ref().is_none_or(Vec::is_empty));
    conditional.or(plain).map_or(EPERM, |rule| {
        rule.action().as_u32(rule.errno_ret().or(Some(1)))
    })
}

fn docker() -> LinuxSeccomp {
    spec_default::seccomp(&spec_default::CAPABILITIES.into_iter().collect())
}

fn nr(name: &str) -> u32 {
    names::number(Arch::ScmpArchX86_64, name).unwrap()
}

#[test]
fn the_default_denies_and_allows_what_dockers_does() {
    let program = compile(&docker()).unwrap().instructions;
    let ask = |name: &str, first: u64| run(&program, X86_64, nr(name), [first, 0, 0, 0, 0, 0]);
    for name in [
        "mount",
        "umount2",
        "fsopen",
        "open_tree",
        "move_mount",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "perf_event_open",
        "open_by_handle_at",
        "kexec_load",
        "init_module",
        "pidfd_getfd",
        "sethostname",
        "settimeofday",
        "reboot",
        "swapon",
    ] {
        assert_eq!(ask(name, 0), EPERM, "{name}");
    }
    for name in [
        "read",
        "write",
        "execve",
        "openat2",
        "landlock_create_ruleset",
        "memfd_secret",
        "statmount",
        "listmount",
        "ptrace",
        "chroot",
        "arch_prctl",
        "exit_group",
    ] {
        assert_eq!(ask(name, 0), ALLOW, "{name}");
    }
    assert_eq!(ask("clone3", 0), ENOSYS);
    assert_eq!(ask("clone", 17), ALLOW);
    assert_eq!(ask("clone", 0x1000_0000 | 17), EPERM, "CLONE_NEWUSER");
    assert_eq!(ask("personality", 0xffff_ffff), ALLOW);
    assert_eq!(ask("personality", 0x0040_0000), EPERM, "READ_IMPLIES_EXEC");
}

#[test]
fn socket_families_are_decided_one_by_one() {
    let program = compile(&docker()).unwrap().instructions;
    let denied: Vec<u64> = (0..64)
        .filter(|family| run(&program, X86_64, nr("socket"), [*family, 0, 0, 0, 0, 0]) != ALLOW)
        .collect();
    let mut expected = vec![12, 19, 20, 23, 25, 34, 37, 38, 40];
    expected.extend(46..64);
    assert_eq!(denied, expected);
}

#[test]
fn foreign_architectures_x32_and_newer_calls() {
    let program = compile(&docker()).unwrap().instructions;
    let ask = |arch, nr| run(&program, arch, nr, [0; 6]);
    assert_eq!(ask(0xc000_00b7, 0), KILL_PROCESS, "aarch64 on x86-64");
    assert_eq!(ask(X86_64, 0x4000_0000), ENOSYS, "x32 read");
    assert_eq!(ask(X86_64, 0x4000_0000 | 520), ENOSYS, "x32 execve");
    assert_eq!(ask(X86_64, 1000), ENOSYS, "newer than the table");
    assert_eq!(ask(X86, 11), ALLOW, "32-bit execve");
    assert_eq!(ask(X86, 21), EPERM, "32-bit mount");
}

#[test]
fn capabilities_open_what_they_guard() {
    let mut caps: Capabilities = spec_default::CAPABILITIES.into_iter().collect();
    caps.insert(Capability::SysAdmin);
    let program = compile(&spec_default::seccomp(&caps)).unwrap().instructions;
    for name in ["mount", "unshare", "setns", "clone3", "bpf"] {
        assert_eq!(
            run(&program, X86_64, nr(name), [0x7e02_0000; 6]),
            ALLOW,
            "{name}"
        );
    }
}

#[test]
fn dockers_json_form_is_resolved() {
    let text = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "openat2", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": ""},
            {"name": "write", "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount2"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
            {"names": ["swapon"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}
        ]}"#;
    let filter = profile::from_docker_json(text, &Capabilities::new()).unwrap();
    let program = compile(&filter).unwrap().instructions;
    for (name, expected) in [
        ("read", ALLOW),
        ("write", ALLOW),
        ("mount", EPERM),
        ("umount2", ALLOW),
        ("ptrace", ALLOW),
        ("bpf", EPERM),
        ("chroot", ERRNO | 7),
        ("swapon", EPERM),
    ] {
        assert_eq!(run(&program, X86_64, nr(name), [0; 6]), expected, "{name}");
    }
    assert!(profile::from_docker_json("{", &Capabilities::new()).is_err());
}

#[test]
fn the_kernel_would_accept_the_default() {
    let program = compile(&docker()).unwrap().instructions;
    assert!(program.len() <= 4096, "{}", program.len());
    for (at, op) in program.iter().enumerate() {
        let reach = match op.code {
            0x05 => op.k as usize,
            0x15 | 0x25 | 0x35 => usize::from(op.jt.max(op.jf)),
            _ => 0,
        };
        assert!(
            at + 1 + reach < program.len() || op.code == 0x06,
            "jump out at {at}"
        );
    }
    eprintln!("the default filter has {} instructions", program.len());
}

#[test]
fn compiling_the_default_is_fast_enough_for_every_start() {
    let filter = docker();
    let start = std::time::Instant::now();
    for _ in 0..100 {
        std::hint::black_box(compile(&filter).unwrap());
    }
    eprintln!("one compilation takes {:?}", start.elapsed() / 100);
}

fn operators() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::ScmpCmpNe),
        Just(Op::ScmpCmpLt),
        Just(Op::ScmpCmpLe),
        Just(Op::ScmpCmpEq),
        Just(Op::ScmpCmpGe),
        Just(Op::ScmpCmpGt),
        Just(Op::ScmpCmpMaskedEq),
    ]
}

/// Values around the borders where the two halves of a comparison meet.
fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        (0_u64..4).prop_map(|low| (1 << 32) | low),
        (0_u64..4).prop_map(|low| u64::from(u32::MAX) - low),
        (0_u64..4).prop_map(|low| u64::MAX - low),
    ]
}

fn rules() -> impl Strategy<Value = Vec<LinuxSyscall>> {
    let args = prop::collection::vec((0_usize..3, operators(), values(), values()), 0..3);
    let names = prop::collection::vec(0_u32..460, 1..40);
    let rule = (
        names,
        args,
        prop_oneof![Just(None), (1_u32..200).prop_map(Some)],
    );
    prop::collection::vec(rule, 0..12).prop_map(|rules| {
        let made = rules.into_iter().map(|(numbers, args, errno)| {
            let mut rule = LinuxSyscall::default();
            let names = numbers.iter().filter_map(|n| {
                syscalls::x86_64::Sysno::new(*n as usize).map(|s| s.name().to_owned())
            });
            rule.set_names(names.collect());
            rule.set_args(Some(
                args.into_iter()
                    .map(|(i, o, v, w)| arg(i, o, v, w))
                    .collect(),
            ));
            rule.set_errno_ret(errno);
            rule.set_action(match errno {
                Some(_) => LinuxSeccompAction::ScmpActErrno,
                None => LinuxSeccompAction::ScmpActAllow,
            });
            rule
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn compiled_programs_mean_what_the_rules_say(
        rules in rules(),
        calls in prop::collection::vec((0_u32..460, values(), values(), values()), 64),
    ) {
        let mut filter = LinuxSeccomp::default();
        filter
            .set_default_action(LinuxSeccompAction::ScmpActErrno)
            .set_default_errno_ret(Some(1))
            .set_architectures(Some(vec![Arch::ScmpArchX86_64]))
            .set_syscalls(Some(rules.clone()));
        let program = compile(&filter).unwrap().instructions;
        let newest = rules
            .iter()
            .flat_map(LinuxSyscall::names)
            .filter_map(|name| names::number(Arch::ScmpArchX86_64, name))
            .max();
        let mentioned = rules.iter().flat_map(LinuxSyscall::names).map(|name| nr(name));
        let calls = calls.into_iter().chain(mentioned.map(|n| (n, 1, 2, 3)));
        for (number, a, b, c) in calls {
            if newest.is_none_or(|newest| number > newest) {
                continue;
            }
            let args = [a, b, c, 0, 0, 0];
            prop_assert_eq!(
                run(&program, X86_64, number, args),
                naive(&filter, Arch::ScmpArchX86_64, number, args),
                "call {} {:?}", number, args
            );
        }
    }
}
