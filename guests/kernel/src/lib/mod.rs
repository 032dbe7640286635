//! What everything else stands on: the log, panics, symbols, the memory functions.

pub mod books;
pub mod cmdline;
pub mod kallsyms;
mod memory;
pub mod oops;
pub mod panic;
pub mod points;
pub mod printk;
pub mod race;
