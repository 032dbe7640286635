//! The words of the Intel manual, without behaviour: addresses, paging-structure
//! entries, control registers, flags, descriptors, vectors and MSR numbers.
//!
//! The emulator and the guest kernel both use this crate, so that a bit has one
//! definition; the tests pin every bit with a literal from the manual.
#![no_std]
#![forbid(unsafe_code)]

mod addr;
mod control;
mod descriptor;
mod eflags;
pub mod msr;
mod paging;
mod selector;
mod vector;

pub use addr::{LinearAddr, PAGE_SHIFT, PAGE_SIZE, PhysAddr};
pub use control::{Cr0, Cr4, Efer};
pub use descriptor::{Descriptor, SystemType, tss};
pub use eflags::Eflags;
pub use paging::{PHYS_ADDR_BITS, PaePde, PaePte, PageFaultCode, Pde, Pdpte, Pte};
pub use selector::{SegReg, Selector};
pub use vector::{Vector, has_error_code};
