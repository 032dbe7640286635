//! Lines for the kernel's log.
#![allow(unsafe_code)]

use core::{
    fmt::{self, Write},
    panic::PanicInfo,
};

use crate::sys;

/// A line that is put together on the stack; what does not fit is left out.
pub struct Line {
    bytes: [u8; 240],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

impl Line {
    /// The text of some arguments.
    pub fn of(args: fmt::Arguments<'_>) -> Self {
        let mut line = Line { bytes: [0; 240], len: 0 };
        // A line never fails: it takes what fits.
        let _ = line.write_fmt(args);
        line
    }
}

/// What [`pr_info!`](crate::pr_info) calls.
pub fn print(args: fmt::Arguments<'_>) {
    let line = Line::of(args);
    // SAFETY: as many bytes are there.
    unsafe { sys::printk(line.bytes.as_ptr(), line.len) };
}

/// What a panic of a module comes to: one of the kernel.
pub fn stop(info: &PanicInfo<'_>) -> ! {
    let line = Line::of(format_args!("{}", info.message()));
    // SAFETY: as many bytes are there.
    unsafe { sys::panic(line.bytes.as_ptr(), line.len) }
}

/// Writes a line to the kernel's log.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => { $crate::print(format_args!($($arg)*)) };
}
