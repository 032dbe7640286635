//! What a drive says of itself (ATA/ATAPI-6, "IDENTIFY DEVICE").

use serde::{Deserialize, Serialize};

use super::drive::{Drive, MAX_MULTIPLE};
use crate::disks::SECTOR_BYTES;

const MODEL: &str = "PAGEWALK HARDDISK";
const FIRMWARE: &str = "1.0";
/// Most cylinders that a drive tells of, however large it is.
const MAX_CYLINDERS: u64 = 16_383;
const MAX_LBA28: u64 = (1 << 28) - 1;

/// A translation of cylinders, heads and sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Geometry {
    cylinders: u16,
    heads: u8,
    sectors: u8,
}

impl Geometry {
    /// The translation of a drive of so many sectors at power-on.
    pub fn default_of(sectors: u64) -> Self {
        let cylinders = (sectors / (16 * 63)).clamp(1, MAX_CYLINDERS) as u16;
        Geometry { cylinders, heads: 16, sectors: 63 }
    }

    /// A translation with so many heads, and sectors a track; `None` if it cannot be.
    pub fn new(total: u64, heads: u8, sectors: u8) -> Option<Self> {
        let cylinders = total.checked_div(u64::from(heads) * u64::from(sectors))?.min(65_535) as u16;
        (cylinders > 0).then_some(Geometry { cylinders, heads, sectors })
    }

    /// The sector at a place; `None` where the translation has none.
    pub fn sector(&self, cylinder: u64, head: u64, sector: u64) -> Option<u64> {
        let (heads, sectors) = (u64::from(self.heads), u64::from(self.sectors));
        let exists = cylinder < u64::from(self.cylinders) && head < heads && (1..=sectors).contains(&sector);
        exists.then(|| (cylinder * heads + head) * sectors + sector - 1)
    }

    /// Cylinder, head and number of a sector that [`Geometry::sector`] gave.
    pub fn place(&self, sector: u64) -> (u16, u8, u8) {
        let (heads, sectors) = (u64::from(self.heads).max(1), u64::from(self.sectors).max(1));
        let track = sector / sectors;
        ((track / heads) as u16, (track % heads) as u8, (sector % sectors + 1) as u8)
    }

    fn capacity(&self) -> u32 {
        u32::from(self.cylinders) * u32::from(self.heads) * u32::from(self.sectors)
    }
}

/// The block of 256 words.
pub(super) fn block(drive: &Drive) -> Vec<u8> {
    let mut words = [0u16; 256];
    let power_on = Geometry::default_of(drive.sectors);
    words[0] = 0x0040; // not removable
    words[1] = power_on.cylinders;
    words[3] = power_on.heads.into();
    words[6] = power_on.sectors.into();
    text(&mut words[10..20], &format!("PW{:05}", drive.disk + 1));
    text(&mut words[23..27], FIRMWARE);
    text(&mut words[27..47], MODEL);
    words[47] = 0x8000 | u16::from(MAX_MULTIPLE);
    words[49] = 0x0a00; // LBA, IORDY
    words[50] = 0x4000;
    words[51] = 0x0200; // PIO mode 2
    words[53] = 0x0003; // words 54 to 58 and 64 to 70 are valid
    let now = drive.geometry;
    words[54] = now.cylinders;
    words[55] = now.heads.into();
    words[56] = now.sectors.into();
    put_u32(&mut words[57..59], now.capacity());
    if drive.multiple != 0 {
        words[59] = 0x0100 | u16::from(drive.multiple);
    }
    put_u32(&mut words[60..62], drive.sectors.min(MAX_LBA28) as u32);
    words[64] = 0x0003; // PIO modes 3 and 4
    words[67] = 120; // nanoseconds of a PIO cycle without flow control
    words[68] = 120; // and with
    words[80] = 0x007e; // ATA-1 to ATA/ATAPI-6
    const WRITE_CACHE: u16 = 1 << 5;
    const LOOK_AHEAD: u16 = 1 << 6;
    const POWER_MANAGEMENT: u16 = 1 << 3;
    const LBA48: u16 = 1 << 10;
    const FLUSH_CACHE: u16 = 1 << 12;
    const FLUSH_CACHE_EXT: u16 = 1 << 13;
    const VALID: u16 = 1 << 14;
    words[82] = WRITE_CACHE | LOOK_AHEAD | POWER_MANAGEMENT;
    words[83] = VALID | LBA48 | FLUSH_CACHE | FLUSH_CACHE_EXT;
    words[84] = VALID;
    words[85] = POWER_MANAGEMENT
        | if drive.write_cache { WRITE_CACHE } else { 0 }
        | if drive.look_ahead { LOOK_AHEAD } else { 0 };
    words[86] = LBA48 | FLUSH_CACHE | FLUSH_CACHE_EXT;
    words[87] = VALID;
    words[93] = if drive.disk & 1 == 0 { 0x400b } else { 0x4b00 }; // results of the reset
    for (word, at) in words[100..104].iter_mut().zip([0, 16, 32, 48]) {
        *word = (drive.sectors >> at) as u16;
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // The integrity word: all 512 bytes add up to 0.
    bytes[SECTOR_BYTES - 2] = 0xa5;
    let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    bytes[SECTOR_BYTES - 1] = sum.wrapping_neg();
    bytes
}

/// Text stands with the first character of a pair in the high byte, filled up with spaces.
fn text(words: &mut [u16], text: &str) {
    let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        let mut next = || u16::from(bytes.next().unwrap_or(b' '));
        *word = next() << 8 | next();
    }
}

fn put_u32(words: &mut [u16], value: u32) {
    (words[0], words[1]) = (value as u16, (value >> 16) as u16);
}
