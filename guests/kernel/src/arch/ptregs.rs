//! The registers that a trap saved, in Linux's layout.

use x86::{Eflags, Selector};

/// `struct pt_regs` of i386: what entry code leaves on the kernel stack.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs, reason = "register names")]
pub struct PtRegs {
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub eax: u32,
    pub ds: u32,
    pub es: u32,
    pub fs: u32,
    pub gs: u32,
    /// The system call's number; `!0` if this was no system call.
    pub orig_eax: u32,
    pub eip: u32,
    pub cs: u32,
    pub eflags: u32,
    /// Pushed by the CPU only when the trap came from user mode.
    pub esp: u32,
    /// See `esp`.
    pub ss: u32,
}

const _: () = assert!(size_of::<PtRegs>() == 68);

impl PtRegs {
    /// The trap came from ring 3.
    pub fn user_mode(&self) -> bool {
        Selector(self.cs as u16).rpl() == 3 || self.eflags & Eflags::VM.bits() != 0
    }

    /// The stack pointer at the trap: of ring 3 as pushed, else where the frame ends.
    pub fn stack_pointer(&self) -> u32 {
        if self.user_mode() { self.esp } else { (&raw const self.esp) as u32 }
    }

    /// Registers for the first entry of a new program.
    pub fn start_thread(&mut self, eip: u32, esp: u32) {
        *self = PtRegs {
            ds: super::gdt::USER_DS.into(),
            es: super::gdt::USER_DS.into(),
            ss: super::gdt::USER_DS.into(),
            cs: super::gdt::USER_CS.into(),
            orig_eax: !0,
            eflags: Eflags::IF.bits() | Eflags::RESERVED_1.bits(),
            eip,
            esp,
            ..PtRegs::default()
        };
    }
}
