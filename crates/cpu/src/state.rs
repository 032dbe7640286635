use serde::{Deserialize, Serialize};
use x86::{Cr0, Cr4, Efer, Eflags, SegReg, Selector};

use crate::{
    activity::Activity,
    fpu::Fpu,
    mmu::{Paging, Tlb},
    seg::SegmentRegister,
    system::Mtrrs,
};

/// A general-purpose register, numbered as instructions encode it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Gpr {
    Eax = 0,
    Ecx = 1,
    Edx = 2,
    Ebx = 3,
    Esp = 4,
    Ebp = 5,
    Esi = 6,
    Edi = 7,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base.
    pub base: u32,
    /// Last valid offset.
    pub limit: u16,
}

/// The processor that CPUID describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum CpuModel {
    /// Up to SSE.
    Pentium3,
    /// Up to what is implemented of a Core 2.
    #[default]
    Core2,
    /// All that is implemented.
    Max,
}

/// The model-specific registers that hold a value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub struct Msrs {
    pub sysenter_cs: u32,
    pub sysenter_esp: u32,
    pub sysenter_eip: u32,
    pub efer: u32,
    pub apic_base: u64,
    pub pat: u64,
    pub mtrr: Mtrrs,
    pub misc_enable: u64,
    pub tsc_aux: u32,
    /// What RDTSC adds to the virtual time, modulo 2^64.
    pub tsc_offset: u64,
}

/// The architectural state of one CPU: plain data, what a snapshot holds.
///
/// At rest (outside [`crate::Engine::run`]) every field is true. While code runs, the status
/// flags in `eflags` may lag behind: use [`crate::Cpu::eflags`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct CpuState {
    /// EAX … EDI by [`Gpr`] number; slot 8 is always 0, the rest is scratch of micro-operations, 0 at rest.
    pub gpr: [u32; 16],
    /// Instruction pointer, an offset in CS.
    pub eip: u32,
    /// EFLAGS; private to the flags' accessors while code runs.
    #[serde(with = "eflags_bits")]
    pub eflags: Eflags,
    /// By [`SegReg`] number.
    pub seg: [SegmentRegister; 6],
    /// LDTR.
    pub ldtr: SegmentRegister,
    /// TR.
    pub tr: SegmentRegister,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// Raw bits; see [`CpuState::cr0`].
    pub cr0: u32,
    /// Page-fault linear address.
    pub cr2: u32,
    /// Page-directory base.
    pub cr3: u32,
    /// Raw bits; see [`CpuState::cr4`].
    pub cr4: u32,
    /// Current privilege level: 0 in real mode, 3 in virtual-8086 mode.
    pub cpl: u8,
    /// Running, halted, waiting, shut down.
    pub activity: Activity,
    /// Interrupts are held off for the next instruction (after STI).
    pub sti_shadow: bool,
    /// Interrupts and debug exceptions are held off for the next instruction (after a load of SS).
    pub mov_ss_shadow: bool,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// Bits of DR6 whose #DB, a trap, is due before the next instruction.
    pub pending_debug: u32,
    /// DR0–DR3, DR6, DR7 (indices 4 and 5 stay 0).
    pub dr: [u32; 8],
    /// x87, MMX state.
    pub fpu: Fpu,
    /// XMM0–XMM7.
    pub xmm: [u128; 8],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Model-specific registers.
    pub msr: Msrs,
    /// PAE page-directory-pointer registers.
    pub pdpte: [u64; 4],
    /// The translations that this CPU holds.
    pub tlb: Tlb,
    /// Instructions retired by this CPU, as design counts them.
    pub retired: u64,
    /// What CPUID says.
    pub model: CpuModel,
    /// The local APIC's ID after RESET, which CPUID tells too.
    pub apic_id: u8,
    /// How many CPUs there are, 1 or more: CPUID says that one package has them all.
    pub cpu_count: u8,
    /// From which RDRAND draws its next number.
    pub random: u64,
}

impl CpuState {
    /// The state of a bootstrap processor after RESET: F000:FFF0 (SDM Vol. 3A, "Processor State After Reset").
    pub fn reset(model: CpuModel) -> Self {
        let mut seg = [SegmentRegister::real(0); 6];
        seg[SegReg::Cs as usize] = SegmentRegister { base: 0xffff_0000, limit: 0xffff, rights: 0x93, selector: 0xf000 };
        let system = |rights| SegmentRegister { base: 0, limit: 0xffff, rights, selector: 0 };
        let mut gpr = [0; 16];
        gpr[Gpr::Edx as usize] = crate::system::signature(model);
        CpuState {
            gpr,
            eip: 0xfff0,
            eflags: Eflags::RESERVED_1,
            seg,
            ldtr: system(0x82),
            tr: system(0x8b),
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            cr0: 0x6000_0010,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            cpl: 0,
            activity: Activity::Running,
            sti_shadow: false,
            mov_ss_shadow: false,
            nmi_blocked: false,
            nmi_pending: false,
            pending_debug: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            fpu: Fpu::default(),
            xmm: [0; 8],
            mxcsr: 0x1f80,
            msr: Msrs { apic_base: 0xfee0_0900, pat: 0x0007_0406_0007_0406, misc_enable: 1, ..Msrs::default() },
            pdpte: [0; 4],
            tlb: Tlb::default(),
            retired: 0,
            model,
            apic_id: 0,
            cpu_count: 1,
            random: 0,
        }
    }

    /// The state in which a Multiboot loader enters a kernel: flat 4 GiB segments, protected
    /// mode, no paging, EAX the magic, EBX the information structure (Multiboot 0.6.96, "Machine state").
    pub fn multiboot(model: CpuModel, entry: u32, info: u32) -> Self {
        let mut state = Self::reset(model);
        let data = SegmentRegister { base: 0, limit: !0, rights: 0xc093, selector: 0x10 };
        state.seg = [data; 6];
        state.seg[SegReg::Cs as usize] = SegmentRegister { base: 0, limit: !0, rights: 0xc09b, selector: 0x08 };
        state.cr0 = 0x0000_0011;
        state.msr.mtrr = Mtrrs::as_firmware_leaves_them();
        state.gpr = [0; 16];
        state.gpr[Gpr::Eax as usize] = 0x2bad_b002;
        state.gpr[Gpr::Ebx as usize] = info;
        state.eip = entry;
        state
    }

    /// CR0.
    pub const fn cr0(&self) -> Cr0 {
        Cr0::from_bits_retain(self.cr0)
    }

    /// CR4.
    pub const fn cr4(&self) -> Cr4 {
        Cr4::from_bits_retain(self.cr4)
    }

    /// IA32_EFER.
    pub const fn efer(&self) -> Efer {
        Efer::from_bits_retain(self.msr.efer)
    }

    /// What decides how linear addresses are translated.
    pub const fn paging(&self) -> Paging {
        let (cr0, cr3, cr4, efer) = (self.cr0(), self.cr3, self.cr4(), self.efer());
        Paging { cr0, cr3, cr4, efer, pdpte: self.pdpte, a20_mask: !0 }
    }

    /// A segment register.
    pub const fn seg(&self, reg: SegReg) -> &SegmentRegister {
        &self.seg[reg as usize]
    }

    /// The selector in a segment register.
    pub const fn selector(&self, reg: SegReg) -> Selector {
        Selector(self.seg[reg as usize].selector)
    }

    /// A 32-bit general-purpose register.
    pub const fn gpr(&self, reg: Gpr) -> u32 {
        self.gpr[reg as usize]
    }

    /// Sets a 32-bit general-purpose register.
    pub const fn set_gpr(&mut self, reg: Gpr, value: u32) {
        self.gpr[reg as usize] = value;
    }

    /// Protected mode, with or without virtual-8086.
    pub const fn protected(&self) -> bool {
        self.cr0().contains(Cr0::PE)
    }

    /// Virtual-8086 mode.
    pub const fn v86(&self) -> bool {
        self.eflags.contains(Eflags::VM)
    }

    /// Linear address of the next instruction.
    pub const fn pc(&self) -> u32 {
        self.seg[SegReg::Cs as usize].base.wrapping_add(self.eip)
    }
}

mod eflags_bits {
    use serde::{Deserialize, Deserializer, Serializer};
    use x86::Eflags;

    pub fn serialize<S: Serializer>(flags: &Eflags, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(flags.bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Eflags, D::Error> {
        u32::deserialize(d).map(Eflags::from_bits_retain)
    }
}
