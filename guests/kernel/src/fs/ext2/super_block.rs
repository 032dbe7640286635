//! Mounting, the counts of the superblock, and the end of a mount.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::{
    errno::{EINVAL, EUCLEAN, Result},
    stat::Kstatfs,
};

use super::{
    Access, Dentry, EXT2_SUPER_MAGIC, Ext2, Inode, ROOT_INO, Space, SuperBlock,
    buffer::Buffers,
    layout::{DESC_BYTES, ERROR_FS, GroupDesc, Layout, Refusal, SUPER_BYTES, SUPER_POS, VALID_FS, field},
};
use crate::{
    block::BlockDevice,
    fs::super_block::SuperOps,
    pr_info,
    sync::{Mutex, SpinLock},
};

/// Mounts the file system on `device`; gives its root. EINVAL if there is none that this code
/// can read, EUCLEAN for a damaged one, EBUSY if the device is in use, EIO.
pub fn mount(device: &Arc<BlockDevice>, access: Access) -> Result<Arc<Dentry>> {
    device.claim()?;
    let root = fill_super(device, access);
    if root.is_err() {
        device.unclaim();
    }
    root
}

fn fill_super(device: &Arc<BlockDevice>, access: Access) -> Result<Arc<Dentry>> {
    if device.capacity() < 4 {
        return Err(EINVAL);
    }
    let mut sb = alloc::vec![0; SUPER_BYTES];
    Buffers::new(device, SUPER_BYTES as u32).read(SUPER_POS, &mut sb)?;
    let name = &device.name;
    let layout = Layout::parse(&sb, device.capacity() * 512).map_err(|refusal| match refusal {
        Refusal::NoMagic => {
            pr_info!("EXT2-fs ({name}): error: can't find an ext2 filesystem on dev {name}.");
            EINVAL
        }
        Refusal::Incompatible(bits) => {
            pr_info!("EXT2-fs ({name}): error: couldn't mount because of unsupported optional features ({bits:x})");
            EINVAL
        }
        Refusal::Damaged(why) => {
            pr_info!("EXT2-fs ({name}): error: bad superblock: {why}");
            EUCLEAN
        }
    })?;
    let unknown = layout.unknown_ro_compat;
    if unknown != 0 && access == Access::ReadWrite {
        pr_info!("EXT2-fs ({name}): error: couldn't mount RDWR because of unsupported optional features ({unknown:x})");
        return Err(EINVAL);
    }
    if layout.state & VALID_FS == 0 {
        pr_info!("EXT2-fs ({name}): warning: mounting unchecked fs, running e2fsck is recommended");
    } else if layout.state & ERROR_FS != 0 {
        pr_info!("EXT2-fs ({name}): warning: mounting fs with errors, running e2fsck is recommended");
    }
    let buffers = Buffers::new(device, layout.block_size);
    let mut descs = alloc::vec![0; layout.groups as usize * DESC_BYTES];
    buffers.read(layout.descs_pos(), &mut descs)?;
    let groups: Vec<GroupDesc> = descs.chunks_exact(DESC_BYTES).map(GroupDesc::parse).collect();
    check_groups(name, &layout, &groups)?;
    let inode_tables = groups.iter().map(|group| group.inode_table).collect();
    let sum = |count: fn(&GroupDesc) -> u16| groups.iter().map(|group| u32::from(count(group))).sum();
    let space = Space { free_blocks: sum(|g| g.free_blocks), free_inodes: sum(|g| g.free_inodes), groups };
    let fs = Arc::new(Ext2 {
        device: device.clone(),
        buffers,
        layout,
        inode_tables,
        access,
        space: Mutex::new(space),
        inodes: SpinLock::new(BTreeMap::new()),
        orphans: SpinLock::new(Vec::new()),
        unlinked: AtomicU32::new(0),
        damaged: AtomicBool::new(false),
    });
    let sb = SuperBlock::on_device("ext2", EXT2_SUPER_MAGIC, device.rdev, Box::new(Mounted(fs.clone())));
    let root = fs.open_root(&sb);
    if root.is_err() {
        // Inodes in use hold the file system, which holds them.
        let inodes = core::mem::take(&mut *fs.inodes.lock());
        drop(inodes);
    }
    root.map(|root| Dentry::new(None, b"", root))
}

/// Bitmaps and inode tables lie within their groups.
fn check_groups(name: &str, layout: &Layout, groups: &[GroupDesc]) -> Result<()> {
    for (number, group) in (0..).zip(groups) {
        let start = layout.group_start(number);
        let end = start + layout.group_blocks(number);
        let within = |first: u32, len: u32| first >= start && first.checked_add(len).is_some_and(|last| last <= end);
        let good = within(group.block_bitmap, 1)
            && within(group.inode_bitmap, 1)
            && within(group.inode_table, layout.inode_table_blocks())
            && u32::from(group.free_blocks) <= layout.blocks_per_group
            && u32::from(group.free_inodes) <= layout.inodes_per_group;
        if !good {
            pr_info!("EXT2-fs ({name}): error: ext2_check_descriptors: group {number} is not where it can be");
            pr_info!("EXT2-fs ({name}): error: group descriptors corrupted");
            return Err(EUCLEAN);
        }
    }
    Ok(())
}

impl Ext2 {
    /// Writes a field of the superblock.
    fn put_super(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.write(SUPER_POS + at, bytes)
    }

    /// The root directory, and the file system is in use. EUCLEAN, EIO.
    fn open_root(self: &Arc<Self>, sb: &Arc<SuperBlock>) -> Result<Arc<Inode>> {
        let root = self.iget(sb, ROOT_INO)?;
        if !root.is_dir() {
            pr_info!("EXT2-fs ({}): error: corrupt root inode, run e2fsck", self.device.name);
            return Err(EUCLEAN);
        }
        if self.access == Access::ReadWrite {
            self.begin()?;
        }
        Ok(root)
    }

    /// The file system is in use: whoever finds it so after a crash knows to check it.
    fn begin(&self) -> Result<()> {
        let now = crate::fs::now().sec as u32;
        self.put_super(field::MTIME, &now.to_le_bytes())?;
        self.put_super(field::MNT_COUNT, &self.layout.mount_count.wrapping_add(1).to_le_bytes())?;
        self.put_super(field::STATE, &(self.layout.state & !VALID_FS).to_le_bytes())
    }

    /// The counts of a group and of all reach the superblock and the descriptor.
    pub(super) fn put_counts(&self, space: &Space, group: u32) -> Result<()> {
        let desc = &space.groups[group as usize];
        self.write(self.layout.descs_pos() + u64::from(group) * DESC_BYTES as u64 + 12, &desc.counts())?;
        let mut both = [0; 8];
        both[..4].copy_from_slice(&space.free_blocks.to_le_bytes());
        both[4..].copy_from_slice(&space.free_inodes.to_le_bytes());
        debug_assert_eq!(field::FREE_INODES, field::FREE_BLOCKS + 4);
        self.put_super(field::FREE_BLOCKS, &both)
    }

    /// Everything reaches the device: inodes, contents, metadata.
    fn sync_all(self: &Arc<Self>) -> Result<()> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        self.free_orphans(&mut self.space.lock());
        let mut result = Ok(());
        let nodes: Vec<_> = self.inodes.lock().values().cloned().collect();
        for (inode, node) in nodes {
            let contents = inode.mapping().map_or(Ok(()), |mapping| mapping.sync());
            let written = contents.and_then(|()| node.zero_fresh()).and(node.write_inode(&inode));
            result = result.and(written);
        }
        result.and(self.buffers.sync()).and(self.device.flush())
    }
}

/// A mounted ext2, as the kernel sees it.
struct Mounted(Arc<Ext2>);

impl SuperOps for Mounted {
    fn sync(&self) -> Result<()> {
        self.0.sync_all()
    }

    fn is_busy(&self) -> bool {
        // Whoever uses an inode beside the table of all has it open, mapped, or under its name.
        self.0.unlinked.load(Relaxed) != 0
            || self.0.inodes.lock().iter().any(|(&ino, (inode, _))| ino != ROOT_INO && Arc::strong_count(inode) > 1)
    }

    fn put_super(&self) {
        let fs = &self.0;
        let synced = fs.sync_all();
        // Nobody has a file of it open: inodes may go.
        let inodes = core::mem::take(&mut *fs.inodes.lock());
        drop(inodes);
        if fs.access == Access::ReadWrite {
            let state = if fs.damaged.load(Relaxed) { fs.layout.state | ERROR_FS } else { fs.layout.state };
            let now = (crate::fs::now().sec as u32).to_le_bytes();
            let closed = synced
                .and_then(|()| fs.put_super(field::WTIME, &now))
                .and_then(|()| fs.put_super(field::STATE, &state.to_le_bytes()))
                .and_then(|()| fs.buffers.sync())
                .and_then(|()| fs.device.flush());
            if closed.is_err() {
                pr_info!("EXT2-fs ({}): error: could not be unmounted cleanly", fs.device.name);
            }
        }
        fs.device.unclaim();
    }

    fn statfs(&self) -> Kstatfs {
        let fs = &self.0;
        let mut space = fs.space.lock();
        fs.free_orphans(&mut space);
        let tables = fs.layout.groups * (fs.layout.inode_table_blocks() + 2);
        Kstatfs {
            magic: EXT2_SUPER_MAGIC,
            bsize: fs.layout.block_size,
            blocks: fs.layout.blocks.saturating_sub(fs.layout.first_data_block + tables).into(),
            bfree: space.free_blocks.into(),
            bavail: space.free_blocks.saturating_sub(fs.layout.reserved_blocks).into(),
            files: fs.layout.inodes.into(),
            ffree: space.free_inodes.into(),
        }
    }
}
