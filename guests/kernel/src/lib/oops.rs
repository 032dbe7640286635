//! What is printed when the kernel itself has failed.
#![allow(unsafe_code)]

use x86::{Cr0, Eflags};

use super::{kallsyms, panic, points, printk};
use crate::{
    arch::{PAGE_OFFSET, PtRegs, THREAD_SIZE, cpu, percpu::cpu_number},
    module, pr_info, printk, task,
};

/// Prints the registers in Linux's arrangement.
pub fn show_regs(regs: &PtRegs) {
    let (pid, comm) = task::pid_and_comm();
    pr_info!(
        "CPU: {} PID: {} Comm: {} Not tainted {} {}",
        cpu_number(),
        pid,
        comm,
        crate::UTS_RELEASE,
        crate::UTS_VERSION
    );
    pr_info!("EIP: {}", kallsyms::Symbol(regs.eip));
    print_code(regs.eip);
    pr_info!("EAX: {:08x} EBX: {:08x} ECX: {:08x} EDX: {:08x}", regs.eax, regs.ebx, regs.ecx, regs.edx);
    pr_info!("ESI: {:08x} EDI: {:08x} EBP: {:08x} ESP: {:08x}", regs.esi, regs.edi, regs.ebp, regs.stack_pointer());
    let ss = if regs.user_mode() { regs.ss } else { crate::arch::gdt::KERNEL_DS.into() };
    pr_info!(
        "DS: {:04x} ES: {:04x} FS: {:04x} GS: {:04x} SS: {:04x} EFLAGS: {:08x}",
        regs.ds as u16,
        regs.es as u16,
        regs.fs as u16,
        regs.gs as u16,
        ss as u16,
        regs.eflags & !Eflags::RF.bits()
    );
    let cr0: Cr0 = cpu::read_cr0();
    pr_info!(
        "CR0: {:08x} CR2: {:08x} CR3: {:08x} CR4: {:08x}",
        cr0.bits(),
        cpu::read_cr2(),
        cpu::read_cr3(),
        cpu::read_cr4().bits()
    );
}

/// The bytes around the failing instruction, with the first of it in brackets.
fn print_code(eip: u32) {
    use crate::arch::boot::sections;
    let inside = |at: u32| (sections::text()..sections::etext()).contains(&at) || module::is_module_text(at);
    if !inside(eip) {
        pr_info!("Code: Unable to access opcode bytes at {:#x}.", eip);
        return;
    }
    printk!("Code:");
    for at in eip.saturating_sub(16)..eip + 16 {
        if inside(at) {
            // SAFETY: inside the kernel's code or a module's.
            let byte = unsafe { (at as *const u8).read() };
            if at == eip { printk!(" <{byte:02x}>") } else { printk!(" {byte:02x}") }
        }
    }
    printk!("\n");
}

/// Calls `visit` with the return addresses of the chain of frames from `frame`, as long as
/// it stays on one kernel stack and `visit` wants more.
fn walk_stack(frame: u32, mut visit: impl FnMut(u32) -> bool) {
    let stack = frame & !(THREAD_SIZE - 1);
    let mut frame = frame;
    for _ in 0..32 {
        let on_stack = frame >= PAGE_OFFSET && frame & 3 == 0 && frame & !(THREAD_SIZE - 1) == stack;
        if !on_stack || frame + 8 > stack + THREAD_SIZE {
            break;
        }
        // SAFETY: two words of a kernel stack, which is mapped as a whole.
        let [next, ret] = unsafe { (frame as *const [u32; 2]).read() };
        if ret == 0 || !visit(ret) || next <= frame {
            break;
        }
        frame = next;
    }
}

/// Prints the functions that led to `frame`.
pub fn show_backtrace(frame: u32) {
    pr_info!("Call Trace:");
    walk_stack(frame, |ret| {
        pr_info!(" {}", kallsyms::ReturnAddress(ret));
        true
    });
}

/// The return address of the first function from `frame` on whose name has none of `parts`;
/// 0 if there is none.
pub fn caller_outside(frame: u32, parts: &[&str]) -> u32 {
    let mut found = 0;
    walk_stack(frame, |ret| {
        let inside = kallsyms::lookup(ret - 1).is_some_and(|(name, ..)| parts.iter().any(|part| name.contains(part)));
        if !inside {
            found = ret;
        }
        inside
    });
    found
}

/// Everything about a fault of the kernel, and the end.
pub fn die(what: core::fmt::Arguments, regs: &PtRegs, error_code: u32) -> ! {
    points::died(regs, error_code);
    printk::set_console(true);
    pr_info!("Oops: {:04x} [#1] {}", error_code, what);
    show_regs(regs);
    show_backtrace(regs.ebp);
    module::print_modules();
    pr_info!("---[ end trace 0000000000000000 ]---");
    panic::end(format_args!("Fatal exception"))
}

/// `BUG()`: the kernel found itself in a state that must not be, and has said which. Prints
/// how it came there, and ends.
pub fn bug(what: &str) -> ! {
    bug_of(format_args!("{what}"))
}

/// `dump_stack`: who runs, and the functions that led here.
pub fn dump_stack() {
    let comm = task::running();
    pr_info!(
        "CPU: {} PID: {} Comm: {comm} Not tainted {} {}",
        cpu_number(),
        comm.pid,
        crate::UTS_RELEASE,
        crate::UTS_VERSION
    );
    show_backtrace(cpu::frame_pointer());
}

/// The same with more to say.
pub fn bug_of(what: core::fmt::Arguments) -> ! {
    printk::set_console(true);
    dump_stack();
    pr_info!("---[ end trace 0000000000000000 ]---");
    panic::end(what)
}
