//! Where everything lies: the monitor's page, the arena in which cases play, the records of the cases.
//!
//! ```text
//! 0000_1000  the monitor's page: variables, the state to enter with, the state found, its stack
//! 0001_0000  the arena, 64 KiB: tables, code, data and stacks of the case that runs
//! 0002_0000  64 KiB of INT3, so that what lies behind the arena is known; INT3 wherever else is RAM below 640 KiB
//! 0003_0000  the arena as every case finds it, before its own patches
//! 0004_0000  the arena as the running case found it
//! 000f_0000  the end of the ROM: the entries of the 256 vectors, the monitor
//! ffe0_0000  the ROM: the records of the cases, one behind the other, a length of 0 at the end;
//!            the arena as every case finds it; the 128 KiB that show below 1 MiB too
//! ```
//!
//! A record is its length in bytes, its number, [`WORDS`] words of state (see [`word`]), then patches of
//! the arena: offset and length (16 bits each), bytes; length 0 ends them.

/// RAM of both machines, in bytes.
pub const RAM: u32 = 32 << 20;
/// The end of what is RAM below 1 MiB.
pub const LOW_RAM: u32 = 0xa_0000;
/// Bytes of ROM, which ends at 4 GiB; the largest that Bochs takes.
pub const ROM_LEN: usize = 2 << 20;
/// What of its end shows below 1 MiB too.
pub const LOW_LEN: usize = 128 << 10;
/// Bytes of all records of one ROM.
pub const RECORDS_LEN: usize = ROM_LEN - LOW_LEN - ARENA_LEN;

pub const PAGE: u32 = 0x1000;
/// Address of the record of the running case.
pub const V_RECORD: u32 = PAGE;
/// 1 while a case runs, so that a reset is known for its result.
pub const V_RUNNING: u32 = PAGE + 4;
/// 0 until the debug registers are being read, then 1.
pub const V_PHASE: u32 = PAGE + 8;
/// [`MAGIC`] once the monitor has begun.
pub const V_MAGIC: u32 = PAGE + 12;
pub const MAGIC: u32 = 0x7061_6765;
/// 1 if arena and shadow must be made anew.
pub const V_DIRTY: u32 = PAGE + 32;
/// 1 if a case came back in real mode, then its CR0, and its GDTR as [`word::GDTR`].
pub const V_REAL: u32 = PAGE + 16;
pub const V_REAL_CR0: u32 = PAGE + 20;
pub const V_REAL_GDTR: u32 = PAGE + 24;
/// State to enter with.
pub const INIT: u32 = PAGE + 0x100;
/// State found.
pub const SAVE: u32 = PAGE + 0x200;
pub const MONITOR_STACK: u32 = PAGE + 0xf00;

/// A byte here tells whoever runs the machine that a case begins (1) or is over (0).
pub const PHASE_PORT: u16 = 0x8901;

/// The page of the local APIC.
pub const APIC: u32 = 0xfee0_0000;

/// Registers of the local APIC and what is written there.
pub mod apic {
    pub const END_OF_INTERRUPT: u32 = 0xb0;
    pub const SPURIOUS: u32 = 0xf0;
    /// The lower half of the interrupt command; the upper one is 0, this processor.
    pub const COMMAND: u32 = 0x300;
    /// To the register of the spurious vector.
    pub const ENABLED: u32 = 0x1ff;
    /// A command: to send a vector, or an NMI.
    pub const SEND: u32 = 0x4000;
    pub const SEND_NMI: u32 = 0x4400;
}

pub const ARENA: u32 = 0x1_0000;
pub const ARENA_LEN: usize = 0x1_0000;
pub const BEHIND: u32 = 0x2_0000;
pub const BASE: u32 = 0x3_0000;
pub const SHADOW: u32 = 0x4_0000;
pub const STUBS: u32 = 0xf_0000;
pub const MONITOR: u32 = 0xf_1000;
/// The entries of the 256 vectors in real mode, 8 bytes each, as a far pointer.
pub const REAL_STUBS: u32 = 0xf000_8000;
/// The ROM's beginning.
pub const RECORDS: u32 = 0u32.wrapping_sub(ROM_LEN as u32);
/// Where the ROM has what is copied to [`BASE`].
pub const BASE_IN_ROM: u32 = RECORDS + RECORDS_LEN as u32;

/// Words of state in a record.
pub const WORDS: usize = 64;

/// Which word of state is what.
pub mod word {
    pub const VECTOR: usize = 0;
    /// EAX; ECX, EDX, EBX, ESP, EBP, ESI, EDI follow.
    pub const EAX: usize = 1;
    pub const ESP: usize = 5;
    /// ES; CS, SS, DS, FS, GS follow.
    pub const ES: usize = 9;
    pub const CS: usize = 10;
    pub const SS: usize = 11;
    pub const DS: usize = 12;
    pub const FS: usize = 13;
    pub const GS: usize = 14;
    pub const EFLAGS: usize = 15;
    pub const CR0: usize = 16;
    pub const CR2: usize = 17;
    pub const CR3: usize = 18;
    pub const CR4: usize = 19;
    /// DR0 to DR3.
    pub const DR0: usize = 20;
    pub const DR6: usize = 24;
    pub const DR7: usize = 25;
    /// The limit, in the upper half; the base in the next word.
    pub const GDTR: usize = 26;
    /// As [`GDTR`].
    pub const IDTR: usize = 28;
    pub const LDTR: usize = 30;
    pub const TR: usize = 31;
    pub const EFER: usize = 32;
    pub const SYSENTER_CS: usize = 33;
    pub const SYSENTER_ESP: usize = 34;
    pub const SYSENTER_EIP: usize = 35;
    /// 1 if the reading of the debug registers raised #DB.
    pub const GUARDED: usize = 36;
    /// How many words the monitor compares and reports.
    pub const REPORTED: usize = 37;
    /// Where the case begins.
    pub const EIP: usize = 40;
    /// How it is entered: [`super::enter`].
    pub const ENTER: usize = 41;
}

/// Bits of the word [`word::ENTER`].
pub mod enter {
    /// Into virtual-8086 mode.
    pub const V86: u32 = 1;
    /// To an outer privilege level.
    pub const OUTER: u32 = 2;
    /// IA32_EFER is set before and read after.
    pub const EFER: u32 = 4;
    /// Into real mode.
    pub const REAL: u32 = 8;
    /// PAT, MTRRs and IA32_TSC_AUX are reset before.
    pub const MSR: u32 = 16;
}

/// Names of the words that are reported.
pub const WORD_NAMES: [&str; word::REPORTED] = [
    "vector",
    "eax",
    "ecx",
    "edx",
    "ebx",
    "esp",
    "ebp",
    "esi",
    "edi",
    "es",
    "cs",
    "ss",
    "ds",
    "fs",
    "gs",
    "eflags",
    "cr0",
    "cr2",
    "cr3",
    "cr4",
    "dr0",
    "dr1",
    "dr2",
    "dr3",
    "dr6",
    "dr7",
    "gdtr.limit",
    "gdtr.base",
    "idtr.limit",
    "idtr.base",
    "ldtr",
    "tr",
    "efer",
    "sysenter_cs",
    "sysenter_esp",
    "sysenter_eip",
    "guarded",
];

/// Offsets in the arena.
pub mod at {
    pub const GDT: u32 = 0;
    pub const LDT: u32 = 0x400;
    /// The task that runs: a 32-bit TSS with 0x98 bytes of I/O permission map.
    pub const TSS: u32 = 0x600;
    pub const IO_MAP: u32 = TSS + 0x68;
    /// Other tasks, 0x100 bytes each.
    pub const OTHER_TSS: u32 = 0x800;
    /// Room for operands.
    pub const OPERANDS: u32 = 0xc00;
    pub const IDT: u32 = 0x1000;
    /// Four pages for paging structures: page directory or PDPT, then tables.
    pub const PAGING: u32 = 0x2000;
    pub const CODE: u32 = 0x6000;
    /// A page of INT3 to arrive in.
    pub const LANDING: u32 = 0x7000;
    pub const DATA: u32 = 0x8000;
    /// The page of level 0's stack; those of levels 1 to 3 follow.
    pub const STACKS: u32 = 0xa000;
}

/// Selectors of the GDT that every case has.
pub mod sel {
    /// The monitor's flat code and data.
    pub const MONITOR_CODE: u16 = 0x08;
    pub const MONITOR_DATA: u16 = 0x10;
    /// Code of level 0, its base the arena; data of level 0; then code and data of levels 1 to 3.
    pub const CASE_CODE: u16 = 0x18;
    pub const TSS: u16 = 0x58;
    pub const LDT: u16 = 0x60;
    /// Data of level 3, the local APIC's page, where a case asks for it.
    pub const APIC: u16 = 0x68 | 3;
    /// The first of the descriptors that are random.
    pub const RANDOM: u16 = 0x80;
    /// The GDT's limit is just below.
    pub const END: u16 = 0x200;

    /// Code of a level.
    pub const fn code(level: u8) -> u16 {
        CASE_CODE + level as u16 * 0x10 + level as u16
    }
    /// Data of a level.
    pub const fn data(level: u8) -> u16 {
        CASE_CODE + 8 + level as u16 * 0x10 + level as u16
    }
}
