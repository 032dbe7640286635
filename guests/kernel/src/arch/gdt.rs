//! The descriptor table with Linux's entries, the task-state segments, and the thread-local
//! descriptors.
#![allow(unsafe_code)]

use core::{arch::asm, cell::UnsafeCell};

use x86::Descriptor;

use super::percpu::{self, NR_CPUS};

/// Ring 0 code.
pub const KERNEL_CS: u16 = 12 * 8;
/// Ring 0 data and stack.
pub const KERNEL_DS: u16 = 13 * 8;
/// Ring 3 code.
pub const USER_CS: u16 = 14 * 8 + 3;
/// Ring 3 data and stack.
pub const USER_DS: u16 = 15 * 8 + 3;
/// First of the three thread-local entries.
pub const GDT_ENTRY_TLS_MIN: usize = 6;
/// Number of thread-local entries.
pub const GDT_ENTRY_TLS_ENTRIES: usize = 3;

const GDT_ENTRY_TSS: usize = 16;
const GDT_ENTRY_PERCPU: usize = 27;
/// The CPU's own data, in FS while the kernel runs.
pub const PERCPU_DS: u16 = (GDT_ENTRY_PERCPU * 8) as u16;
const GDT_ENTRY_DOUBLEFAULT_TSS: usize = 31;
/// Selector of the task gate's target for double faults.
pub const DOUBLEFAULT_TSS: u16 = (GDT_ENTRY_DOUBLEFAULT_TSS * 8) as u16;
const GDT_ENTRIES: usize = 32;

/// A 32-bit task-state segment (SDM Vol. 3A, "Task-State Segment").
#[derive(Clone, Copy)]
#[repr(C)]
struct Tss {
    link: u32,
    esp0: u32,
    ss0: u32,
    esp1: u32,
    ss1: u32,
    esp2: u32,
    ss2: u32,
    cr3: u32,
    eip: u32,
    eflags: u32,
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
    gprs: [u32; 8],
    /// ES, CS, SS, DS, FS, GS.
    segments: [u32; 6],
    ldt: u32,
    trap_and_io_map: u32,
}

const _: () = assert!(size_of::<Tss>() == x86::tss::SIZE as usize);

impl Tss {
    const ZERO: Tss = Tss {
        link: 0,
        esp0: 0,
        ss0: KERNEL_DS as u32,
        esp1: 0,
        ss1: 0,
        esp2: 0,
        ss2: 0,
        cr3: 0,
        eip: 0,
        eflags: 2,
        gprs: [0; 8],
        segments: [0; 6],
        ldt: 0,
        // The map lies beyond the limit: no port is open to ring 3.
        trap_and_io_map: x86::tss::SIZE << 16,
    };
}

/// The tables that each CPU has of its own; `this_cpu` is the only way here.
#[repr(C, align(8))]
struct CpuTables {
    gdt: UnsafeCell<[Descriptor; GDT_ENTRIES]>,
    tss: UnsafeCell<Tss>,
    doublefault_tss: UnsafeCell<Tss>,
    doublefault_stack: UnsafeCell<[u32; 1024]>,
}

// SAFETY: a CPU touches its own tables only, with interrupts off or in a context switch.
unsafe impl Sync for CpuTables {}

static TABLES: [CpuTables; NR_CPUS] = [const {
    CpuTables {
        gdt: UnsafeCell::new([Descriptor(0); GDT_ENTRIES]),
        tss: UnsafeCell::new(Tss::ZERO),
        doublefault_tss: UnsafeCell::new(Tss::ZERO),
        doublefault_stack: UnsafeCell::new([0; 1024]),
    }
}; NR_CPUS];

fn this_cpu() -> &'static CpuTables {
    &TABLES[percpu::cpu_number() as usize]
}

/// Fills and loads the tables of this CPU, which has the number `number`; FS leads to its
/// own data then.
///
/// `stack` is the lowest address of the kernel stack in use, `doublefault` where the
/// double-fault task begins.
pub fn init(number: u32, stack: u32, doublefault: u32) {
    const FLAT: u32 = 0xffff_ffff;
    let cpu = &TABLES[number as usize];
    // SAFETY: called once on each CPU, before it takes interrupts.
    let (gdt, tss, df) = unsafe { (&mut *cpu.gdt.get(), &mut *cpu.tss.get(), &mut *cpu.doublefault_tss.get()) };
    gdt[KERNEL_CS as usize / 8] = Descriptor::segment(0, FLAT, 0x9b, true);
    gdt[KERNEL_DS as usize / 8] = Descriptor::segment(0, FLAT, 0x93, true);
    gdt[USER_CS as usize / 8] = Descriptor::segment(0, FLAT, 0xfb, true);
    gdt[USER_DS as usize / 8] = Descriptor::segment(0, FLAT, 0xf3, true);

    gdt[GDT_ENTRY_PERCPU] = Descriptor::segment(percpu::prepare(number), FLAT, 0x93, true);

    let limit = x86::tss::SIZE - 1;
    gdt[GDT_ENTRY_TSS] = Descriptor::segment((&raw mut *tss) as u32, limit, 0x89, false);
    tss.esp0 = stack + super::THREAD_SIZE;

    df.cr3 = super::boot::sections::swapper_pg_dir() - super::PAGE_OFFSET;
    df.eip = doublefault;
    df.gprs[4] = cpu.doublefault_stack.get() as u32 + 4096 - 16;
    df.esp0 = df.gprs[4];
    let (cs, ds) = (KERNEL_CS.into(), KERNEL_DS.into());
    df.segments = [ds, cs, ds, ds, PERCPU_DS.into(), 0];
    gdt[GDT_ENTRY_DOUBLEFAULT_TSS] = Descriptor::segment((&raw mut *df) as u32, limit, 0x89, false);

    let pointer = TablePointer { limit: (GDT_ENTRIES * 8 - 1) as u16, base: (&raw mut *gdt) as u32 };
    // SAFETY: the table holds every selector that is loaded here, and is never freed.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {cs}",
            "lea {scratch}, [2f]",
            "push {scratch}",
            "retf",
            "2:",
            "mov ds, {ds:x}", "mov es, {ds:x}", "mov ss, {ds:x}",
            "mov fs, {percpu:x}", "mov gs, {null:x}",
            "lldt {null:x}",
            "ltr {tr:x}",
            pointer = in(reg) &raw const pointer,
            cs = const KERNEL_CS,
            ds = in(reg) u32::from(KERNEL_DS),
            percpu = in(reg) u32::from(PERCPU_DS),
            null = in(reg) 0,
            scratch = out(reg) _,
            tr = in(reg) (GDT_ENTRY_TSS * 8) as u32,
        );
    }
}

/// The operand of LGDT and LIDT.
#[repr(C, packed)]
pub(super) struct TablePointer {
    pub limit: u16,
    pub base: u32,
}

/// Where the CPU finds the kernel stack at the next trap from ring 3.
pub fn set_kernel_stack(esp0: u32) {
    // SAFETY: this CPU's own; only the CPU reads it.
    unsafe { (&raw mut (*this_cpu().tss.get()).esp0).write_volatile(esp0) };
}

/// The interrupted state that a double fault's task switch left in the main TSS: EIP,
/// ESP, EBP, CR3.
pub fn state_before_double_fault() -> [u32; 4] {
    // SAFETY: read by the double-fault task; the main task runs no more.
    let tss = unsafe { this_cpu().tss.get().read_volatile() };
    [tss.eip, tss.gprs[4], tss.gprs[5], tss.cr3]
}

/// Puts a thread's descriptors into this CPU's table.
pub fn load_tls(tls: &[Descriptor; GDT_ENTRY_TLS_ENTRIES]) {
    // SAFETY: this CPU's own; `tls_descriptor` let only ring 3 segments in.
    let gdt = unsafe { &mut *this_cpu().gdt.get() };
    gdt[GDT_ENTRY_TLS_MIN..GDT_ENTRY_TLS_MIN + GDT_ENTRY_TLS_ENTRIES].copy_from_slice(tls);
}
