//! `/proc/iomem` and `/proc/ioports`.

use crate::{Out, out};

/// Which of the two trees, which differ in the digits of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Physical memory, 8 digits.
    Memory,
    /// I/O ports, 4 digits.
    Ports,
}

/// Levels that Linux indents before it gives up.
const MAX_DEPTH: usize = 5;

/// Writes the line of one resource, `depth` levels below the root's children.
pub fn line(out: &mut dyn Out, space: Space, depth: usize, start: u32, end: u32, name: &[u8]) {
    let digits = if space == Space::Memory { 8 } else { 4 };
    let indent = depth.min(MAX_DEPTH) * 2;
    out!(out, "{:indent$}{start:0digits$x}-{end:0digits$x} : ", "");
    out.bytes(if name.is_empty() { b"<BAD>" } else { name });
    out.bytes(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn lines_equal_those_of_a_real_kernel() {
        let show = |out: &mut dyn Out| {
            line(out, Space::Memory, 0, 0x10_0000, 0x7ff_ffff, b"System RAM");
            line(out, Space::Memory, 1, 0x10_0000, 0x17_ffff, b"Kernel code");
            line(out, Space::Ports, 0, 0x20, 0x21, b"pic1");
        };
        let want = "00100000-07ffffff : System RAM\n  00100000-0017ffff : Kernel code\n0020-0021 : pic1\n";
        assert_eq!(render(show), want.as_bytes());
    }
}
