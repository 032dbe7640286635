//! Records of the system-call interface as bytes, so that no layout rests on a compiler's
//! idea of alignment.

/// A record of `N` bytes: `write` puts numbers in order, little-endian; what it leaves out is 0.
pub fn record<const N: usize>(write: impl FnOnce(&mut Writer<N>)) -> [u8; N] {
    let mut writer = Writer { bytes: [0; N], at: 0 };
    write(&mut writer);
    writer.bytes
}

/// A record being written. It stays where it is: a kernel stack has no room for copies.
#[derive(Debug)]
pub struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    /// Appends a number of 16 bits.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a number of 32 bits.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a number of 64 bits.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Leaves `count` bytes 0.
    pub fn skip(&mut self, count: usize) -> &mut Self {
        self.at += count;
        self
    }
}

/// The 16-bit number at `at`; 0 beyond the end.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

/// The 32-bit number at `at`; 0 beyond the end.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// The 64-bit number at `at`; 0 beyond the end.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
