//! What each CPU has of its own. FS leads there while the kernel runs.
#![allow(unsafe_code)]

use core::{
    arch::asm,
    mem::offset_of,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed},
};

pub use abi::books::NR_CPUS;

use super::tlb::TlbState;
use crate::task::TaskStruct;

/// The data of a CPU. Another CPU reads it, and writes only where a field says so.
#[repr(C, align(64))]
pub struct PerCpu {
    /// Its own address, which FS:0 gives.
    this: AtomicPtr<PerCpu>,
    /// The running task.
    pub current: AtomicPtr<TaskStruct>,
    /// How many spin locks the running code holds, and how often it said that it must not
    /// sleep. It is 0 whenever a task gives the CPU away, so one count serves all tasks.
    preempt_count: AtomicU32,
    /// The running code may lose the CPU at any instruction (`sync::preemptible`). Never true without
    /// the kernel lock, nor while a task switches.
    preemptible: AtomicBool,
    /// How deep the CPU is in interrupt handlers.
    pub hardirq_count: AtomicU32,
    /// Somebody wants `schedule` to be called on the way to ring 3.
    pub need_resched: AtomicBool,
    /// The CPU holds the kernel lock.
    pub holds_kernel: AtomicBool,
    /// The idle task runs.
    pub is_idle: AtomicBool,
    /// The running task has woken another one, and said that it would sleep, since the last tick.
    pub woke_partner: AtomicBool,
    number: AtomicU32,
    apic_id: AtomicU32,
    /// Slots of `kmap_local` in use.
    pub kmap_depth: AtomicU32,
    /// Ticks that the running task has left.
    pub slice_left: AtomicU32,
    /// Which translations the TLB may hold.
    pub tlb: TlbState,
}

impl PerCpu {
    const fn new() -> Self {
        PerCpu {
            this: AtomicPtr::new(core::ptr::null_mut()),
            current: AtomicPtr::new(core::ptr::null_mut()),
            preempt_count: AtomicU32::new(0),
            preemptible: AtomicBool::new(false),
            hardirq_count: AtomicU32::new(0),
            need_resched: AtomicBool::new(false),
            holds_kernel: AtomicBool::new(false),
            is_idle: AtomicBool::new(false),
            woke_partner: AtomicBool::new(false),
            number: AtomicU32::new(0),
            apic_id: AtomicU32::new(0),
            kmap_depth: AtomicU32::new(0),
            slice_left: AtomicU32::new(0),
            tlb: TlbState::new(),
        }
    }

    /// The CPU's number, from 0.
    pub fn number(&self) -> u32 {
        self.number.load(Relaxed)
    }

    /// The CPU's bit in a mask.
    pub fn bit(&self) -> u32 {
        1 << self.number()
    }

    /// The number of its local APIC.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Relaxed)
    }

    /// Says which local APIC it has.
    pub fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Relaxed);
    }
}

static CPUS: [PerCpu; NR_CPUS] = [const { PerCpu::new() }; NR_CPUS];

/// The data of a CPU.
pub fn per_cpu(number: u32) -> &'static PerCpu {
    &CPUS[number as usize]
}

/// The address that FS of a CPU gets as its base; from then on [`this_cpu`] works there.
pub(super) fn prepare(number: u32) -> u32 {
    let cpu = per_cpu(number);
    cpu.this.store((&raw const *cpu).cast_mut(), Relaxed);
    cpu.number.store(number, Relaxed);
    &raw const *cpu as u32
}

/// The data of the running CPU. It is another's after a sleep.
#[inline(always)]
pub fn this_cpu() -> &'static PerCpu {
    let at: *const PerCpu;
    // SAFETY: FS is loaded with the CPU's own segment on every way into the kernel, and the
    // first word there is the address of a static.
    unsafe {
        asm!("mov {}, fs:[{this}]", out(reg) at, this = const offset_of!(PerCpu, this),
             options(readonly, nostack, preserves_flags));
        &*at
    }
}

/// The number of the running CPU (`smp_processor_id`).
pub fn cpu_number() -> u32 {
    this_cpu().number()
}

/// The running task of this CPU; null before there is one.
#[inline(always)]
pub fn current_task() -> *const TaskStruct {
    let at;
    // SAFETY: as in `this_cpu`. One instruction: the CPU cannot be another's in between.
    unsafe {
        asm!("mov {}, fs:[{current}]", out(reg) at, current = const offset_of!(PerCpu, current),
             options(readonly, nostack, preserves_flags));
    }
    at
}

/// One reason more not to sleep.
#[inline(always)]
pub fn preempt_count_add() {
    // SAFETY: as in `this_cpu`.
    unsafe { asm!("add dword ptr fs:[{count}], 1", count = const offset_of!(PerCpu, preempt_count), options(nostack)) };
}

/// One reason less.
#[inline(always)]
pub fn preempt_count_sub() {
    // SAFETY: as in `this_cpu`.
    unsafe { asm!("sub dword ptr fs:[{count}], 1", count = const offset_of!(PerCpu, preempt_count), options(nostack)) };
}

/// Says whether the running code may lose the CPU at any instruction. One instruction, since the
/// CPU may be another's right before or after it.
#[inline(always)]
pub fn set_preemptible(may: bool) {
    // SAFETY: as in `this_cpu`; a `bool` is a byte of 0 or 1.
    unsafe {
        asm!("mov byte ptr fs:[{flag}], {may}", flag = const offset_of!(PerCpu, preemptible),
             may = in(reg_byte) u8::from(may), options(nostack, preserves_flags));
    }
}

/// A flag of the CPU that runs, by its offset in [`PerCpu`]; one instruction, as in [`set_preemptible`].
#[inline(always)]
fn flag<const OFFSET: usize>() -> bool {
    let value: u8;
    // SAFETY: as in `set_preemptible`; the offsets below are those of flags.
    unsafe {
        asm!("mov {value}, byte ptr fs:[{offset}]", offset = const OFFSET,
             value = out(reg_byte) value, options(nostack, preserves_flags, readonly));
    }
    value != 0
}

/// Whether the running code may lose the CPU at any instruction.
#[inline(always)]
pub fn is_preemptible() -> bool {
    flag::<{ offset_of!(PerCpu, preemptible) }>()
}

/// Whether somebody wants `schedule` to be called.
#[inline(always)]
pub fn need_resched() -> bool {
    flag::<{ offset_of!(PerCpu, need_resched) }>()
}

/// `preempt_count`.
pub fn preempt_count() -> u32 {
    this_cpu().preempt_count.load(Relaxed)
}
