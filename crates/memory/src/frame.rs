/// What stands behind a 4 KiB frame of guest-physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum FrameKind {
    /// Nothing or a device: accesses go to the bus.
    #[default]
    Bus = 0,
    /// Memory.
    Ram = 1,
    /// Memory that ignores writes.
    Rom = 2,
}

/// The 64-byte lines of a frame that `len` bytes at page offset `offset` touch, a bit a line.
/// The range must not leave the frame; `len` 0 touches nothing.
pub fn line_mask(offset: u32, len: u32) -> u64 {
    debug_assert!(offset + len <= 4096, "range leaves the frame: {offset}+{len}");
    if len == 0 {
        return 0;
    }
    let first = offset >> 6;
    let last = (offset + len - 1) >> 6;
    (!0u64 << first) & (!0u64 >> (63 - last))
}

#[cfg(test)]
mod tests {
    use super::line_mask;

    #[test]
    fn a_line_mask_covers_just_the_lines_touched() {
        assert_eq!(line_mask(0, 1), 1);
        assert_eq!(line_mask(63, 2), 3);
        assert_eq!(line_mask(0, 4096), !0);
        assert_eq!(line_mask(4095, 1), 1 << 63);
        assert_eq!(line_mask(64, 64), 2);
        assert_eq!(line_mask(7, 0), 0);
    }
}
