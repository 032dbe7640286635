//! What a module of the guest kernel is written against: the functions that the kernel
//! exports, and what tells it about the module (`docs/modules.md`).
//!
//! ```ignore
//! #![no_std]
//! use kmod::{module, pr_info};
//!
//! module! { name: "hello", license: "MIT OR Apache-2.0", description: "says hello" }
//!
//! #[unsafe(no_mangle)]
//! extern "C" fn init_module() -> i32 {
//!     pr_info!("hello");
//!     0
//! }
//!
//! #[unsafe(no_mangle)]
//! extern "C" fn cleanup_module() {}
//! ```
#![no_std]

mod heap;
mod info;
mod log;
mod sys;

pub use abi::{
    errno,
    module::{File, FileOperations, Inode, KernelParam, KernelSymbol, VERMAGIC, VmAreaStruct, param_kind},
};
pub use info::{Fops, Ksym, Param};
pub use log::{Line, print, stop};
pub use sys::*;

/// Bytes of a page.
pub const PAGE_SIZE: u32 = 4096;

/// `GFP_KERNEL`: may wait for memory.
pub const GFP_KERNEL: u32 = 0xcc0;
/// `GFP_ATOMIC`: must not wait.
pub const GFP_ATOMIC: u32 = 0xa20;

/// `SLAB_HWCACHE_ALIGN`: objects begin on cache lines.
pub const SLAB_HWCACHE_ALIGN: u32 = 0x2000;
