//! The header of a swap area, as `mkswap` writes it (version 1: `union swap_header` of Linux).

use x86::PAGE_SIZE;

use super::store::IMAGE_CHUNK;

/// Where the version stands: the bytes before are for boot loaders.
const INFO: usize = 1024;
const VERSION: u32 = 1;
/// At the very end of the first page.
const MAGIC: &[u8; 10] = b"SWAPSPACE2";

/// The first page of an area that fills a disk of so many sectors, with no bad pages.
pub(super) fn header(sectors: u64) -> Vec<u8> {
    let last_page = (sectors * devices::SECTOR_BYTES as u64 / u64::from(PAGE_SIZE)).saturating_sub(1) as u32;
    let mut page = vec![0; IMAGE_CHUNK];
    page[INFO..INFO + 4].copy_from_slice(&VERSION.to_le_bytes());
    page[INFO + 4..INFO + 8].copy_from_slice(&last_page.to_le_bytes());
    page[IMAGE_CHUNK - MAGIC.len()..].copy_from_slice(MAGIC);
    page
}
