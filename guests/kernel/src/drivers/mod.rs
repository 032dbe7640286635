//! Devices of the PC that the kernel itself needs.

pub mod ata;
pub mod debug_exit;
pub mod early_uart;
pub mod irq;
pub mod pic;
pub mod pit;
pub mod random;
pub mod resource;
pub mod rtc;
pub mod tty;
