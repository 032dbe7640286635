//! Exceptions and interrupts, after the assembly has saved the registers.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use abi::proc::interrupts::vector as counted;
use x86::{Eflags, Vector};

use super::{
    apic, cpu, extable, gdt,
    idt::{FIRST_APIC_VECTOR, FIRST_EXTERNAL_VECTOR},
    irqflags,
    percpu::{need_resched, set_preemptible, this_cpu},
    ptregs::PtRegs,
    smp,
};
use crate::{
    drivers::irq,
    lib::{books, kallsyms::Symbol, oops, panic},
    mm::{fault, oom},
    pr_info,
    sync::{enter_handler, holds_kernel, leave_handler, lock_kernel, unlock_kernel},
    syscall,
    task::{self, sched, signal},
    time,
};

/// Signal numbers and codes of the exceptions.
mod sig {
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGSEGV: u32 = 11;
    pub const SI_KERNEL: u32 = 0x80;
    pub const ILL_ILLOPN: u32 = 2;
    pub const FPE_INTDIV: u32 = 1;
    pub const FPE_FLTDIV: u32 = 3;
    pub const FPE_FLTOVF: u32 = 4;
    pub const FPE_FLTUND: u32 = 5;
    pub const FPE_FLTRES: u32 = 6;
    pub const FPE_FLTINV: u32 = 7;
    pub const TRAP_TRACE: u32 = 2;
    pub const BUS_ADRALN: u32 = 1;
}

/// Whether an interrupt handler runs on this CPU.
pub fn in_interrupt() -> bool {
    this_cpu().hardirq_count.load(Relaxed) != 0
}

/// Runs an interrupt handler.
fn hardirq(handler: impl FnOnce()) {
    let count = &this_cpu().hardirq_count;
    count.store(count.load(Relaxed) + 1, Relaxed);
    handler();
    count.store(count.load(Relaxed) - 1, Relaxed);
}

#[unsafe(no_mangle)]
extern "C" fn do_trap(regs: &mut PtRegs, vector: u32, error_code: u32) {
    let vector = vector as u8;
    // What needs no kernel lock, and must not wait for it.
    if vector == 2 {
        books::count_vector(counted::NMI);
        pr_info!("Uhhuh. NMI received for unknown reason on CPU {}.", this_cpu().number());
        return;
    }
    if vector >= FIRST_APIC_VECTOR && vector != apic::LOCAL_TIMER_VECTOR {
        let interrupted = enter_handler();
        hardirq(|| {
            smp::handle_vector(vector);
        });
        leave_handler(interrupted);
        return;
    }
    // A handler of another CPU's message may come before we have the lock, but takes no fault.
    let cr2 = cpu::read_cr2();
    let taken = lock_kernel();
    let interrupted = enter_handler();
    handle(regs, vector, error_code, cr2);
    if !regs.user_mode() {
        irqflags::local_irq_disable();
        if taken {
            // It came in the idle loop, or on the last instructions before ring 3.
            unlock_kernel();
        } else if regs.eflags & Eflags::IF.bits() != 0 {
            leave_handler(interrupted);
        } else {
            set_preemptible(interrupted);
        }
    }
}

fn handle(regs: &mut PtRegs, vector: u8, error_code: u32, cr2: u32) {
    match vector {
        apic::LOCAL_TIMER_VECTOR => hardirq(|| {
            apic::eoi();
            books::count_vector(counted::LOC);
            time::local_timer_interrupt();
        }),
        v if v >= FIRST_EXTERNAL_VECTOR => hardirq(|| irq::handle(v - FIRST_EXTERNAL_VECTOR)),
        14 => {
            if regs.eflags & Eflags::IF.bits() != 0 {
                irqflags::local_irq_enable();
            }
            fault::do_page_fault(regs, error_code, cr2);
        }
        v => exception(regs, Vector(v), if error_code == !0 { 0 } else { error_code }),
    }
}

/// By itself: what it needs of the stack, interrupts should not.
#[cold]
#[inline(never)]
fn exception(regs: &mut PtRegs, vector: Vector, error_code: u32) {
    if !regs.user_mode() {
        if let Some(fixup) = extable::search(regs.eip) {
            regs.eip = fixup;
            return;
        }
        oops::die(format_args!("{}", describe(vector)), regs, error_code);
    }
    irqflags::local_irq_enable();
    let eip = regs.eip;
    let (signal, code, addr) = match vector {
        Vector::DIVIDE_ERROR => (sig::SIGFPE, sig::FPE_INTDIV, eip),
        Vector::DEBUG => (sig::SIGTRAP, sig::TRAP_TRACE, eip),
        Vector::BREAKPOINT => (sig::SIGTRAP, sig::SI_KERNEL, 0),
        Vector::INVALID_OPCODE => (sig::SIGILL, sig::ILL_ILLOPN, eip),
        Vector::X87_ERROR | Vector::SIMD_ERROR => (sig::SIGFPE, fpu_code(vector), eip),
        Vector::ALIGNMENT_CHECK => (sig::SIGBUS, sig::BUS_ADRALN, 0),
        Vector::OVERFLOW | Vector::BOUND_RANGE => (sig::SIGSEGV, sig::SI_KERNEL, 0),
        Vector::INVALID_TSS | Vector::SEGMENT_NOT_PRESENT | Vector::STACK_FAULT => (sig::SIGBUS, sig::SI_KERNEL, 0),
        _ => (sig::SIGSEGV, sig::SI_KERNEL, 0),
    };
    if vector == Vector::DEBUG {
        regs.eflags &= !Eflags::TF.bits();
    }
    if signal == sig::SIGSEGV || vector == Vector::INVALID_OPCODE || vector == Vector::DIVIDE_ERROR {
        log_user_trap(regs, vector, error_code);
    }
    signal::force_sig_fault(signal, code, addr, vector.0.into(), error_code);
}

/// The line that Linux prints when a program is about to die of an exception.
fn log_user_trap(regs: &PtRegs, vector: Vector, error_code: u32) {
    if signal::is_handled(if vector == Vector::INVALID_OPCODE {
        sig::SIGILL
    } else if vector == Vector::DIVIDE_ERROR {
        sig::SIGFPE
    } else {
        sig::SIGSEGV
    }) {
        return;
    }
    let (pid, comm) = task::pid_and_comm();
    crate::printk!(
        "traps: {comm}[{pid}] {} ip:{:x} sp:{:x} error:{:x}",
        match vector {
            Vector::INVALID_OPCODE => "trap invalid opcode",
            Vector::DIVIDE_ERROR => "trap divide error",
            Vector::GENERAL_PROTECTION => "general protection fault",
            other => describe(other),
        },
        regs.eip,
        regs.esp,
        error_code
    );
    fault::print_vma_addr(" in ", regs.eip);
    crate::printk!("\n");
}

fn describe(vector: Vector) -> &'static str {
    match vector {
        Vector::DIVIDE_ERROR => "divide error",
        Vector::DEBUG => "debug",
        Vector::BREAKPOINT => "int3",
        Vector::OVERFLOW => "overflow",
        Vector::BOUND_RANGE => "bounds",
        Vector::INVALID_OPCODE => "invalid opcode",
        Vector::DEVICE_NOT_AVAILABLE => "device not available",
        Vector::INVALID_TSS => "invalid TSS",
        Vector::SEGMENT_NOT_PRESENT => "segment not present",
        Vector::STACK_FAULT => "stack segment",
        Vector::GENERAL_PROTECTION => "general protection fault",
        Vector::X87_ERROR => "fpu exception",
        Vector::ALIGNMENT_CHECK => "alignment check",
        Vector::MACHINE_CHECK => "machine check",
        Vector::SIMD_ERROR => "simd exception",
        _ => "spurious trap",
    }
}

/// The si_code of a floating-point exception: the first unmasked one.
fn fpu_code(vector: Vector) -> u32 {
    let pending = super::fpu::pending_exceptions(vector == Vector::SIMD_ERROR);
    match pending {
        p if p & 0x01 != 0 => sig::FPE_FLTINV,
        p if p & 0x04 != 0 => sig::FPE_FLTDIV,
        p if p & 0x08 != 0 => sig::FPE_FLTOVF,
        p if p & 0x12 != 0 => sig::FPE_FLTUND,
        p if p & 0x20 != 0 => sig::FPE_FLTRES,
        _ => sig::SI_KERNEL,
    }
}

#[unsafe(no_mangle)]
extern "C" fn do_int80_syscall(regs: &mut PtRegs) {
    lock_kernel();
    irqflags::local_irq_enable();
    syscall::dispatch(regs);
}

/// The last stop before ring 3: gives the CPU away if it is time, delivers signals, gives the
/// kernel lock back. Entered and left with interrupts off.
#[unsafe(no_mangle)]
extern "C" fn exit_to_user_mode(regs: &mut PtRegs) {
    if !holds_kernel() {
        // Another CPU's message came in ring 3.
        if !need_resched() {
            return;
        }
        lock_kernel();
    }
    oom::check_reserve();
    if regs.orig_eax == !0 && need_resched() {
        // An interrupt ends a stretch of ring 3; a system call has counted when it began.
        sched::account(&task::current(), sched::Mode::User);
    }
    loop {
        irqflags::local_irq_disable();
        if need_resched() {
            irqflags::local_irq_enable();
            sched::schedule();
        } else if signal::has_work() {
            irqflags::local_irq_enable();
            signal::do_signal(regs);
        } else {
            break;
        }
    }
    unlock_kernel();
}

/// Where the task that handles double faults begins.
pub fn double_fault_entry() -> u32 {
    double_fault as *const () as u32
}

/// Runs in a task of its own, because the kernel stack that overflowed is of no use.
extern "C" fn double_fault() -> ! {
    let [eip, esp, ebp, cr3] = gdt::state_before_double_fault();
    crate::lib::printk::force_unlock();
    pr_info!("PANIC: double fault, EIP: {} ESP: {:08x} EBP: {:08x} CR3: {:08x}", Symbol(eip), esp, ebp, cr3);
    oops::show_backtrace(ebp);
    panic::end(format_args!("Double fault"))
}
