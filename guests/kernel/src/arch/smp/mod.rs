//! Several CPUs: what one asks of others, and how they are started.
#![allow(unsafe_code)]

mod boot;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use abi::proc::interrupts::vector;

pub use super::percpu::NR_CPUS;
use super::{
    apic, irqflags,
    percpu::{per_cpu, this_cpu},
};
use crate::{lib::books, sync::holds_kernel};

pub use boot::{bring_up, claim_resources, init_boot_cpu, possible_mask, reserve_trampoline};

/// CPUs that run, as a mask.
static ONLINE: AtomicU32 = AtomicU32::new(1);

/// CPUs that run, as a mask.
pub fn online_mask() -> u32 {
    ONLINE.load(Ordering::SeqCst)
}

/// How many CPUs run.
pub fn num_online_cpus() -> u32 {
    online_mask().count_ones()
}

/// Whether a CPU runs.
pub fn is_online(number: u32) -> bool {
    number < NR_CPUS as u32 && online_mask() & 1 << number != 0
}

/// The one request that can be under way: who asks holds the kernel lock.
struct Call {
    func: AtomicUsize,
    argument: AtomicUsize,
    /// CPUs that have not done it yet.
    pending: AtomicU32,
}

static CALL: Call = Call { func: AtomicUsize::new(0), argument: AtomicUsize::new(0), pending: AtomicU32::new(0) };

/// The CPUs of a mask run `func(argument)` in an interrupt handler, this one `local` meanwhile.
/// Returns when all have (`smp_call_function_many`).
///
/// The others can always answer: they are in ring 3, or halted, or wait for the kernel lock with
/// these messages let in.
pub fn call_function_many(cpus: u32, func: fn(usize), argument: usize, local: impl FnOnce()) {
    debug_assert!(holds_kernel() && cpus & this_cpu().bit() == 0);
    let flags = irqflags::local_irq_save();
    debug_assert_eq!(CALL.pending.load(Ordering::SeqCst), 0);
    CALL.func.store(func as usize, Ordering::Relaxed);
    CALL.argument.store(argument, Ordering::Relaxed);
    CALL.pending.store(cpus, Ordering::SeqCst);
    apic::send_mask(cpus, apic::CALL_FUNCTION_VECTOR);
    local();
    while CALL.pending.load(Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    irqflags::local_irq_restore(flags);
}

/// Asks a CPU to look whom it should run, and whether its task has a signal.
pub fn send_reschedule(number: u32) {
    if number == this_cpu().number() {
        this_cpu().need_resched.store(true, Ordering::Relaxed);
    } else if is_online(number) {
        let flags = irqflags::local_irq_save();
        apic::send_mask(1 << number, apic::RESCHEDULE_VECTOR);
        irqflags::local_irq_restore(flags);
    }
}

/// Handles what other CPUs send, and the APIC's own complaints, without the kernel lock.
/// `false` for a vector that is none of these.
pub fn handle_vector(number: u8) -> bool {
    match number {
        apic::SPURIOUS_VECTOR => books::count_vector(vector::SPU),
        apic::RESCHEDULE_VECTOR => {
            apic::eoi();
            books::count_vector(vector::RES);
            this_cpu().need_resched.store(true, Ordering::Relaxed);
        }
        apic::CALL_FUNCTION_VECTOR => {
            apic::eoi();
            books::count_vector(vector::CAL);
            run_call();
        }
        apic::REBOOT_VECTOR => irqflags::halt_forever(),
        apic::ERROR_VECTOR => {
            apic::take_errors();
            apic::eoi();
        }
        _ => return false,
    }
    true
}

fn run_call() {
    let bit = this_cpu().bit();
    if CALL.pending.load(Ordering::SeqCst) & bit == 0 {
        return;
    }
    let (func, argument) = (CALL.func.load(Ordering::Relaxed), CALL.argument.load(Ordering::Relaxed));
    // SAFETY: `call_function_many` put a function of this type there, and waits for us.
    let func: fn(usize) = unsafe { core::mem::transmute(func) };
    func(argument);
    CALL.pending.fetch_and(!bit, Ordering::Release);
}

static STOPPED: AtomicBool = AtomicBool::new(false);

/// All other CPUs stop for good: the kernel has failed.
pub fn stop_others() {
    if apic::is_present() && num_online_cpus() > 1 && !STOPPED.swap(true, Ordering::Relaxed) {
        apic::send_all_but_self(apic::REBOOT_VECTOR);
    }
}

/// The numbers of the CPUs that run.
pub fn online() -> impl Iterator<Item = u32> {
    let mask = online_mask();
    (0..NR_CPUS as u32).filter(move |number| mask & 1 << number != 0)
}

/// Whether a CPU has nothing to do.
pub fn is_idle(number: u32) -> bool {
    per_cpu(number).is_idle.load(Ordering::Relaxed)
}
