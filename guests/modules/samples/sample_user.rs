//! A module that uses a function of another: `sample_kmalloc` must be there first, and cannot
//! go before this one has.
#![no_std]
#![allow(unsafe_code)]

use kmod::{module, pr_info};

module! {
    name: "sample_user",
    license: "MIT OR Apache-2.0",
    description: "uses a function of sample_kmalloc",
}

unsafe extern "C" {
    /// How many bytes `sample_kmalloc` holds.
    safe fn sample_kmalloc_bytes() -> u32;
}

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    pr_info!("sample_user: sample_kmalloc holds {} bytes", sample_kmalloc_bytes());
    0
}

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {}
