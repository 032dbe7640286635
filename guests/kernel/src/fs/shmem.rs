//! Files without a name in the tree: shared anonymous memory, `memfd`, System V shared
//! memory.

use alloc::{sync::Arc, vec::Vec};

use abi::{errno::Result, stat::mode};

use super::{
    Dentry, File, SuperBlock,
    file::o,
    ramfs::{self, RegularFile, TMPFS_MAGIC},
    super_block::minor,
};
use crate::sync::Once;

static SHM_MNT: Once<Arc<SuperBlock>> = Once::new();

/// Makes the internal tmpfs; inode 1 would be its root.
pub fn init() {
    SHM_MNT.set(SuperBlock::new("tmpfs", TMPFS_MAGIC, minor::SHM, 2));
}

/// An unlinked file of `size` bytes that `maps` shows as `/name (deleted)`.
pub fn file_setup(name: &str, size: u64) -> Result<Arc<File>> {
    let inode = ramfs::new_inode(SHM_MNT.get(), mode::S_IFREG | 0o777, (0, 0));
    ramfs::truncate(&inode, size)?;
    *inode.write_count.lock() += 1;
    inode.update(|a| a.nlink = 0);
    let mut path: Vec<u8> = Vec::new();
    if !name.starts_with('/') {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    Ok(File::new(Dentry::whole_name(&path, inode, true), Arc::new(RegularFile), o::RDWR))
}
