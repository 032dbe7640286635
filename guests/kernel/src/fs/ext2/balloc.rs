//! The bitmaps of blocks.

use abi::errno::{ENOSPC, Result};

use super::{Ext2, Space};
use crate::task::current;

/// The first clear bit from `from` on, of `len` bits.
pub(super) fn find_clear(bitmap: &[u8], from: u32, len: u32) -> Option<u32> {
    (from..len).find(|&bit| bitmap[(bit / 8) as usize] & 1 << (bit % 8) == 0)
}

/// Whether a bit is set.
pub(super) fn is_set(bitmap: &[u8], bit: u32) -> bool {
    bitmap[(bit / 8) as usize] & 1 << (bit % 8) != 0
}

impl Ext2 {
    /// Reads a bitmap.
    pub(super) fn bitmap(&self, block: u32) -> Result<alloc::vec::Vec<u8>> {
        let mut bytes = alloc::vec![0; self.layout.block_size as usize];
        self.read(self.block_pos(block), &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the byte of a bitmap that has `bit`.
    pub(super) fn put_bit(&self, block: u32, bitmap: &mut [u8], bit: u32, set: bool) -> Result<()> {
        let at = (bit / 8) as usize;
        if set {
            bitmap[at] |= 1 << (bit % 8)
        } else {
            bitmap[at] &= !(1 << (bit % 8))
        }
        self.write(self.block_pos(block) + at as u64, &bitmap[at..=at])
    }

    /// Gives out a block, as near behind `goal` as there is one; its contents are old. ENOSPC, and
    /// before that for all but the superuser when only the reserve is left.
    pub(super) fn new_block(&self, space: &mut Space, goal: u32) -> Result<u32> {
        let layout = &self.layout;
        let reserve = if current().fsuid_gid().0 == 0 { 0 } else { layout.reserved_blocks };
        if space.free_blocks <= reserve {
            return Err(ENOSPC);
        }
        let goal = if layout.is_data_block(goal) { goal } else { layout.first_data_block };
        let first = (goal - layout.first_data_block) / layout.blocks_per_group;
        for step in 0..=layout.groups {
            let group = (first + step) % layout.groups;
            let start = layout.group_start(group);
            // The goal's group is looked at twice: from the goal on, and at last from its beginning.
            let from = if step == 0 { goal - start } else { 0 };
            let desc = space.groups[group as usize];
            if desc.free_blocks == 0 {
                continue;
            }
            let mut bitmap = self.bitmap(desc.block_bitmap)?;
            let Some(bit) = find_clear(&bitmap, from, layout.group_blocks(group)) else { continue };
            let block = start + bit;
            if self.is_system_block(space, block) {
                return Err(self.error(format_args!(
                    "ext2_new_blocks: Allocating block in system zone - blocks from {block}, length 1"
                )));
            }
            self.put_bit(desc.block_bitmap, &mut bitmap, bit, true)?;
            space.groups[group as usize].free_blocks -= 1;
            space.free_blocks = space.free_blocks.saturating_sub(1);
            self.put_counts(space, group)?;
            return Ok(block);
        }
        Err(ENOSPC)
    }

    /// Fills a new block of metadata with zeros.
    pub(super) fn zero_block(&self, block: u32) -> Result<()> {
        static ZEROS: [u8; 4096] = [0; 4096];
        self.write(self.block_pos(block), &ZEROS[..self.layout.block_size as usize])
    }

    /// Takes a block back.
    pub(super) fn free_block(&self, space: &mut Space, block: u32) -> Result<()> {
        let layout = &self.layout;
        if !layout.is_data_block(block) || self.is_system_block(space, block) {
            return Err(self
                .error(format_args!("ext2_free_blocks: Freeing blocks not in datazone - block = {block}, count = 1")));
        }
        let group = (block - layout.first_data_block) / layout.blocks_per_group;
        let bit = block - layout.group_start(group);
        let desc = space.groups[group as usize];
        let mut bitmap = self.bitmap(desc.block_bitmap)?;
        if !is_set(&bitmap, bit) {
            return Err(self.error(format_args!("ext2_free_blocks: bit already cleared for block {block}")));
        }
        self.put_bit(desc.block_bitmap, &mut bitmap, bit, false)?;
        self.buffers.forget(block);
        let desc = &mut space.groups[group as usize];
        desc.free_blocks = desc.free_blocks.saturating_add(1);
        space.free_blocks = space.free_blocks.saturating_add(1);
        self.put_counts(space, group)
    }

    /// Whether a block is a bitmap or of an inode table.
    fn is_system_block(&self, space: &Space, block: u32) -> bool {
        let group = (block - self.layout.first_data_block) / self.layout.blocks_per_group;
        let Some(desc) = space.groups.get(group as usize) else { return true };
        let table = desc.inode_table..desc.inode_table + self.layout.inode_table_blocks();
        block == desc.block_bitmap || block == desc.inode_bitmap || table.contains(&block)
    }

    /// EIO with a report, for a pointer to where no data can be.
    pub(super) fn check_block(&self, ino: u32, block: u32) -> Result<u32> {
        if self.layout.is_data_block(block) {
            return Ok(block);
        }
        Err(self.error(format_args!("inode #{ino}: block {block} is not in the data zone")))
    }
}
