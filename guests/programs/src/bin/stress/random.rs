//! Numbers without a pattern, and checksums.

/// A sequence that its seed decides (xorshift).
pub struct Random(u32);

impl Random {
    /// Of this seed; neighbouring seeds give unlike sequences.
    pub fn new(seed: u32) -> Self {
        let mixed = mix(mix(0x811c_9dc5, seed), 0x9e37_79b9);
        Random(if mixed == 0 { 1 } else { mixed })
    }

    /// The next number.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }
}

/// Mixes a value into a checksum (FNV-1a, word by word).
pub fn mix(sum: u32, value: u32) -> u32 {
    (sum ^ value).wrapping_mul(0x0100_0193)
}
