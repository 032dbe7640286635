//! What ran before: most code of a program's start runs once and is not worth keeping.

use std::hash::{Hash, Hasher};

use super::{Key, cache::KeyHasher};

/// Remembers keys, as a table of hashes without chains: it may forget one, which then counts as
/// new once more, and a wrong answer costs time alone.
pub(crate) struct Seen {
    /// By the upper part of a key's hash, the lower part.
    tags: Box<[u32]>,
    /// Part of the hash of every key in a frame: so what was overwritten is forgotten.
    generations: Box<[u8]>,
    /// Part of the hash of every key.
    era: u32,
}

impl Seen {
    /// Places for tags: more than a program has blocks that run once between two runs of others.
    const TAGS: usize = 1 << 16;
    /// Frames share generations.
    const GENERATIONS: usize = 1 << 12;

    pub(crate) fn new() -> Self {
        Seen { tags: vec![0; Self::TAGS].into(), generations: vec![0; Self::GENERATIONS].into(), era: 0 }
    }

    /// Notes `key`; says whether it was there.
    pub(crate) fn note(&mut self, key: Key) -> bool {
        let mut hasher = KeyHasher::default();
        key.hash(&mut hasher);
        let generation = self.generations[Self::generation(key.phys >> 12)];
        hasher.write_u64(u64::from(self.era) << 8 | u64::from(generation));
        let hash = hasher.finish();
        let place = &mut self.tags[(hash >> 32) as usize % Self::TAGS];
        // 0 stands for nothing.
        let tag = hash as u32 | 1;
        std::mem::replace(place, tag) == tag
    }

    /// Forgets the keys in frame `pfn`: its code is another one now.
    pub(crate) fn forget(&mut self, pfn: u32) {
        let generation = &mut self.generations[Self::generation(pfn)];
        *generation = generation.wrapping_add(1);
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&mut self) {
        self.era = self.era.wrapping_add(1);
    }

    fn generation(pfn: u32) -> usize {
        pfn as usize % Self::GENERATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(phys: u32) -> Key {
        Key { phys, eip: phys, cs_base: 0, mode: 1 }
    }

    #[test]
    fn a_key_is_known_the_second_time_and_by_all_of_its_parts() {
        let mut seen = Seen::new();
        assert!(!seen.note(key(0x1000)));
        assert!(seen.note(key(0x1000)));
        assert!(!seen.note(Key { mode: 2, ..key(0x1000) }));
        assert!(!seen.note(Key { eip: 0, ..key(0x1000) }));
        assert!(seen.note(key(0x1000)));
    }

    #[test]
    fn what_was_overwritten_is_forgotten_and_the_next_frame_is_not() {
        let mut seen = Seen::new();
        seen.note(key(0x1000));
        seen.note(key(0x2000));
        seen.forget(1);
        assert_eq!((seen.note(key(0x1000)), seen.note(key(0x2000))), (false, true));
        seen.forget_all();
        assert_eq!((seen.note(key(0x1000)), seen.note(key(0x2000))), (false, false));
    }
}
