//! Sinks for the text of `/proc` files.

use alloc::vec::Vec;
use core::fmt;

/// Where the text of a `/proc` file goes: text by [`fmt::Write`], names as raw bytes,
/// since a Linux path need not be UTF-8.
pub trait Out: fmt::Write {
    /// Appends bytes as they are.
    fn bytes(&mut self, bytes: &[u8]);

    /// Appends formatted text; a sink never fails (what does not fit is counted).
    fn text(&mut self, args: fmt::Arguments<'_>) {
        let _ = self.write_fmt(args);
    }
}

/// Appends formatted text to an [`Out`].
#[macro_export]
macro_rules! out {
    ($out:expr, $($arg:tt)*) => { $crate::Out::text($out, ::core::format_args!($($arg)*)) };
}

/// Text that grows up to a capacity given beforehand, and counts what would not fit, so
/// that a file can be gathered without allocating while its lock is held.
#[derive(Default, Debug)]
pub struct Text {
    bytes: Vec<u8>,
    wanted: usize,
}

impl Text {
    /// Space for `capacity` bytes; none at all makes it a mere counter.
    pub fn with_capacity(capacity: usize) -> Text {
        Text { bytes: Vec::with_capacity(capacity), wanted: 0 }
    }

    /// How long the text would be with enough capacity.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The text, or nothing if it did not fit.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.wanted == self.bytes.len()).then_some(self.bytes)
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl Out for Text {
    fn bytes(&mut self, bytes: &[u8]) {
        self.wanted += bytes.len();
        if self.wanted <= self.bytes.capacity() {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// Runs `show` twice: to learn the length, then into a buffer of that size. For the host
/// and for tests; the kernel puts its gather points around the second run.
pub fn render(show: impl Fn(&mut dyn Out)) -> Vec<u8> {
    let mut counter = Text::default();
    show(&mut counter);
    let mut text = Text::with_capacity(counter.wanted());
    show(&mut text);
    text.finish().unwrap_or_default()
}
