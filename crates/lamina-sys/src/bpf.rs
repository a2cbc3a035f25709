//! bpf(2): the device programs of cgroup v2.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::checked;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// One instruction of extended BPF, laid out as struct bpf_insn.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// Destination register in the low, source in the high four bits.
    pub registers: u8,
    /// A jump or memory offset.
    pub offset: i16,
    /// An immediate operand.
    pub immediate: i32,
}

/// The leading fields of union bpf_attr for BPF_PROG_LOAD.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// union bpf_attr for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    // SAFETY: `attr` is a prefix of union bpf_attr (the kernel zero-fills the rest), and the
    // instructions and licence it points to outlive the call; the kernel verifies the program.
    let fd = checked(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attr,
            size_of::<LoadAttr>(),
        )
    })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: a new descriptor that nothing else owns; bpf descriptors are close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to the cgroup2 directory `cgroup`, beside any that ancestors have.
///
/// The program stays attached when its descriptor is closed, until the cgroup is removed.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is a prefix of union bpf_attr with two live descriptors.
    checked(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attr,
            size_of::<AttachAttr>(),
        )
    })?;
    Ok(())
}
