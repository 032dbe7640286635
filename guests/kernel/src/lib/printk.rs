//! The kernel's log: a ring buffer, and the console.

use core::fmt::{self, Write};

use crate::{drivers::early_uart, sync::SpinLock, time};

/// Bytes that the log keeps.
const LOG_BUF_LEN: usize = 1 << 16;

struct Log {
    buffer: [u8; LOG_BUF_LEN],
    /// Bytes ever written; the newest `LOG_BUF_LEN` of them are kept.
    written: usize,
    line_start: bool,
    console: bool,
}

static LOG: SpinLock<Log> =
    SpinLock::new(Log { buffer: [0; LOG_BUF_LEN], written: 0, line_start: true, console: true });

impl Log {
    fn put(&mut self, byte: u8) {
        self.buffer[self.written % LOG_BUF_LEN] = byte;
        self.written += 1;
        if self.console {
            early_uart::put(byte);
        }
    }

    fn time_stamp(&mut self) {
        let us = time::ktime_get_ns() / 1000;
        let (seconds, us) = ((us / 1_000_000) as u32, (us % 1_000_000) as u32);
        let _ = write!(Raw(self), "[{seconds:5}.{us:06}] ");
    }
}

/// Writes without looking for the beginning of a line.
struct Raw<'a>(&'a mut Log);

impl Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.0.put(byte));
        Ok(())
    }
}

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if core::mem::take(&mut self.line_start) {
                self.time_stamp();
            }
            self.put(byte);
            self.line_start = byte == b'\n';
        }
        Ok(())
    }
}

/// What the macros call.
pub fn print(args: fmt::Arguments) {
    // A log cannot fail: the buffer wraps.
    let _ = LOG.lock_irqsave().write_fmt(args);
}

/// What the macros of whole lines call.
pub fn print_line(tag: &str, args: fmt::Arguments) {
    // A log cannot fail: the buffer wraps.
    let _ = LOG.lock_irqsave().write_fmt(format_args!("{tag}{args}\n"));
}

/// Whether log lines go to the console as well; the buffer has them in any case.
pub fn set_console(on: bool) {
    LOG.lock_irqsave().console = on;
}

/// On the panic path: whoever held the log will not give it back.
#[allow(unsafe_code)]
pub fn force_unlock() {
    // SAFETY: panic stopped everything else.
    unsafe { LOG.force_unlock() };
    LOG.lock_irqsave().console = true;
}

/// Copies the newest bytes of the log into `out`; returns how many.
pub fn read_log(out: &mut [u8]) -> usize {
    let log = LOG.lock_irqsave();
    let len = out.len().min(log.written).min(LOG_BUF_LEN);
    for (n, byte) in out[..len].iter_mut().enumerate() {
        *byte = log.buffer[(log.written - len + n) % LOG_BUF_LEN];
    }
    len
}

/// Writes to the log without ending the line.
#[macro_export]
macro_rules! printk {
    ($($arg:tt)*) => { $crate::lib::printk::print(format_args!($($arg)*)) };
}

/// Writes a line to the log.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => { $crate::lib::printk::print_line("", format_args!($($arg)*)) };
}

/// Writes a line whose text depends on the machine that the kernel runs on.
#[macro_export]
macro_rules! pr_hw {
    ($($arg:tt)*) => { $crate::lib::printk::print_line("hw: ", format_args!($($arg)*)) };
}
