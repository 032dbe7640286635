//! The processor: boot, descriptor tables, traps, paging, context switch.

pub mod acpi;
pub mod apic;
pub mod boot;
pub mod cpu;
pub mod cpuinfo;
mod entry;
pub mod extable;
pub mod fpu;
pub mod gdt;
mod idt;
pub mod io;
pub mod ioapic;
pub mod irqflags;
pub mod mpconfig;
pub mod multiboot;
pub mod paging;
pub mod percpu;
pub mod process;
pub mod ptregs;
pub mod smp;
pub mod tlb;
pub mod tls;
pub mod traps;

pub use idt::FIRST_EXTERNAL_VECTOR;
pub use irqflags::{irqs_disabled, local_irq_disable, local_irq_enable, local_irq_restore, local_irq_save};
pub use process::{ThreadStruct, switch_to, task_pt_regs};
pub use ptregs::PtRegs;

/// First linear address of the kernel, where physical address 0 is mapped.
pub const PAGE_OFFSET: u32 = 0xC000_0000;
/// First address that no user mapping can have.
pub const TASK_SIZE: u32 = PAGE_OFFSET;
/// Bytes of a kernel stack, which is aligned to them.
pub const THREAD_SIZE: u32 = 8192;

/// Descriptor tables, traps and the FPU of the boot CPU.
pub fn init() {
    cpu::identify();
    gdt::init(0, boot::sections::init_stack(), traps::double_fault_entry());
    idt::init();
    fpu::init();
}

/// The same on another CPU, which runs on the stack at `stack`.
pub fn init_secondary(number: u32, stack: u32) {
    gdt::init(number, stack, traps::double_fault_entry());
    idt::load();
    fpu::init();
}
