#![allow(unsafe_code)]

use super::{Block, Insn};
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
    /// The operation to go on with when it is not the next one: the first of a block, or an exit.
    /// In a block's head: the block.
    pub link: *const Op,
    pub imm: u32,
    pub disp: u32,
    /// Byte offsets into `CpuState::gpr`; see [`Op::ZERO`].
    pub dst: u8,
    pub src: u8,
    pub base: u8,
    pub index: u8,
    /// log2 of the factor of `index`.
    pub scale: u8,
    /// Which instruction of the block this belongs to.
    pub insn: u8,
    /// Place among the block's operations.
    pub pos: u8,
    /// In the first operation after the head: how many instructions the block has. Else 0.
    pub count: u8,
}

const _: () = assert!(size_of::<Op>() == 32);

impl Op {
    /// The register that is always 0, as a byte offset: stands for "no base" and "no index".
    pub(crate) const ZERO: u8 = 32;

    /// An operation with nothing but a handler.
    pub(crate) const fn new(handler: Handler) -> Self {
        Op {
            handler,
            link: std::ptr::null(),
            imm: 0,
            disp: 0,
            dst: 0,
            src: Self::ZERO,
            base: Self::ZERO,
            index: Self::ZERO,
            scale: 0,
            insn: 0,
            pos: 0,
            count: 0,
        }
    }

    /// The block of an operation.
    ///
    /// # Safety
    /// `op` is an operation of a live block.
    pub(crate) unsafe fn block(op: *const Op) -> *mut Block {
        // SAFETY: `pos` counts from the block's first operation, and the head's `link` is the
        // block, both set when it was made.
        unsafe {
            let head = op.sub((*op).pos.into()).add(Block::HEAD);
            (*head).link.cast::<Block>().cast_mut()
        }
    }

    /// What the projection for fetches must say of the block's page for a jump from another page to
    /// be right, or 0.
    ///
    /// # Safety
    /// `first` is the first operation after the head of a live block.
    pub(crate) unsafe fn expected_page(first: *const Op) -> u64 {
        // SAFETY: by the caller; see [`Block::HEAD`].
        unsafe { (*first.sub(1 + Block::HEAD)).link.addr() as u64 }
    }

    /// How many instructions of its block are left with that of this operation.
    ///
    /// # Safety
    /// As [`Op::block`].
    pub(crate) unsafe fn ahead(op: *const Op) -> u32 {
        // SAFETY: by the caller; as in `block`.
        unsafe { (*op.sub((*op).pos.into()).add(Block::HEAD)).imm - u32::from((*op).insn) }
    }

    /// The guest instruction of an operation.
    ///
    /// # Safety
    /// As [`Op::block`]; and the block stays alive while the instruction is in use.
    pub(crate) unsafe fn insn<'a>(op: *const Op) -> &'a Insn {
        // SAFETY: by the caller; nothing writes to a block's instructions.
        unsafe {
            let block = &*Op::block(op);
            &block.insns[usize::from((*op).insn)]
        }
    }
}
