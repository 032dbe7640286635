//! The root of what the host reads in the kernel's memory, and the ELF note that leads to it.
#![allow(unsafe_code)]

use core::{arch::global_asm, cell::UnsafeCell};

use abi::{
    Ptr32, U64,
    books::{CpuRecord, CpuStateRecord, KernelBooks, NOTE_NAME, NOTE_TYPE, SystemPlaces, TaskRecord, VERSION},
};

use crate::{
    arch::{
        PAGE_OFFSET, cpuinfo, irqflags, paging,
        percpu::{NR_CPUS, cpu_number, per_cpu},
    },
    drivers::{irq, resource},
    mm::{page, page_alloc, slab, swapfile, vmalloc, vmstat},
    module,
    task::{pid, sched},
    time::{self, tsc_khz},
};

// `Elf32_Nhdr`, the name padded to words, a `KernelNote`.
global_asm!(
    r#"
    .section .note.pagewalk, "a", @note
    .balign 4
    .long 9, 12, {note_type}
    .asciz "PAGEWALK"
    .balign 4
    .long {version}, KERNEL_BOOKS, {page_offset}
    .text
"#,
    note_type = const NOTE_TYPE,
    version = const VERSION,
    page_offset = const PAGE_OFFSET,
);

const _: () = assert!(NOTE_NAME.len() + 1 == 9);

#[repr(transparent)]
struct Books(UnsafeCell<KernelBooks>);

// SAFETY: changed only in `update`, with interrupts off, under the kernel lock.
unsafe impl Sync for Books {}

#[unsafe(no_mangle)]
static KERNEL_BOOKS: Books = Books(UnsafeCell::new(KernelBooks {
    version: 0,
    tasks: Ptr32::NULL,
    cpu_states: Ptr32::NULL,
    nr_cpus: 1,
    iomem: Ptr32::NULL,
    ioports: Ptr32::NULL,
    zones: Ptr32::NULL,
    nr_zones: 0,
    caches: Ptr32::NULL,
    mem_map: Ptr32::NULL,
    max_pfn: 0,
    swapper_pg_dir: 0,
    seq: 0,
    resource_lock: Ptr32::NULL,
    zone_lock: Ptr32::NULL,
    slab_lock: Ptr32::NULL,
    vmstat: Ptr32::NULL,
    irqs: Ptr32::NULL,
    cpus: Ptr32::NULL,
    vmap_areas: Ptr32::NULL,
    vmap_unpurged: Ptr32::NULL,
    vmap_lock: Ptr32::NULL,
    pageblocks: Ptr32::NULL,
    swaps: Ptr32::NULL,
    modules: Ptr32::NULL,
    modules_lock: Ptr32::NULL,
    tty_pgrp: Ptr32::NULL,
    system: SystemPlaces::EMPTY,
}));

/// Changes the root. `seq` is odd meanwhile.
pub fn update(change: impl FnOnce(&mut KernelBooks)) {
    let flags = irqflags::local_irq_save();
    // SAFETY: nobody else is here: interrupts are off, and `change` does not come back.
    let books = unsafe { &mut *KERNEL_BOOKS.0.get() };
    seq_step(&mut books.seq);
    change(books);
    seq_step(&mut books.seq);
    irqflags::local_irq_restore(flags);
}

/// The stores before and after must stay on their side of it.
fn seq_step(seq: &mut u32) {
    use core::sync::atomic::{Ordering, compiler_fence};
    compiler_fence(Ordering::SeqCst);
    *seq = seq.wrapping_add(1);
    compiler_fence(Ordering::SeqCst);
}

#[repr(transparent)]
struct CpuStates(UnsafeCell<[CpuStateRecord; NR_CPUS]>);

// SAFETY: a CPU changes its own record only, with single stores, and `nr_ready` under the kernel
// lock.
unsafe impl Sync for CpuStates {}

static CPU_STATES: CpuStates = CpuStates(UnsafeCell::new([CpuStateRecord::EMPTY; NR_CPUS]));

fn cpu_state(number: u32) -> *mut CpuStateRecord {
    assert!((number as usize) < NR_CPUS);
    // SAFETY: inside the array.
    unsafe { CPU_STATES.0.get().cast::<CpuStateRecord>().add(number as usize) }
}

/// The running thread of this CPU has changed: the one field that a context switch sets.
pub fn set_current(task: Ptr32<TaskRecord>) {
    // SAFETY: one aligned word; the host reads only while the guest stands.
    unsafe { (&raw mut (*cpu_state(cpu_number())).current).write_volatile(task) };
}

/// Says who the idle task of a CPU is.
pub fn set_idle(number: u32, task: Ptr32<TaskRecord>) {
    // SAFETY: as in `set_current`.
    unsafe {
        let record = cpu_state(number);
        (&raw mut (*record).idle).write_volatile(task);
        (&raw mut (*record).current).write_volatile(task);
    }
}

/// Says how many tasks are ready on a CPU besides the running one.
pub fn set_nr_ready(number: u32, count: u32) {
    // SAFETY: as in `set_current`.
    unsafe { (&raw mut (*cpu_state(number)).nr_ready).write_volatile(count) };
}

/// How many tasks are ready on a CPU besides the running one.
pub fn nr_ready(number: u32) -> u32 {
    // SAFETY: as in `set_current`.
    unsafe { (&raw const (*cpu_state(number)).nr_ready).read_volatile() }
}

/// Counts an interrupt of this CPU by its place in [`VECTORS`](abi::proc::interrupts::VECTORS).
pub fn count_vector(vector: usize) {
    // SAFETY: a word of this CPU's own, changed in handlers that do not interrupt each other.
    unsafe {
        let count = &raw mut (*cpu_state(cpu_number())).vectors[vector];
        count.write_volatile(count.read_volatile().wrapping_add(1));
    }
}

/// What a CPU's time went to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// Programs.
    User,
    /// The kernel.
    System,
    /// Nothing.
    Idle,
}

/// Counts time of this CPU. No handler does so while other code does.
pub fn count_time(spent: Spent, ns: u64) {
    // SAFETY: this CPU's own.
    let record = unsafe { &mut *cpu_state(cpu_number()) };
    let counter = match spent {
        Spent::User => &mut record.user_ns,
        Spent::System => &mut record.system_ns,
        Spent::Idle => &mut record.idle_ns,
    };
    *counter = U64::new(counter.get() + ns);
}

/// A copy of a CPU's record.
pub fn cpu_record(number: u32) -> CpuStateRecord {
    // SAFETY: plain words; another CPU may count one of them up meanwhile.
    unsafe { cpu_state(number).read_volatile() }
}

/// A CPU has been started: what CPUID says there.
pub fn init_cpu(number: u32, cpu: CpuRecord) {
    cpuinfo::set(number, cpu);
    // SAFETY: as in `set_current`.
    unsafe { (&raw mut (*cpu_state(number)).apic_id).write_volatile(per_cpu(number).apic_id()) };
}

/// How many CPUs run.
pub fn set_nr_cpus(count: u32) {
    update(|books| books.nr_cpus = count);
}

/// Fills in everything but the tasks, and declares the books readable.
pub fn publish() {
    let (ioports, iomem, resource_lock) = resource::roots();
    let (zones, nr_zones, zone_lock) = page_alloc::zone_records();
    let (caches, slab_lock) = slab::books();
    let (irqs, cpus) = (irq::books(), cpuinfo::books());
    init_cpu(0, cpuinfo::identify_cpu(tsc_khz()));
    update(|books| {
        (books.ioports, books.iomem) = (ioports, iomem);
        (books.zones, books.nr_zones) = (zones, nr_zones);
        books.caches = caches;
        (books.resource_lock, books.zone_lock, books.slab_lock) = (resource_lock, zone_lock, slab_lock);
        books.mem_map = Ptr32::new(page::mem_map().as_ptr() as u32);
        books.max_pfn = page::max_pfn();
        books.swapper_pg_dir = paging::swapper_pg_dir_phys();
        (books.vmstat, books.irqs, books.cpus) = (vmstat::books(), irqs, cpus);
        books.cpu_states = Ptr32::new(CPU_STATES.0.get() as u32);
        (books.vmap_lock, books.pageblocks) = (vmalloc::books(), page_alloc::pageblocks());
        books.swaps = swapfile::books();
        books.modules_lock = module::books();
        time::note_places(&mut books.system);
        pid::note_places(&mut books.system);
        sched::note_places(&mut books.system);
        books.version = VERSION;
    });
}
