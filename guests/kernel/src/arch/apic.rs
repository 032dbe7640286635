//! The local APIC of each CPU: messages to other CPUs, the tick, the end of interrupts
//! (SDM Vol. 3A, "Advanced Programmable Interrupt Controller").
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::{
    paging::{self, FIX_APIC},
    percpu::this_cpu,
};
use crate::time::{TICK_NSEC, ktime_get_ns};

/// The tick.
pub const LOCAL_TIMER_VECTOR: u8 = 0xec;
/// Class of the vectors that CPUs send to each other: the highest.
pub const IPI_CLASS: u8 = 0xf0;
/// A CPU stops for good.
pub const REBOOT_VECTOR: u8 = 0xf8;
/// A CPU runs a function that another one asks for.
pub const CALL_FUNCTION_VECTOR: u8 = 0xfc;
/// A CPU looks whom it should run.
pub const RESCHEDULE_VECTOR: u8 = 0xfd;
/// The APIC found an error.
pub const ERROR_VECTOR: u8 = 0xfe;
/// An interrupt went away before it was taken.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Offsets of the registers.
mod reg {
    pub const ID: u32 = 0x20;
    pub const TPR: u32 = 0x80;
    pub const EOI: u32 = 0xb0;
    pub const LDR: u32 = 0xd0;
    pub const DFR: u32 = 0xe0;
    pub const SVR: u32 = 0xf0;
    pub const ESR: u32 = 0x280;
    pub const ICR_LOW: u32 = 0x300;
    pub const ICR_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3e0;
}

const SVR_ENABLED: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
const MODE_NMI: u32 = 4 << 8;
const MODE_INIT: u32 = 5 << 8;
const MODE_STARTUP: u32 = 6 << 8;
const MODE_EXTINT: u32 = 7 << 8;
const ICR_PENDING: u32 = 1 << 12;
const ICR_ASSERT: u32 = 1 << 14;
const ICR_LEVEL: u32 = 1 << 15;
const ICR_LOGICAL: u32 = 1 << 11;
const ICR_ALL_BUT_SELF: u32 = 3 << 18;
/// Divides by 16.
const DIVIDE_BY_16: u32 = 3;
/// How long the timer is compared with the clock.
const CALIBRATION_NS: u64 = 100_000;

static PRESENT: AtomicBool = AtomicBool::new(false);
/// Counts of the timer in a tick.
static TICK_COUNT: AtomicU32 = AtomicU32::new(0);

fn at(offset: u32) -> *mut u32 {
    (FIX_APIC + offset) as *mut u32
}

fn read(offset: u32) -> u32 {
    debug_assert!(is_present());
    // SAFETY: `map` mapped the registers; reading those named here has no effect.
    unsafe { at(offset).read_volatile() }
}

fn write(offset: u32, value: u32) {
    debug_assert!(is_present());
    // SAFETY: `map` mapped the registers, and this module keeps the APIC's rules.
    unsafe { at(offset).write_volatile(value) };
}

/// Makes the registers at a physical address reachable, which is the same for all CPUs.
pub fn map(phys: u32) {
    paging::set_fixmap(FIX_APIC, phys);
    PRESENT.store(true, Relaxed);
}

/// Whether the machine has local APICs that are used.
pub fn is_present() -> bool {
    PRESENT.load(Relaxed)
}

/// The number of this CPU's APIC.
pub fn id() -> u32 {
    read(reg::ID) >> 24
}

/// Whose interrupts reach a CPU through LINT0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lint0 {
    /// Nobody's.
    Masked,
    /// The 8259's (virtual wire).
    ExtInt,
}

/// Switches this CPU's APIC on: flat logical numbers, errors and spurious interrupts reported,
/// LINT1 an NMI on the boot CPU.
pub fn setup(lint0: Lint0) {
    let cpu = this_cpu();
    cpu.set_apic_id(id());
    write(reg::DFR, !0);
    write(reg::LDR, cpu.bit() << 24);
    write(reg::TPR, 0);
    write(reg::SVR, SVR_ENABLED | u32::from(SPURIOUS_VECTOR));
    let nmi = if cpu.number() == 0 { 0 } else { LVT_MASKED };
    write(reg::LVT_LINT0, MODE_EXTINT | if lint0 == Lint0::ExtInt { 0 } else { LVT_MASKED });
    write(reg::LVT_LINT1, MODE_NMI | nmi);
    write(reg::ESR, 0);
    write(reg::LVT_ERROR, ERROR_VECTOR.into());
    write(reg::LVT_TIMER, LVT_MASKED);
}

/// Measures the timer of the boot CPU against the clock, which was measured against the PIT;
/// says how many counts a second there are before the divider.
pub fn calibrate_timer() -> u32 {
    write(reg::TIMER_DIVIDE, DIVIDE_BY_16);
    write(reg::LVT_TIMER, LVT_MASKED | u32::from(LOCAL_TIMER_VECTOR));
    write(reg::TIMER_INITIAL, !0);
    let (from_count, from_ns) = (read(reg::TIMER_CURRENT), ktime_get_ns());
    while ktime_get_ns() - from_ns < CALIBRATION_NS {
        core::hint::spin_loop();
    }
    let (counts, ns) = (u64::from(from_count - read(reg::TIMER_CURRENT)), ktime_get_ns() - from_ns);
    write(reg::TIMER_INITIAL, 0);
    TICK_COUNT.store((counts * TICK_NSEC / ns).max(1) as u32, Relaxed);
    (counts * 16 * 1_000_000_000 / ns) as u32
}

/// This CPU's tick begins.
pub fn start_timer() {
    write(reg::TIMER_DIVIDE, DIVIDE_BY_16);
    write(reg::LVT_TIMER, LVT_PERIODIC | u32::from(LOCAL_TIMER_VECTOR));
    write(reg::TIMER_INITIAL, TICK_COUNT.load(Relaxed));
}

/// Ends the interrupt that is being handled.
pub fn eoi() {
    write(reg::EOI, 0);
}

/// Lets only vectors of a higher class in.
pub fn set_task_priority(class: u8) {
    write(reg::TPR, class.into());
}

/// Reads and clears the errors.
pub fn take_errors() -> u32 {
    write(reg::ESR, 0);
    read(reg::ESR)
}

fn send(destination: u32, command: u32) {
    while read(reg::ICR_LOW) & ICR_PENDING != 0 {
        core::hint::spin_loop();
    }
    write(reg::ICR_HIGH, destination << 24);
    write(reg::ICR_LOW, command);
}

/// Sends a vector to the CPUs of a mask. Interrupts are off, or the caller sends nothing from
/// handlers either.
pub fn send_mask(cpus: u32, vector: u8) {
    send(cpus, ICR_LOGICAL | ICR_ASSERT | u32::from(vector));
}

/// Sends a vector to all other CPUs.
pub fn send_all_but_self(vector: u8) {
    send(0, ICR_ALL_BUT_SELF | ICR_ASSERT | u32::from(vector));
}

/// INIT to the CPU with an APIC number, which then waits for `send_startup`.
pub fn send_init(apic_id: u32) {
    send(apic_id, MODE_INIT | ICR_LEVEL | ICR_ASSERT);
    send(apic_id, MODE_INIT | ICR_LEVEL);
}

/// The CPU begins in real mode at a page below 1 MiB.
pub fn send_startup(apic_id: u32, page: u32) {
    send(apic_id, MODE_STARTUP | ICR_ASSERT | page >> 12);
}
