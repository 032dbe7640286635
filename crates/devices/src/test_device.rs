use serde::{Deserialize, Serialize};

/// Interrupt lines that the device can drive.
const LINES: u16 = 16;

/// QEMU's `pc-testdev`, which kvm-unit-tests' x86 programs use: a latch at ports 0xe0 to 0xe3, a
/// byte latch at 0xe8, a port at 0xe4 that makes QEMU flush a page, and ports from 0x2000 that
/// drive interrupt lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestDevice {
    latch: u32,
    byte: u8,
    lines: u16,
}

impl TestDevice {
    /// Reads the latch's byte at `offset`.
    pub fn read(&self, offset: u16) -> u8 {
        self.latch.to_le_bytes()[usize::from(offset & 3)]
    }

    /// Writes the latch's byte at `offset`.
    pub fn write(&mut self, offset: u16, value: u8) {
        let shift = 8 * u32::from(offset & 3);
        self.latch = self.latch & !(0xff << shift) | u32::from(value) << shift;
    }

    /// Reads the byte latch, which answers at each of its ports.
    pub fn read_byte(&self) -> u8 {
        self.byte
    }

    /// Writes the byte latch.
    pub fn write_byte(&mut self, value: u8) {
        self.byte = value;
    }

    /// Drives interrupt line `line`: high for any value but 0. Lines that there are not go nowhere.
    pub fn write_line(&mut self, line: u16, value: u8) {
        if line < LINES {
            self.lines = self.lines & !(1 << line) | u16::from(value != 0) << line;
        }
    }

    /// The interrupt lines that it drives, line 0 in bit 0.
    pub fn lines(&self) -> u16 {
        self.lines
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = TestDevice::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latch_keeps_its_bytes() {
        let mut device = TestDevice::default();
        (0..4).for_each(|offset| device.write(offset, 0x10 + offset as u8));
        device.write(2, 0x55);
        assert_eq!([0, 1, 2, 3].map(|offset| device.read(offset)), [0x10, 0x11, 0x55, 0x13]);
        device.write_byte(0x77);
        assert_eq!((device.read_byte(), device.read(0)), (0x77, 0x10));
    }

    #[test]
    fn lines_are_high_until_a_zero_is_written() {
        let mut device = TestDevice::default();
        device.write_line(14, 1);
        device.write_line(9, 0x80);
        device.write_line(16, 1);
        assert_eq!(device.lines(), 1 << 14 | 1 << 9);
        device.write_line(14, 0);
        assert_eq!(device.lines(), 1 << 9);
    }
}
