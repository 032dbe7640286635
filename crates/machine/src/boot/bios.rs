use memory::{FrameKind, PhysMem};
use x86::{PAGE_SIZE, PhysAddr};

use super::BootError;

const MIB: u64 = 1 << 20;
const SPACE_END: u64 = 1 << 32;
/// What of a larger ROM shows below 1 MiB.
const LOW_WINDOW: u64 = 128 << 10;
const LARGEST: u64 = 16 * MIB;

/// Puts a ROM where the CPU looks after reset, just below 4 GiB, and its end below 1 MiB.
pub(super) fn load(mem: &mut PhysMem, rom: &[u8]) -> Result<(), BootError> {
    let bytes = rom.len() as u64;
    if bytes == 0 || bytes > LARGEST || !bytes.is_multiple_of(u64::from(PAGE_SIZE)) {
        return Err(BootError::RomSize { bytes });
    }
    let low = &rom[(bytes - bytes.min(LOW_WINDOW)) as usize..];
    for (end, image) in [(MIB, low), (SPACE_END, rom)] {
        let start = PhysAddr(end - image.len() as u64);
        mem.map(start, image.len() as u64, FrameKind::Rom).expect("whole pages below 4 GiB");
        mem.load(start, image);
    }
    Ok(())
}
