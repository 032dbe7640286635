//! The end: a panic of Rust code.

use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{oops, points, printk};
use crate::{
    arch::{cpu, irqflags, smp},
    drivers::debug_exit,
};

/// What the host sees as the exit status of a panic.
const PANIC_STATUS: u32 = 134;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn rust_panic(info: &PanicInfo) -> ! {
    irqflags::local_irq_disable();
    if PANICKING.swap(true, Ordering::Relaxed) {
        stop();
    }
    printk::force_unlock();
    if let Some(at) = info.location() {
        crate::pr_info!("kernel BUG at {}:{}!", at.file(), at.line());
    }
    oops::show_backtrace(cpu::frame_pointer());
    end(format_args!("{}", info.message()))
}

/// Linux's last line, then the machine ends.
pub fn end(message: core::fmt::Arguments) -> ! {
    irqflags::local_irq_disable();
    PANICKING.store(true, Ordering::Relaxed);
    smp::stop_others();
    printk::force_unlock();
    crate::pr_info!("Kernel panic - not syncing: {message}");
    crate::pr_info!("---[ end Kernel panic - not syncing: {message} ]---");
    points::panicked(message);
    stop()
}

fn stop() -> ! {
    debug_exit::exit(PANIC_STATUS);
    irqflags::halt_forever()
}
