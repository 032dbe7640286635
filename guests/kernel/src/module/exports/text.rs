//! The log, strings of bytes, the program's memory, the clock.
#![allow(unsafe_code)]

use alloc::string::String;

use crate::{
    lib::oops,
    mm::uaccess::{UserPtr, copy_from_user_partial, copy_to_user_partial},
    pr_info,
    time::ktime_get_ns as now,
};

/// Longest string of a module.
const MAX_STRING: usize = 4096;

unsafe extern "C" {
    /// See `lib/memory.rs`, as the others.
    pub fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    pub fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    pub fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
    pub fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
    pub fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32;
    pub fn strlen(text: *const u8) -> usize;
}

/// The text of a C string of a module, up to its zero.
///
/// # Safety
/// The bytes are there up to a zero, as long as the result is used.
pub(super) unsafe fn string<'a>(at: *const u8) -> &'a str {
    if at.is_null() {
        return "";
    }
    // SAFETY: by the caller.
    let bytes = unsafe { core::slice::from_raw_parts(at, strlen(at).min(MAX_STRING)) };
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    }
}

/// Text of a module that need not end in a zero.
unsafe fn text(at: *const u8, len: usize) -> String {
    // SAFETY: by the caller: as many bytes are there.
    String::from_utf8_lossy(unsafe { core::slice::from_raw_parts(at, len.min(MAX_STRING)) }).into_owned()
}

/// `printk`, with the text and its length in place of a format: a line of the log.
pub unsafe extern "C" fn printk(line: *const u8, len: usize) {
    // SAFETY: by the module.
    let line = unsafe { text(line, len) };
    pr_info!("{}", line.strip_suffix('\n').unwrap_or(&line));
}

/// `panic`, with the text and its length in place of a format.
pub unsafe extern "C" fn panic(why: *const u8, len: usize) -> ! {
    // SAFETY: by the module.
    let why = unsafe { text(why, len) };
    oops::bug_of(format_args!("{why}"))
}

/// `copy_to_user`: how many bytes were not copied.
pub unsafe extern "C" fn copy_to_user(to: *mut u8, from: *const u8, len: usize) -> usize {
    // SAFETY: by the module, which has as many bytes.
    let from = unsafe { core::slice::from_raw_parts(from, len) };
    len - copy_to_user_partial(UserPtr::new(to as u32), from)
}

/// `copy_from_user`: how many bytes were not copied; they are zeros.
pub unsafe extern "C" fn copy_from_user(to: *mut u8, from: *const u8, len: usize) -> usize {
    // SAFETY: by the module, which has room for as many bytes.
    let to = unsafe {
        to.write_bytes(0, len);
        core::slice::from_raw_parts_mut(to, len)
    };
    len - copy_from_user_partial(to, UserPtr::new(from as u32))
}

/// `ktime_get_ns`: nanoseconds since boot.
pub unsafe extern "C" fn ktime_get_ns() -> u64 {
    now()
}
