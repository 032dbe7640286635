//! The TLBs of all CPUs: who may hold translations of which address space, and shootdown.
//!
//! Whoever has changed an entry of an address space counts its generation up, sends every CPU
//! that may hold the old translation a message, drops it itself, and waits until all have said
//! that they did. Only then may the frame go. A CPU that runs a kernel thread or nothing keeps
//! the page directory that it had (it is *lazy*) and is not disturbed: when it comes back to the
//! address space it sees by the generation that it missed something, and drops everything.
//! Page tables are given back only when lazy CPUs, too, have left the directory, because a
//! processor may look into a table on its own.
//!
//! All of this happens under the kernel lock, except the handlers on the CPUs that are told.
#![allow(unsafe_code)]

use core::{
    arch::{asm, naked_asm},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
};

use abi::proc::interrupts::vector;
pub use abi::tlb::Reason;
use x86::Cr4;

use super::{
    cpu::{self, feature},
    irqflags, paging,
    percpu::{per_cpu, this_cpu},
    smp,
};
use crate::{
    lib::{books, cmdline},
    sync::Word64,
};

/// Above this many pages a flush drops everything (`tlb_single_page_flush_ceiling`).
const SINGLE_PAGE_FLUSH_CEILING: u32 = 33;

/// What flushing knows of an address space (`mm_cpumask` and `context.tlb_gen`).
pub struct TlbContext {
    /// CPUs that may hold translations: those whose CR3 has the directory.
    cpumask: AtomicU32,
    /// Counts up with every change that CPUs must hear of, under the kernel lock.
    tlb_gen: Word64,
}

impl TlbContext {
    /// Of an address space that no CPU has used.
    pub const fn new() -> Self {
        TlbContext { cpumask: AtomicU32::new(0), tlb_gen: Word64::new(1) }
    }

    /// Whether this CPU has the directory in CR3.
    pub fn is_loaded(&self) -> bool {
        core::ptr::eq(this_cpu().tlb.loaded.load(Ordering::Relaxed), self)
    }
}

impl Default for TlbContext {
    fn default() -> Self {
        Self::new()
    }
}

/// What a CPU's TLB may hold (`cpu_tlbstate`).
pub struct TlbState {
    /// Whose directory is in CR3; null for the kernel's own.
    loaded: AtomicPtr<TlbContext>,
    /// The generation up to which the TLB is true.
    generation: Word64,
    /// The CPU touches no user address until it says so.
    is_lazy: AtomicBool,
}

impl TlbState {
    /// The kernel's own directory.
    pub const fn new() -> Self {
        TlbState {
            loaded: AtomicPtr::new(core::ptr::null_mut()),
            generation: Word64::new(0),
            is_lazy: AtomicBool::new(false),
        }
    }
}

impl Default for TlbState {
    fn default() -> Self {
        Self::new()
    }
}

/// `tlb=`: how the kernel flushes user translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// As it should.
    Right,
    /// Every flush drops everything.
    FlushAll,
    /// A sample bug: no flush after `munmap` and `mprotect`.
    NoFlush,
    /// A sample bug: other CPUs are not told.
    NoIpi,
}

fn mode() -> Mode {
    match MODE.load(Ordering::Relaxed) {
        1 => Mode::FlushAll,
        2 => Mode::NoFlush,
        3 => Mode::NoIpi,
        _ => Mode::Right,
    }
}

static MODE: AtomicU32 = AtomicU32::new(0);

/// Reads `tlb=`.
pub fn init() {
    let mode = match cmdline::value_of("tlb") {
        Some("flushall") => 1,
        Some("noflush") => 2,
        Some("noipi") => 3,
        _ => return,
    };
    MODE.store(mode, Ordering::Relaxed);
    if mode != 1 {
        crate::pr_info!("tlb: flushes are left out on purpose: programs may see stale memory");
    }
}

/// Puts an address space's directory into CR3 of this CPU (`switch_mm`).
pub fn switch_mm(next: &TlbContext, pgd: u32) {
    let flags = irqflags::local_irq_save();
    let cpu = this_cpu();
    let generation = next.tlb_gen.get();
    if next.is_loaded() {
        cpu.tlb.is_lazy.store(false, Ordering::Relaxed);
        if cpu.tlb.generation.get() != generation {
            cpu.tlb.generation.set(generation);
            paging::flush_tlb_local();
        }
    } else {
        forget_loaded();
        // Before the first translation can come.
        next.cpumask.fetch_or(cpu.bit(), Ordering::SeqCst);
        cpu.tlb.generation.set(generation);
        cpu.tlb.loaded.store((&raw const *next).cast_mut(), Ordering::Relaxed);
        cpu.tlb.is_lazy.store(false, Ordering::Relaxed);
        // SAFETY: the directory of an address space maps the kernel.
        unsafe { cpu::load_cr3(pgd) };
    }
    irqflags::local_irq_restore(flags);
}

/// A task without an address space runs next: the directory stays in CR3, unused
/// (`enter_lazy_tlb`).
pub fn enter_lazy() {
    this_cpu().tlb.is_lazy.store(true, Ordering::Relaxed);
}

/// This CPU goes to the kernel's own directory (`leave_mm`).
pub fn leave_mm() {
    let flags = irqflags::local_irq_save();
    forget_loaded();
    // SAFETY: the kernel's own directory maps the kernel.
    unsafe { cpu::load_cr3(paging::swapper_pg_dir_phys()) };
    irqflags::local_irq_restore(flags);
}

/// The CPU is not among those that may hold the loaded address space's translations any more:
/// CR3 is loaded next.
fn forget_loaded() {
    let cpu = this_cpu();
    let loaded = cpu.tlb.loaded.swap(core::ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: an address space makes every CPU leave it before it goes (`drop_context`).
    if let Some(context) = unsafe { loaded.as_ref() } {
        context.cpumask.fetch_and(!cpu.bit(), Ordering::SeqCst);
    }
    cpu.tlb.is_lazy.store(false, Ordering::Relaxed);
}

/// An address space ends, and no task uses it: lazy CPUs leave it.
pub fn drop_context(context: &TlbContext) {
    let others = context.cpumask.load(Ordering::SeqCst) & !this_cpu().bit();
    if others != 0 {
        smp::call_function_many(others, leave_if_loaded, &raw const *context as usize, || {});
    }
    if context.is_loaded() {
        leave_mm();
    }
}

fn leave_if_loaded(context: usize) {
    if this_cpu().tlb.loaded.load(Ordering::Relaxed) as usize == context {
        leave_mm();
    }
}

/// What the CPUs are asked to forget (`flush_tlb_info`).
struct FlushInfo {
    context: *const TlbContext,
    start: u32,
    end: u32,
    generation: u64,
}

/// Calls a point where one can look on from outside (`abi::tlb`). CR3 says whose range it is, unless a
/// kernel thread runs.
macro_rules! trace_point {
    ($point:ident, $start:ident, $end:ident, $what:ident) => {
        // SAFETY: the point only returns.
        unsafe {
            asm!("call {point}", point = sym $point, in("eax") $start, in("edx") $end, in("ecx") $what,
                 options(preserves_flags));
        }
    };
}

/// No CPU uses the old translations of a range of an address space any more when this returns
/// (`flush_tlb_mm_range`).
pub fn flush_tlb_mm_range(context: &TlbContext, start: u32, end: u32, reason: Reason) {
    if context.cpumask.load(Ordering::SeqCst) == 0 {
        // Whoever comes loads CR3.
        return;
    }
    let mode = mode();
    if mode == Mode::NoFlush && matches!(reason, Reason::Unmap | Reason::Protect) {
        return;
    }
    let generation = context.tlb_gen.get() + 1;
    context.tlb_gen.set(generation);
    let own_bit = this_cpu().bit();
    let mut targets = context.cpumask.load(Ordering::SeqCst) & !own_bit;
    if reason != Reason::Tables {
        let mut to_ask = targets;
        while to_ask != 0 {
            let number = to_ask.trailing_zeros();
            to_ask &= to_ask - 1;
            if per_cpu(number).tlb.is_lazy.load(Ordering::SeqCst) {
                targets &= !(1 << number);
            }
        }
    }
    if mode == Mode::NoIpi {
        targets = 0;
    }
    let info = FlushInfo { context, start, end, generation };
    let local = || flush_tlb_func(&info, reason);
    if targets == 0 {
        local();
        return;
    }
    let what = targets | (reason as u32) << 8;
    trace_point!(tlb_flush_begin, start, end, what);
    let func = if reason == Reason::Tables { flush_remote_tables } else { flush_remote };
    smp::call_function_many(targets, func, &raw const info as usize, local);
    trace_point!(tlb_flush_end, start, end, what);
}

fn flush_remote(info: usize) {
    books::count_vector(vector::TLB);
    // SAFETY: whoever asked waits until we have said that we are done.
    flush_tlb_func(unsafe { &*(info as *const FlushInfo) }, Reason::Page);
}

fn flush_remote_tables(info: usize) {
    books::count_vector(vector::TLB);
    // SAFETY: as in `flush_remote`.
    flush_tlb_func(unsafe { &*(info as *const FlushInfo) }, Reason::Tables);
}

/// This CPU forgets (`flush_tlb_func`).
fn flush_tlb_func(info: &FlushInfo, reason: Reason) {
    let flags = irqflags::local_irq_save();
    let cpu = this_cpu();
    let tlb = &cpu.tlb;
    if tlb.loaded.load(Ordering::Relaxed).cast_const() == info.context {
        if tlb.is_lazy.load(Ordering::Relaxed) {
            // It will see the generation when it comes back. Tables must not even be looked at.
            if reason == Reason::Tables {
                leave_mm();
            }
        } else {
            flush_loaded(info);
        }
    }
    irqflags::local_irq_restore(flags);
}

fn flush_loaded(info: &FlushInfo) {
    let tlb = &this_cpu().tlb;
    // SAFETY: whoever asked keeps the address space until we have said that we are done.
    let newest = unsafe { (*info.context).tlb_gen.get() };
    let held = tlb.generation.get();
    if held == newest {
        return;
    }
    let pages = (info.end - info.start).div_ceil(4096);
    let is_next = info.generation == held + 1 && info.generation == newest;
    if is_next && pages <= SINGLE_PAGE_FLUSH_CEILING && mode() != Mode::FlushAll {
        (0..pages).for_each(|n| paging::flush_tlb_one(info.start + n * 4096));
    } else {
        paging::flush_tlb_local();
    }
    tlb.generation.set(newest);
}

/// This CPU forgets the translation of a page of an address space; others may keep theirs, for
/// they were changed to give more rights, or to notice a use that need not be noticed.
pub fn flush_tlb_page_here(context: &TlbContext, addr: u32) {
    if context.is_loaded() {
        paging::flush_tlb_one(addr);
    }
}

/// All CPUs forget the kernel's translations of a range, global ones too.
pub fn flush_tlb_kernel_range(start: u32, end: u32) {
    let range = (start, end);
    let others = smp::online_mask() & !this_cpu().bit();
    if others == 0 {
        flush_kernel_range_here(start, end);
        return;
    }
    let what = others | (Reason::Kernel as u32) << 8;
    trace_point!(tlb_flush_begin, start, end, what);
    smp::call_function_many(others, flush_kernel_remote, &raw const range as usize, || {
        flush_kernel_range_here(start, end);
    });
    trace_point!(tlb_flush_end, start, end, what);
}

fn flush_kernel_remote(range: usize) {
    books::count_vector(vector::TLB);
    // SAFETY: whoever asked waits until we have said that we are done.
    let (start, end) = unsafe { *(range as *const (u32, u32)) };
    flush_kernel_range_here(start, end);
}

fn flush_kernel_range_here(start: u32, end: u32) {
    if (end - start) >> 12 <= SINGLE_PAGE_FLUSH_CEILING && mode() != Mode::FlushAll {
        (start..end).step_by(4096).for_each(paging::flush_tlb_one);
    } else if cpu::has(feature::PGE) {
        // Writing CR4.PGE drops everything (SDM Vol. 3A, "Operations that Invalidate TLBs").
        let flags = irqflags::local_irq_save();
        // SAFETY: the same directory with and without global pages.
        unsafe {
            cpu::clear_cr4_bits(Cr4::PGE);
            cpu::set_cr4_bits(Cr4::PGE);
        }
        irqflags::local_irq_restore(flags);
    } else {
        paging::flush_tlb_local();
    }
}

/// A shootdown begins (`trace_point!`).
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn tlb_flush_begin() {
    naked_asm!("ret")
}

/// All CPUs have said that they did (`trace_point!`).
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn tlb_flush_end() {
    naked_asm!("ret")
}
