//! What the guest kernel and the host both know: system-call numbers, errnos, the
//! records that the host reads in the guest's memory, and the formats of `/proc`.
//!
//! Records use only `u8`, `u16`, `u32`, [`Ptr32`] and [`U64`], because `u64` aligns
//! differently on i586 and x86-64; their sizes are asserted on both sides.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod books;
pub mod cpio;
pub mod elf;
pub mod errno;
pub mod fault;
pub mod layout;
pub mod ldisc;
pub mod module;
pub mod nr;
pub mod out;
pub mod page_flags;
pub mod proc;
mod ptr;
pub mod runfile;
pub mod stat;
pub mod tlb;
pub mod wire;

pub use errno::{Errno, Result};
pub use out::Out;
pub use ptr::{Ptr32, U64};
