//! What a drive says of itself.

use alloc::string::String;

use abi::wire::{u16_at, u32_at};

/// What is used of the 256 words of IDENTIFY DEVICE.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Model name.
    pub model: String,
    /// Firmware revision.
    pub firmware: String,
    /// Newest version of the standard that it follows.
    pub version: u32,
    /// Capacity.
    pub sectors: u64,
    /// It takes 48-bit addresses.
    pub lba48: bool,
    /// Most sectors in a block of the multiple commands; 0 without them.
    pub max_multiple: u8,
    /// It has a write cache to be flushed.
    pub flushes: bool,
}

impl Identity {
    /// Out of 512 bytes; `None` for a drive without LBA or without sectors.
    pub fn parse(bytes: &[u8]) -> Option<Identity> {
        let word = |at: usize| u16_at(bytes, at * 2);
        let dword = |at: usize| u64::from(u32_at(bytes, at * 2));
        // Bits 15:14 of a word of features are 01 where it is valid.
        let features = if word(83) >> 14 == 1 { word(83) } else { 0 };
        let lba48 = features & 1 << 10 != 0;
        let large = dword(100) | dword(102) << 32;
        let sectors = if lba48 && large != 0 { large } else { dword(60) };
        let has_lba = word(49) & 1 << 9 != 0;
        if !has_lba || sectors == 0 {
            return None;
        }
        let version = if matches!(word(80), 0 | 0xffff) { 1 } else { 15 - word(80).leading_zeros() };
        Some(Identity {
            model: text(&bytes[54..94]),
            firmware: text(&bytes[46..54]),
            version,
            sectors,
            lba48,
            max_multiple: if word(47) >> 8 == 0x80 { word(47) as u8 } else { 0 },
            flushes: features & 1 << 12 != 0,
        })
    }
}

/// Each word has its first character in the high byte; spaces fill it up.
fn text(words: &[u8]) -> String {
    let bytes = words.chunks_exact(2).flat_map(|word| [word[1], word[0]]);
    let text: String = bytes.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { ' ' }).collect();
    text.trim().into()
}
