//! Names of system calls to numbers, per architecture.

use std::str::FromStr;

use oci_spec::runtime::Arch;
use syscalls::{aarch64, arm, loongarch64, powerpc64, riscv64, s390x, x86, x86_64};

/// `AUDIT_ARCH_*` of an architecture, as seccomp_data carries it; `None` for one whose calls this
/// program has no table of.
pub(crate) fn audit_arch(arch: Arch) -> Option<u32> {
    match arch {
        Arch::ScmpArchX86_64 | Arch::ScmpArchX32 => Some(0xc000_003e),
        Arch::ScmpArchX86 => Some(0x4000_0003),
        Arch::ScmpArchAarch64 => Some(0xc000_00b7),
        Arch::ScmpArchArm => Some(0x4000_0028),
        Arch::ScmpArchRiscv64 => Some(0xc000_00f3),
        Arch::ScmpArchS390x => Some(0x8000_0016),
        Arch::ScmpArchPpc64le => Some(0xc000_0015),
        Arch::ScmpArchLoongarch64 => Some(0xc000_0102),
        _ => None,
    }
}

/// Returns the number of the call `name` on `arch`; `None` where that architecture has no such
/// call, or the table does not know it.
pub(crate) fn number(arch: Arch, name: &str) -> Option<u32> {
    let id = match arch {
        Arch::ScmpArchX86_64 => x86_64::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchX86 => x86::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchAarch64 => aarch64::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchArm => arm::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchRiscv64 => riscv64::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchS390x => s390x::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchPpc64le => powerpc64::Sysno::from_str(name).ok()?.id(),
        Arch::ScmpArchLoongarch64 => loongarch64::Sysno::from_str(name).ok()?.id(),
        _ => return None,
    };
    u32::try_from(id).ok()
}
