//! Starting the other CPUs (SDM Vol. 3A, "MP Initialization").
//!
//! An application processor begins in real mode in a page below 1 MiB, the trampoline, which
//! goes to protected mode, switches paging on with a directory that maps the trampoline where
//! it runs, and jumps to [`start_secondary`] on the stack of the CPU's idle task.
#![allow(unsafe_code)]

use core::{
    arch::global_asm,
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, Ordering},
};

use x86::{Cr4, Pde};

use super::{NR_CPUS, ONLINE, is_online};
use crate::{
    arch::{
        self, PAGE_OFFSET, THREAD_SIZE, apic,
        apic::Lint0,
        cpu::{self, feature},
        cpuinfo, ioapic,
        mpconfig::{self, MpConfig},
        paging::{self, KERNEL_PDE},
        percpu::per_cpu,
    },
    drivers::{irq, pic, pit, resource},
    lib::{books, cmdline},
    mm::{boot, memblock, page_alloc, slab},
    pr_hw, pr_info,
    sync::lock_kernel,
    task::sched,
    time::{ktime_get_ns, tsc_khz},
};

/// How long a CPU may take until it says that it runs.
const START_NS: u64 = 1_000_000_000;
/// After so long without an answer the start-up message is sent once more.
const SECOND_STARTUP_NS: u64 = 1_000_000;

/// Where the trampoline goes; 0 if no CPU is to be started.
static TRAMPOLINE: AtomicU32 = AtomicU32::new(0);
/// The number of the CPU that is being started.
static STARTING: AtomicU32 = AtomicU32::new(0);

global_asm!(
    r#"
    .section .rodata.trampoline, "a"
    .balign 16
    .globl trampoline_start, trampoline_end, trampoline_data
    .code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    xorl %ebx, %ebx
    movw %cs, %bx
    shll $4, %ebx
    lgdtl trampoline_gdtr - trampoline_start
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_data - trampoline_start)
    .code32
    .globl trampoline_32
trampoline_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl trampoline_cr4 - trampoline_start(%ebx), %eax
    movl %eax, %cr4
    movl trampoline_cr3 - trampoline_start(%ebx), %eax
    movl %eax, %cr3
    movl $0x80010023, %eax
    movl %eax, %cr0
    movl trampoline_esp - trampoline_start(%ebx), %esp
    movl trampoline_eip - trampoline_start(%ebx), %eax
    xorl %ebp, %ebp
    pushl $0
    jmp *%eax

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .word 0
    .globl trampoline_gdtr
trampoline_gdtr:
    .word 23
    .long trampoline_gdt - trampoline_start
    .balign 4
trampoline_data:
    .long trampoline_32 - trampoline_start, 8
trampoline_cr4: .long 0
trampoline_cr3: .long 0
trampoline_esp: .long 0
trampoline_eip: .long 0
trampoline_end:
    .text
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_gdtr: u8;
    static trampoline_data: u8;
    static trampoline_end: u8;
}

/// What the trampoline reads, at `trampoline_data`.
#[repr(C)]
struct TrampolineData {
    /// Operand of the far jump: the linear address of its 32-bit part, and its code segment.
    entry: u32,
    code_segment: u32,
    cr4: u32,
    cr3: u32,
    esp: u32,
    eip: u32,
}

/// The kernel's half twice, so that the trampoline's low addresses are mapped while paging is
/// switched on.
#[repr(C, align(4096))]
struct Directory(UnsafeCell<[Pde; 1024]>);
// SAFETY: written before a CPU that uses it is started, by one CPU.
unsafe impl Sync for Directory {}
static TRAMPOLINE_PG_DIR: Directory = Directory(UnsafeCell::new([Pde(0); 1024]));

/// How many CPUs the parameters allow: `nosmp` and `maxcpus=0` one.
fn max_cpus() -> usize {
    if cmdline::value_of("nosmp").is_some() || cmdline::value_of("noapic").is_some() {
        return 1;
    }
    let wanted = cmdline::value_of("maxcpus").and_then(cmdline::memparse);
    wanted.map_or(NR_CPUS, |n| (n as usize).clamp(1, NR_CPUS))
}

/// What the firmware says, unless the parameters or the CPU forbid its use. A clock without a
/// TSC counts by the PIT's interrupts, which the local timer would replace.
fn usable() -> Option<&'static MpConfig> {
    let wanted = cmdline::value_of("nolapic").is_none();
    mpconfig::get().filter(|_| wanted && cpu::has(feature::APIC) && cpu::has(feature::TSC))
}

/// Keeps a page below 1 MiB for starting other CPUs, if there are any. Before memory is given out.
pub fn reserve_trampoline() {
    mpconfig::init();
    if usable().is_some_and(|config| config.apic_ids().len() > 1 && max_cpus() > 1)
        && let Some(pfn) = memblock::alloc(1, 0xa0)
    {
        TRAMPOLINE.store(pfn << 12, Ordering::Relaxed);
    }
}

/// The boot CPU's APIC, its tick, and the I/O APIC in place of the 8259.
#[cold]
#[inline(never)]
pub fn init_boot_cpu() {
    irq::use_io_apic(None);
    let Some(config) = usable() else { return };
    if tsc_khz() == 0 {
        return;
    }
    apic::map(config.lapic);
    let has_ioapic = cmdline::value_of("noapic").is_none() && cmdline::value_of("nosmp").is_none();
    let ioapic = config.ioapic.filter(|_| has_ioapic);
    if ioapic.is_some() {
        // Before the way of their requests is cut off, which must not hang there.
        pic::disable(config.has_imcr);
    }
    apic::setup(if ioapic.is_some() { Lint0::Masked } else { Lint0::ExtInt });
    if let Some(phys) = ioapic {
        let pins = ioapic::init(phys);
        pr_hw!("{}: {} CPUs, IOAPIC[0]: address {phys:#x}, GSI 0-{}", config.source, config.apic_ids().len(), pins - 1);
    }
    irq::use_io_apic(ioapic.is_some().then_some(&config.routes));
    let hz = apic::calibrate_timer();
    irq::disable_irq(0);
    pit::shutdown();
    apic::start_timer();
    pr_hw!("APIC timer: {}.{:03} MHz", hz / 1_000_000, hz / 1000 % 1000);
}

/// CPUs that there are and that the parameters do not forbid for good, as a mask. Those that
/// `maxcpus=` leaves out are among them.
pub fn possible_mask() -> u32 {
    let one = cmdline::value_of("nosmp").is_some() || cmdline::value_of("noapic").is_some();
    let count = usable().filter(|_| !one).map_or(1, |config| config.apic_ids().len().max(1));
    ((1u64 << count) - 1) as u32
}

/// Names the controllers in `/proc/iomem`.
pub fn claim_resources() {
    if !apic::is_present() {
        return;
    }
    let Some(config) = usable() else { return };
    if let Some(phys) = config.ioapic.filter(|_| ioapic::in_use()) {
        resource::insert_memory(phys, phys + 0x3ff, "IOAPIC 0");
    }
    resource::insert_memory(config.lapic, config.lapic + 0xfff, "Local APIC");
}

/// Starts the other CPUs. Called by PID 1 before it does anything else.
#[cold]
#[inline(never)]
pub fn bring_up() {
    let trampoline = TRAMPOLINE.load(Ordering::Relaxed);
    let Some(config) = usable().filter(|_| trampoline != 0) else { return };
    if apic::is_present() && ioapic::in_use() {
        pr_hw!("smp: Bringing up secondary CPUs ...");
        prepare_trampoline(trampoline);
        let own = apic::id();
        let others = config.apic_ids().iter().map(|&id| u32::from(id)).filter(|&id| id != own);
        let mut number = 1;
        for apic_id in others.take(max_cpus() - 1) {
            if start(number, apic_id, trampoline) {
                number += 1;
                books::set_nr_cpus(number);
            } else {
                pr_hw!("smpboot: CPU with APIC {apic_id} does not start");
            }
        }
        page_alloc::share_among_cpus();
        pr_hw!("smp: Brought up 1 node, {number} CPUs");
    }
    boot::free_module(trampoline, trampoline + 0x1000);
}

fn prepare_trampoline(phys: u32) {
    // SAFETY: this CPU alone is here, and the directory is not in use yet.
    let directory = unsafe { &mut *TRAMPOLINE_PG_DIR.0.get() };
    let kernel = paging::swapper_entries();
    directory[KERNEL_PDE..].copy_from_slice(kernel);
    directory[0] = kernel[0];
    let (from, len) = (&raw const trampoline_start, offset(&raw const trampoline_end));
    // SAFETY: the page is ours, and the code is shorter.
    unsafe { core::ptr::copy_nonoverlapping(from, (PAGE_OFFSET + phys) as *mut u8, len as usize) };
    let gdtr = (PAGE_OFFSET + phys + offset(&raw const trampoline_gdtr) + 2) as *mut u32;
    // SAFETY: inside the copy.
    unsafe { gdtr.write_unaligned(gdtr.read_unaligned() + phys) };
}

/// Bytes from the beginning of the trampoline.
fn offset(place: *const u8) -> u32 {
    place as u32 - &raw const trampoline_start as u32
}

/// Starts a CPU as number `number`; `false` if it does not answer.
fn start(number: u32, apic_id: u32, trampoline: u32) -> bool {
    let stack = match sched::init_idle(number) {
        Ok(stack) => stack,
        Err(error) => {
            pr_info!("smpboot: no idle task for CPU {number}: {error}");
            return false;
        }
    };
    slab::add_cpu(number);
    let directory = TRAMPOLINE_PG_DIR.0.get() as u32 - PAGE_OFFSET;
    let entry = (&raw const trampoline_data).cast::<u32>();
    let data = TrampolineData {
        // SAFETY: the word lies in the kernel's copy of the trampoline.
        entry: trampoline + unsafe { entry.read_unaligned() },
        code_segment: 8,
        cr4: (cpu::read_cr4() & Cr4::PSE).bits(),
        cr3: directory,
        esp: stack + THREAD_SIZE - 16,
        eip: start_secondary as *const () as u32,
    };
    // SAFETY: inside the page of the trampoline, which no CPU runs now.
    unsafe {
        let at = PAGE_OFFSET + trampoline + offset(&raw const trampoline_data);
        (at as *mut TrampolineData).write_unaligned(data);
    }
    STARTING.store(number, Ordering::SeqCst);
    per_cpu(number).set_apic_id(apic_id);
    apic::send_init(apic_id);
    wait(number, 10_000);
    apic::send_startup(apic_id, trampoline);
    if !wait(number, SECOND_STARTUP_NS) {
        apic::send_startup(apic_id, trampoline);
    }
    wait(number, START_NS)
}

/// Waits until a CPU runs.
fn wait(number: u32, limit_ns: u64) -> bool {
    let deadline = ktime_get_ns() + limit_ns;
    while !is_online(number) && ktime_get_ns() < deadline {
        core::hint::spin_loop();
    }
    is_online(number)
}

/// The first Rust code of another CPU: on the stack of its idle task, with the trampoline's
/// directory, interrupts off, without the kernel lock.
extern "C" fn start_secondary() -> ! {
    let number = STARTING.load(Ordering::SeqCst);
    arch::init_secondary(number, sched::idle_stack(number));
    paging::init_secondary();
    apic::setup(Lint0::Masked);
    books::init_cpu(number, cpuinfo::identify_cpu(cpuinfo::get(0).khz));
    apic::start_timer();
    ONLINE.fetch_or(1 << number, Ordering::SeqCst);
    lock_kernel();
    sched::cpu_idle()
}
