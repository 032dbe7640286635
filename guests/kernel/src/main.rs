//! Pagewalk's guest kernel: Linux's shape, names and i386 system calls, in Rust.
//!
//! Reading order: `arch::boot` (`_start`) → [`start_kernel`] → `mm::init` → `arch::traps`
//! → `mm::fault`.
#![no_std]
#![no_main]
#![warn(unsafe_code)]
#![allow(special_module_name, reason = "Linux's folder")]

extern crate alloc;

pub mod arch;
pub mod block;
pub mod drivers;
pub mod fs;
pub mod lib;
pub mod mm;
pub mod module;
pub mod selftest;
pub mod sync;
pub mod syscall;
pub mod task;
pub mod time;

use arch::{
    boot::MULTIBOOT_BOOTLOADER_MAGIC,
    cpu,
    multiboot::{BootInfo, Module},
};
use drivers::{early_uart, pic};
use sync::SpinLock;

/// `uname -s`.
pub const UTS_SYSNAME: &str = "Linux";
/// `uname -r`.
pub const UTS_RELEASE: &str = "6.1.0-pagewalk";
/// `uname -v`.
pub const UTS_VERSION: &str = "#1 Pagewalk";
/// `uname -m`.
pub const UTS_MACHINE: &str = "i686";

static BOOT_INFO: SpinLock<BootInfo> = SpinLock::new(BootInfo::EMPTY);

/// The files that the loader brought: the initramfs and its continuations.
pub fn boot_module(n: usize) -> Option<Module> {
    BOOT_INFO.lock().modules().get(n).copied()
}

/// What the loader told, for those who need it after boot.
pub fn with_boot_info<R>(visit: impl FnOnce(&BootInfo) -> R) -> R {
    visit(&BOOT_INFO.lock())
}

/// Entered from `startup_high` on the boot stack, interrupts off, with the first 16 MiB
/// mapped at `PAGE_OFFSET`.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn start_kernel(magic: u32, info: u32) -> ! {
    arch::init();
    sync::lock_kernel();
    early_uart::init();
    if magic != MULTIBOOT_BOOTLOADER_MAGIC {
        lib::panic::end(format_args!("not started by a Multiboot loader (magic {magic:#010x})"));
    }
    let command_line = {
        let mut boot = BOOT_INFO.lock();
        boot.read(info);
        // SAFETY: the line is in a static that is never written again.
        unsafe { core::mem::transmute::<&str, &'static str>(boot.command_line()) }
    };
    lib::cmdline::init(command_line);
    lib::printk::set_console(lib::cmdline::console_shows_info());
    pr_info!("{} version {} {}", UTS_SYSNAME, UTS_RELEASE, UTS_VERSION);
    mm::boot::init(&BOOT_INFO.lock());
    mm::init();
    arch::tlb::init();
    lib::race::init();
    task::stack::usage::init();
    pr_info!("Kernel command line: {}", command_line);
    print_cpu();
    pic::init(arch::FIRST_EXTERNAL_VECTOR);
    if let Err(error) = time::init() {
        lib::panic::end(format_args!("no tick: {error}"));
    }
    arch::smp::init_boot_cpu();
    arch::local_irq_enable();
    drivers::resource::init();
    arch::smp::claim_resources();
    arch::acpi::acpi_table_init();
    lib::books::publish();
    task::start_init()
}

fn print_cpu() {
    if !cpu::has_cpuid() {
        pr_hw!("CPU: without CPUID");
        return;
    }
    let id = cpu::cpuid(0, 0);
    let signature = cpu::cpuid(1, 0).eax;
    let mut vendor = [0u8; 12];
    for (at, word) in [(0, id.ebx), (4, id.edx), (8, id.ecx)] {
        vendor[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    pr_hw!(
        "CPU: {} family {} model {} stepping {} features {:08x}",
        core::str::from_utf8(&vendor).unwrap_or("?"),
        signature >> 8 & 15,
        signature >> 4 & 15,
        signature & 15,
        cpu::cpuid(1, 0).edx
    );
}
