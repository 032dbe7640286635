//! Random numbers for programs. A run must be repeatable, so they come from a generator
//! with a fixed seed (or `random.seed=N` of the command line), never from the machine:
//! nothing here is a secret.
//!
//! The generator is xoshiro256** by Blackman and Vigna, seeded by SplitMix64.

use crate::sync::SpinLock;

static STATE: SpinLock<[u64; 4]> = SpinLock::new(seeded(0x5041_4745_5741_4c4b));

const fn seeded(mut seed: u64) -> [u64; 4] {
    let mut state = [0; 4];
    let mut i = 0;
    while i < 4 {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state[i] = z ^ z >> 31;
        i += 1;
    }
    state
}

/// Starts the sequence that belongs to `seed`.
pub fn seed(seed: u64) {
    *STATE.lock() = seeded(seed);
}

/// The next number.
pub fn next_u64() -> u64 {
    let mut s = STATE.lock();
    let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
    let t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3].rotate_left(45);
    result
}

/// Fills a buffer.
pub fn fill(buffer: &mut [u8]) {
    for chunk in buffer.chunks_mut(8) {
        let bytes = next_u64().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}
