use serde::{Deserialize, Serialize};

/// A 256-bit register: IRR, ISR or TMR, one bit a vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vectors([u32; 8]);

impl Vectors {
    pub fn set(&mut self, vector: u8, on: bool) {
        let word = &mut self.0[usize::from(vector / 32)];
        let bit = 1 << (vector % 32);
        *word = if on { *word | bit } else { *word & !bit };
    }

    pub fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
    }

    /// The highest vector, which has the highest priority.
    pub fn highest(&self) -> Option<u8> {
        let (word, bits) = (0u8..).zip(self.0).filter(|&(_, bits)| bits != 0).last()?;
        Some(word * 32 + (31 - bits.leading_zeros() as u8))
    }

    /// The 32 bits that one of the eight registers shows; bits 2:0 of `number` say which.
    pub fn word(&self, number: u32) -> u32 {
        self.0[number as usize & 7]
    }
}
