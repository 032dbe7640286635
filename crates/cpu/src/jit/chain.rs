//! How a chain of handlers is entered when some of them are host code made here.
//!
//! Such code uses registers that a function must leave as they were: they are saved once, before the
//! chain. Two of them hold what every memory access asks, [`super::emit`] says which.

use std::{arch::naked_asm, mem::offset_of};

use crate::{Cpu, block::Op, cpu::RunContext};

/// Calls the handler of `op`.
///
/// # Safety
/// As for handlers.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64-unwind" fn call(cpu: *mut Cpu, op: *const Op) {
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        "push rax", // for alignment alone
        ".cfi_adjust_cfa_offset 8",
        "mov r12, [rdi + {read}]",
        "mov r13, [rdi + {write}]",
        "call [rsi + {handler}]",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r15",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r14",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r13",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbp",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
        read = const offset_of!(Cpu, run) + offset_of!(RunContext, read),
        write = const offset_of!(Cpu, run) + offset_of!(RunContext, write),
        handler = const offset_of!(Op, handler),
    )
}
