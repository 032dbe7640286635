//! The end of the boot: the first task becomes idle, PID 1 runs the first program.
#![allow(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};

use abi::errno::{ENOENT, Result};

use super::{
    TaskStruct, current,
    exec::{self, Strings},
    kthread::new_kernel_task,
    pid, sched,
    signal::SIGCHLD,
};
use crate::{
    arch::{PtRegs, local_irq_enable, smp, task_pt_regs},
    drivers::{ata, random, tty},
    fs::{self, OnExec, file::o, namei::Last},
    lib::{cmdline, panic},
    mm, pr_info, selftest,
};

/// Programs that are tried as PID 1, after `rdinit=` or `init=`.
const CANDIDATES: [&str; 5] = ["/init", "/.pagewalk/init", "/sbin/init", "/bin/init", "/bin/sh"];

/// Makes PID 1 and becomes the idle task.
pub fn start_init() -> ! {
    if let Some(seed) = cmdline::value_of("random.seed").and_then(cmdline::memparse) {
        random::seed(seed);
    }
    fs::init();
    sched::init();
    mm::start_threads();
    match new_init_task() {
        Ok(task) => {
            pid::insert(&task);
            sched::make_ready(&task);
        }
        Err(error) => panic::end(format_args!("cannot make PID 1: {error}")),
    }
    sched::cpu_idle()
}

fn new_init_task() -> Result<Arc<TaskStruct>> {
    let number = pid::alloc()?;
    let task = new_kernel_task("init", number, kernel_init, 0)?;
    task.exit_signal.store(SIGCHLD, core::sync::atomic::Ordering::Relaxed);
    Ok(task)
}

/// PID 1 in the kernel: finds the disks, unpacks the initramfs, opens the console, and becomes the first
/// program by returning.
extern "C" fn kernel_init(_: u32) {
    kernel_init_freeable();
    let mut regs = PtRegs::default();
    run_init_process(&mut regs);
    // SAFETY: the top of this thread's stack is reserved for these registers, and nothing
    // else looks at them before ring 3 is entered.
    unsafe { task_pt_regs(current().stack_base()).write(regs) };
}

/// What comes before the first program. By itself: the program's loading needs the stack.
#[inline(never)]
fn kernel_init_freeable() {
    local_irq_enable();
    smp::bring_up();
    selftest::run();
    ata::init();
    if let Err(error) = fs::populate() {
        panic::end(format_args!("cannot make the root: {error}"));
    }
    tty::init();
    if let Err(error) = open_console() {
        pr_info!("Warning: unable to open an initial console: {error}");
    }
    swapon();
}

/// Swaps to what `swap=` names.
fn swapon() {
    let Some(path) = cmdline::value_of("swap").filter(|path| !path.is_empty()) else { return };
    let found = fs::namei::lookup(path.as_bytes(), Last::Follow);
    if let Err(error) = found.and_then(|area| mm::swapfile::swapon(area, 0)) {
        pr_info!("swap={path}: {error}");
    }
}

/// Descriptors 0, 1 and 2.
fn open_console() -> Result<()> {
    let file = fs::namei::open(None, b"/dev/console", o::RDWR, 0)?;
    let files = current().files();
    for fd in 0..3 {
        files.lock().set(fd, file.clone(), OnExec::Keep);
    }
    Ok(())
}

fn run_init_process(regs: &mut PtRegs) {
    let envp = Strings::of(&[b"HOME=/", b"TERM=linux"]);
    let asked = cmdline::value_of("rdinit").or(cmdline::value_of("init")).filter(|path| !path.is_empty());
    for path in asked.into_iter().chain(CANDIDATES) {
        let argv = Strings::of(&[path.as_bytes()]);
        let name: Vec<u8> = path.into();
        match exec::do_execve(None, name, Last::Follow, argv, envp.clone(), regs) {
            Ok(()) => {
                pr_info!("Run {path} as init process");
                return;
            }
            Err(ENOENT) if Some(path) != asked => {}
            Err(error) => pr_info!("Failed to execute {path} (error {})", error.to_ret()),
        }
    }
    panic::end(format_args!(
        "No working init found.  Try passing init= option to kernel. See Linux Documentation/admin-guide/init.rst for guidance."
    ))
}
