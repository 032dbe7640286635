//! ext2, the second extended file system, read and written (Linux's `fs/ext2`).
//!
//! Metadata is in buffers of its own, contents are in the page cache of each file. One sleeping lock of the file system guards all that allocates, frees or changes a
//! directory; reading a file, and writing its pages back, take no lock of it.

mod balloc;
mod buffer;
mod dir;
mod file;
mod ialloc;
mod inode;
mod layout;
mod map;
mod namei;
mod super_block;

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::errno::{EIO, EROFS, Result};

use self::{
    buffer::Buffers,
    inode::Node,
    layout::{GroupDesc, Layout},
};
use super::{Dentry, Inode, SuperBlock};
use crate::{
    block::BlockDevice,
    sync::{Mutex, MutexGuard, SpinLock},
};

pub use super_block::mount;

/// `f_type` of ext2.
pub const EXT2_SUPER_MAGIC: u32 = 0xef53;
/// Number of the root directory.
const ROOT_INO: u32 = 2;

/// Whether a mount may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// What changes as blocks and inodes are given out.
struct Space {
    groups: Vec<GroupDesc>,
    free_blocks: u32,
    free_inodes: u32,
}

/// An inode in use, as the kernel and as this file system see it.
type Known = (Arc<Inode>, Arc<Node>);

/// A mounted file system.
pub struct Ext2 {
    device: Arc<BlockDevice>,
    buffers: Buffers,
    layout: Layout,
    /// First block of the inodes of each group.
    inode_tables: Vec<u32>,
    access: Access,
    /// The lock of all that changes metadata.
    space: Mutex<Space>,
    /// Inodes in use, by number.
    inodes: SpinLock<BTreeMap<u32, Known>>,
    /// Inodes without a name that nobody uses any more, to be freed.
    orphans: SpinLock<Vec<Arc<Node>>>,
    /// Inodes without a name that somebody still has open or mapped.
    unlinked: AtomicU32,
    /// Damage was met: nothing is written from then on (`errors=remount-ro`).
    damaged: AtomicBool,
}

impl Ext2 {
    /// Reads metadata. EIO.
    fn read(&self, pos: u64, out: &mut [u8]) -> Result<()> {
        self.buffers.read(pos, out)
    }

    /// Writes metadata, which reaches the device later. EIO.
    fn write(&self, pos: u64, data: &[u8]) -> Result<()> {
        self.buffers.write(pos, data)
    }

    /// The lock for a change. What nobody uses any more is freed first.
    fn lock_for_change(self: &Arc<Self>) -> Result<MutexGuard<'_, Space>> {
        self.check_writable()?;
        self.buffers.balance()?;
        let mut space = self.space.lock();
        self.free_orphans(&mut space);
        Ok(space)
    }

    /// Where a block begins on the device.
    fn block_pos(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.layout.block_size)
    }

    /// EROFS if nothing may be written.
    fn check_writable(&self) -> Result<()> {
        if self.access == Access::ReadOnly || self.damaged.load(Relaxed) { Err(EROFS) } else { Ok(()) }
    }

    /// `ext2_error`: tells of damage, and writes nothing more. The error for the caller.
    fn error(&self, args: core::fmt::Arguments<'_>) -> abi::Errno {
        crate::pr_info!("EXT2-fs ({}): error: {}", self.device.name, args);
        if !self.damaged.swap(true, Relaxed) && self.access == Access::ReadWrite {
            crate::pr_info!("EXT2-fs ({}): Remounting filesystem read-only", self.device.name);
        }
        EIO
    }
}
