//! What the fuzz targets do with bytes from nowhere. A body returns whatever the bytes are; a panic,
//! a hang or a broken promise is a bug of ours. The tests beside run the same bodies on fixed seeds for some
//! seconds; `PAGEWALK_FUZZ_INSTRUCTIONS` makes them longer.
#![forbid(unsafe_code)]

pub mod areas;
pub mod code;
pub mod images;
pub mod modules;
#[cfg(unix)]
pub mod packets;
pub mod tables;

/// Xorshift: the same numbers on every host.
pub struct Random(u64);

impl Random {
    /// From any seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = random.word());
        random
    }

    /// 32 bits.
    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.word() % limit
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }
}
