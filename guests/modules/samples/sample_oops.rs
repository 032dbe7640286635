//! A module with a mistake: it reads through a null pointer. The kernel's oops names it.
#![no_std]
#![allow(unsafe_code)]

use core::hint::black_box;

use kmod::module;

module! {
    name: "sample_oops",
    license: "MIT OR Apache-2.0",
    description: "reads through a null pointer",
}

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    let nowhere: *const i32 = black_box(core::ptr::null());
    // SAFETY: none: this is the mistake.
    unsafe { nowhere.read_volatile() }
}

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {}
