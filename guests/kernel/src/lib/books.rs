//! The root of what the host reads in the kernel's memory, and the ELF note that leads to it.
#![allow(unsafe_code)]

use core::{arch::global_asm, cell::UnsafeCell};

use abi::{
    Ptr32,
    books::{KernelBooks, NOTE_NAME, NOTE_TYPE, VERSION},
};

use crate::{
    arch::{PAGE_OFFSET, cpuinfo, irqflags, paging},
    drivers::{irq, resource},
    mm::{page, page_alloc, slab, swapfile, vmalloc, vmstat},
    module,
    time::tsc_khz,
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

// SAFETY: changed only in `update`, with interrupts off, on the one CPU.
unsafe impl Sync for Books {}

#[unsafe(no_mangle)]
static KERNEL_BOOKS: Books = Books(UnsafeCell::new(KernelBooks {
    version: 0,
    tasks: Ptr32::NULL,
    current: Ptr32::NULL,
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

/// The running thread has changed: the one field that a context switch sets.
pub fn set_current(task: Ptr32<abi::books::TaskRecord>) {
    // SAFETY: one aligned word; the host reads only while the guest stands.
    unsafe { (&raw mut (*KERNEL_BOOKS.0.get()).current).write_volatile(task) };
}

/// Fills in everything but the tasks, and declares the books readable.
pub fn publish() {
    let (ioports, iomem, resource_lock) = resource::roots();
    let (zones, nr_zones, zone_lock) = page_alloc::zone_records();
    let (caches, slab_lock) = slab::books();
    let (irqs, cpus) = (irq::books(), cpuinfo::init(tsc_khz()));
    update(|books| {
        (books.ioports, books.iomem) = (ioports, iomem);
        (books.zones, books.nr_zones) = (zones, nr_zones);
        books.caches = caches;
        (books.resource_lock, books.zone_lock, books.slab_lock) = (resource_lock, zone_lock, slab_lock);
        books.mem_map = Ptr32::new(page::mem_map().as_ptr() as u32);
        books.max_pfn = page::max_pfn();
        books.swapper_pg_dir = paging::swapper_pg_dir_phys();
        (books.vmstat, books.irqs, books.cpus) = (vmstat::books(), irqs, cpus);
        (books.vmap_lock, books.pageblocks) = (vmalloc::books(), page_alloc::pageblocks());
        books.swaps = swapfile::books();
        books.modules_lock = module::books();
        books.version = VERSION;
    });
}
