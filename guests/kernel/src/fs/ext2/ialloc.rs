//! The bitmaps of inodes.

use abi::errno::{ENOSPC, Result};

use super::{
    Ext2, Space,
    balloc::{find_clear, is_set},
};

/// What an inode is going to be, as far as counting goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Directory,
    Other,
}

impl Ext2 {
    /// Where an inode lies. The number is valid.
    pub(super) fn inode_pos(&self, ino: u32) -> u64 {
        let (group, index) = ((ino - 1) / self.layout.inodes_per_group, (ino - 1) % self.layout.inodes_per_group);
        self.block_pos(self.inode_tables[group as usize]) + u64::from(index) * u64::from(self.layout.inode_size)
    }

    /// Gives out an inode near that of `parent`; directories go where most inodes are free. All
    /// its bytes are zero. ENOSPC.
    pub(super) fn new_ino(&self, space: &mut Space, parent: u32, kind: Kind) -> Result<u32> {
        let layout = &self.layout;
        let near = (parent - 1) / layout.inodes_per_group;
        let first = match kind {
            Kind::Other => near,
            Kind::Directory => {
                let groups = space.groups.iter().enumerate();
                // The first of several.
                groups.rev().max_by_key(|(_, group)| group.free_inodes).map_or(near, |(number, _)| number as u32)
            }
        };
        for step in 0..layout.groups {
            let group = (first + step) % layout.groups;
            let desc = space.groups[group as usize];
            if desc.free_inodes == 0 {
                continue;
            }
            let mut bitmap = self.bitmap(desc.inode_bitmap)?;
            let from = if group == 0 { layout.first_ino - 1 } else { 0 };
            let Some(bit) = find_clear(&bitmap, from, layout.inodes_per_group) else { continue };
            let ino = group * layout.inodes_per_group + bit + 1;
            let blank = alloc::vec![0; layout.inode_size as usize];
            self.write(self.inode_pos(ino), &blank)?;
            self.put_bit(desc.inode_bitmap, &mut bitmap, bit, true)?;
            let desc = &mut space.groups[group as usize];
            desc.free_inodes -= 1;
            desc.used_dirs = desc.used_dirs.saturating_add(u16::from(kind == Kind::Directory));
            space.free_inodes = space.free_inodes.saturating_sub(1);
            self.put_counts(space, group)?;
            return Ok(ino);
        }
        Err(ENOSPC)
    }

    /// Takes an inode back.
    pub(super) fn free_ino(&self, space: &mut Space, ino: u32, kind: Kind) -> Result<()> {
        let (group, bit) = ((ino - 1) / self.layout.inodes_per_group, (ino - 1) % self.layout.inodes_per_group);
        let desc = space.groups[group as usize];
        let mut bitmap = self.bitmap(desc.inode_bitmap)?;
        if !is_set(&bitmap, bit) {
            return Err(self.error(format_args!("ext2_free_inode: bit already cleared for inode {ino}")));
        }
        self.put_bit(desc.inode_bitmap, &mut bitmap, bit, false)?;
        let desc = &mut space.groups[group as usize];
        desc.free_inodes = desc.free_inodes.saturating_add(1);
        desc.used_dirs = desc.used_dirs.saturating_sub(u16::from(kind == Kind::Directory));
        space.free_inodes = space.free_inodes.saturating_add(1);
        self.put_counts(space, group)
    }
}
