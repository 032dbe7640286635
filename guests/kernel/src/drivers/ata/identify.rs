//! What a drive says of itself.

use alloc::string::String;

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
    /// `None` for a drive without LBA or without sectors.
    pub fn parse(words: &[u16; 256]) -> Option<Identity> {
        let dword = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 16;
        // Bits 15:14 of a word of features are 01 where it is valid.
        let features = if words[83] >> 14 == 1 { words[83] } else { 0 };
        let lba48 = features & 1 << 10 != 0;
        let large = dword(100) | dword(102) << 32;
        let sectors = if lba48 && large != 0 { large } else { dword(60) };
        let has_lba = words[49] & 1 << 9 != 0;
        if !has_lba || sectors == 0 {
            return None;
        }
        let version = if matches!(words[80], 0 | 0xffff) { 1 } else { 15 - words[80].leading_zeros() };
        Some(Identity {
            model: text(&words[27..47]),
            firmware: text(&words[23..27]),
            version,
            sectors,
            lba48,
            max_multiple: if words[47] >> 8 == 0x80 { words[47] as u8 } else { 0 },
            flushes: features & 1 << 12 != 0,
        })
    }
}

/// Each word has its first character in the high byte; spaces fill it up.
fn text(words: &[u16]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    let text: String = bytes.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { ' ' }).collect();
    text.trim().into()
}
