#![allow(unsafe_code)]

use crate::Cpu;

/// What executes a micro-operation. Its last act is to call the next one's handler: on x86-64
/// with optimisation a jump, so that a chain of any length uses no stack.
#[cfg(target_arch = "x86_64")]
pub(crate) type Handler = unsafe extern "sysv64-unwind" fn(*mut Cpu, *const Op);
/// What executes a micro-operation.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Handler = unsafe extern "C-unwind" fn(*mut Cpu, *const Op);

/// A micro-operation, 32 bytes. What the fields mean is up to the handler.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Op {
    pub handler: Handler,
    /// The operation to go on with when it is not the next one. In a block's head: the block.
    pub link: *const Op,
    pub imm: u32,
    pub disp: u32,
    /// Byte offsets into `CpuState::gpr`; offset 32 is the constant zero.
    pub dst: u8,
    pub src: u8,
    pub base: u8,
    pub index: u8,
    /// log2 of the factor of `index`.
    pub scale: u8,
    /// Which instruction of the block this belongs to.
    pub insn: u8,
    /// Place among the block's operations: its head stands that many before.
    pub pos: u16,
}

const _: () = assert!(size_of::<Op>() == 32);

/// A known target of indirect branches.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Target {
    /// Mode (high half) and EIP.
    pub key: u64,
    /// The head of the block that begins there.
    pub head: *const Op,
}
