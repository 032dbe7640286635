//! What is where on the device: the superblock, the descriptors of the groups, the inodes.

use alloc::vec::Vec;

use abi::wire::{u16_at, u32_at};

/// Where the superblock lies, whatever the size of a block.
pub const SUPER_POS: u64 = 1024;
/// Bytes of it that are used.
pub const SUPER_BYTES: usize = 1024;
/// Bytes of a descriptor.
pub const DESC_BYTES: usize = 32;
/// Bytes of an inode that are used; the rest is for extended attributes.
pub const INODE_BYTES: usize = 128;
/// Pointers in an inode: 12 to data, then one of each level of indirection.
pub const N_BLOCKS: usize = 15;

/// Fields of the superblock.
pub mod field {
    #![allow(missing_docs, reason = "Linux's names, without s_")]
    pub const FREE_BLOCKS: u64 = 12;
    pub const FREE_INODES: u64 = 16;
    pub const MTIME: u64 = 44;
    pub const WTIME: u64 = 48;
    pub const MNT_COUNT: u64 = 52;
    pub const STATE: u64 = 58;
}

/// The file system was unmounted cleanly.
pub const VALID_FS: u16 = 1;
/// Damage has been found.
pub const ERROR_FS: u16 = 2;

/// Directory entries have a type.
const INCOMPAT_FILETYPE: u32 = 2;
/// Copies of the superblock are few, files may be large.
const RO_COMPAT_KNOWN: u32 = 1 | 2;

/// Why a superblock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    NoMagic,
    /// It has a feature that this code does not know.
    Incompatible(u32),
    /// Its numbers cannot be true.
    Damaged(&'static str),
}

/// The numbers that do not change.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Bytes in a block: 1024, 2048 or 4096.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u32,
    /// Inodes in all.
    pub inodes: u32,
    /// Blocks kept for the superuser.
    pub reserved_blocks: u32,
    /// The block that holds the superblock, where groups begin.
    pub first_data_block: u32,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Bytes from an inode to the next.
    pub inode_size: u32,
    /// The first inode that is not reserved.
    pub first_ino: u32,
    /// Groups.
    pub groups: u32,
    /// Directory entries have a type.
    pub has_file_type: bool,
    /// Features unknown here that forbid writing.
    pub unknown_ro_compat: u32,
    /// State at the mount.
    pub state: u16,
    /// Mounts since the last check.
    pub mount_count: u16,
}

impl Layout {
    /// Takes a superblock apart. `device_bytes` is the size of what it lies on.
    pub fn parse(sb: &[u8], device_bytes: u64) -> Result<Layout, Refusal> {
        if u16_at(sb, 56) != 0xef53 {
            return Err(Refusal::NoMagic);
        }
        let dynamic = u32_at(sb, 76) >= 1;
        let feature = |at| if dynamic { u32_at(sb, at) } else { 0 };
        let unknown = feature(96) & !INCOMPAT_FILETYPE;
        if unknown != 0 {
            return Err(Refusal::Incompatible(unknown));
        }
        let damaged = |why| Err(Refusal::Damaged(why));
        let log_block_size = u32_at(sb, 24);
        if log_block_size > 2 {
            return damaged("block size");
        }
        let block_size = 1024 << log_block_size;
        let layout = Layout {
            block_size,
            blocks: u32_at(sb, 4),
            inodes: u32_at(sb, 0),
            reserved_blocks: u32_at(sb, 8),
            first_data_block: u32_at(sb, 20),
            blocks_per_group: u32_at(sb, 32),
            inodes_per_group: u32_at(sb, 40),
            inode_size: if dynamic { u16_at(sb, 88).into() } else { INODE_BYTES as u32 },
            first_ino: if dynamic { u32_at(sb, 84) } else { 11 },
            groups: 0,
            has_file_type: feature(96) & INCOMPAT_FILETYPE != 0,
            unknown_ro_compat: feature(100) & !RO_COMPAT_KNOWN,
            state: u16_at(sb, 58),
            mount_count: u16_at(sb, 52),
        };
        let bits = 8 * block_size;
        if layout.blocks_per_group == 0 || layout.blocks_per_group > bits {
            return damaged("blocks per group");
        }
        let inode_size_fits = layout.inode_size.is_power_of_two() && (128..=block_size).contains(&layout.inode_size);
        if !inode_size_fits {
            return damaged("inode size");
        }
        let inodes_per_block = block_size / layout.inode_size;
        if layout.inodes_per_group < inodes_per_block || layout.inodes_per_group > bits {
            return damaged("inodes per group");
        }
        if layout.first_data_block != u32::from(block_size == 1024) || layout.blocks <= layout.first_data_block {
            return damaged("first data block");
        }
        if u64::from(layout.blocks) * u64::from(block_size) > device_bytes {
            return damaged("block count exceeds the size of the device");
        }
        let groups = (layout.blocks - layout.first_data_block).div_ceil(layout.blocks_per_group);
        if u64::from(groups) * u64::from(layout.inodes_per_group) != u64::from(layout.inodes) {
            return damaged("inode count");
        }
        Ok(Layout { groups, ..layout })
    }

    /// Where the descriptors begin.
    pub fn descs_pos(&self) -> u64 {
        u64::from(self.first_data_block + 1) * u64::from(self.block_size)
    }

    /// Blocks of inodes in a group.
    pub fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group.div_ceil(self.block_size / self.inode_size)
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u32) -> u32 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// How many blocks a group has; the last may have fewer.
    pub fn group_blocks(&self, group: u32) -> u32 {
        (self.blocks - self.group_start(group)).min(self.blocks_per_group)
    }

    /// Whether a block can hold data.
    pub fn is_data_block(&self, block: u32) -> bool {
        block > self.first_data_block && block < self.blocks
    }

    /// Whether an inode of that number may be used by a directory entry.
    pub fn is_valid_ino(&self, ino: u32) -> bool {
        ino == super::ROOT_INO || ino >= self.first_ino && ino <= self.inodes
    }

    /// Pointers in a block.
    pub fn pointers(&self) -> u32 {
        self.block_size / 4
    }

    /// Sectors of the device in a block.
    pub fn block_sectors(&self) -> u32 {
        self.block_size / 512
    }
}

/// The descriptor of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupDesc {
    /// Block of the bitmap of blocks.
    pub block_bitmap: u32,
    /// Block of the bitmap of inodes.
    pub inode_bitmap: u32,
    /// First block of the inodes.
    pub inode_table: u32,
    /// Free blocks.
    pub free_blocks: u16,
    /// Free inodes.
    pub free_inodes: u16,
    /// Directories.
    pub used_dirs: u16,
}

impl GroupDesc {
    /// Takes a descriptor apart.
    pub fn parse(bytes: &[u8]) -> GroupDesc {
        GroupDesc {
            block_bitmap: u32_at(bytes, 0),
            inode_bitmap: u32_at(bytes, 4),
            inode_table: u32_at(bytes, 8),
            free_blocks: u16_at(bytes, 12),
            free_inodes: u16_at(bytes, 14),
            used_dirs: u16_at(bytes, 16),
        }
    }

    /// The three counts as they stand from byte 12 on.
    pub fn counts(&self) -> [u8; 6] {
        let [a, b] = self.free_blocks.to_le_bytes();
        let [c, d] = self.free_inodes.to_le_bytes();
        let [e, f] = self.used_dirs.to_le_bytes();
        [a, b, c, d, e, f]
    }
}

/// The part of an inode that is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawInode(pub Vec<u8>);

impl RawInode {
    /// 16 bits at a place.
    pub fn u16(&self, at: usize) -> u16 {
        u16_at(&self.0, at)
    }

    /// 32 bits at a place.
    pub fn u32(&self, at: usize) -> u32 {
        u32_at(&self.0, at)
    }

    /// Stores 16 bits.
    pub fn put_u16(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// Stores 32 bits.
    pub fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}
