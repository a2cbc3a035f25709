//! Loading a seccomp filter (seccomp(2)).

use rustix::io::Errno;

use crate::checked;

/// One instruction of classic BPF, laid out as struct sock_filter.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// Instructions skipped where a condition holds.
    pub jt: u8,
    /// Instructions skipped where it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// struct sock_fprog.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Installs `program` for the calling thread, with `SECCOMP_FILTER_FLAG_*` bits.
///
/// Needs CAP_SYS_ADMIN or no_new_privs. The kernel verifies the program; `EINVAL` where it is
/// wrong or longer than 4096 instructions.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    let raw = Program {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr(),
    };
    // SAFETY: `raw` describes a live slice of instructions laid out as sock_filter; the kernel
    // copies it during the call. TSYNC and the listener are the caller's flags, neither touches
    // our memory.
    checked(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const raw,
        )
    })?;
    Ok(())
}
