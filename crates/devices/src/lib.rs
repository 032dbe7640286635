//! The chips of the machine, one a file: plain data with `read`, `write`, `wake` and
//! `reset`, saved and loaded by serde.
//!
//! A chip knows no bus, no interrupt controller and no host. Whatever it needs from its
//! surroundings comes through [`Board`]; what it wants to tell them is either an effect
//! asked of the board (a reset, a byte for the host) or a level that the board's wiring
//! derives from the chip's state (`irq`, `deadline_ns`, `a20`). Misuse by the guest is
//! never an error: it does what the data sheet says.
#![forbid(unsafe_code)]

mod acpi_pm;
mod apic;
mod board;
mod debug_exit;
mod debug_port;
mod disks;
mod fpu_port;
mod fw_cfg;
mod i8042;
mod ide;
mod ioapic;
mod keyboard;
mod lapic;
mod latches;
mod pic8259;
mod pit8254;
mod port61;
mod port92;
mod reset_control;
mod rtc;
mod test_device;
mod uart16550;
mod vga;

pub use acpi_pm::AcpiPm;
pub use apic::{ApicMessage, CpuSignal, DeliveryMode, Destination};
pub use board::{Board, Outlet, ResetCause};
pub use debug_exit::DebugExit;
pub use debug_port::DebugPort;
pub use disks::{DiskFault, Disks, SECTOR_BYTES};
pub use fpu_port::FpuPort;
pub use fw_cfg::FwCfg;
pub use i8042::I8042;
pub use ide::IdeChannel;
pub use ioapic::IoApic;
pub use keyboard::Keyboard;
pub use lapic::{Acknowledged, Lapic, LapicOutput};
pub use latches::PageLatches;
pub use pic8259::PicPair;
pub use pit8254::{PIT_HZ, Pit8254};
pub use port61::Port61;
pub use port92::Port92;
pub use reset_control::ResetControl;
pub use rtc::{Rtc, RtcConfig};
pub use test_device::TestDevice;
pub use uart16550::Uart16550;
pub use vga::{TextView, VGA_TEXT_BYTES, Vga};

#[cfg(test)]
mod test_board;
