//! Open files that are no files: `anon_inode:[eventfd]` and the like.

use alloc::{boxed::Box, format, sync::Arc};

use abi::stat::mode;

use super::{Dentry, File, FileOps, Inode, InodeOps, SuperBlock, inode::Attr, super_block::minor};
use crate::sync::Once;

static MNT: Once<Arc<Inode>> = Once::new();

struct Nothing;
impl InodeOps for Nothing {}

/// Makes the one inode that all of them share.
pub fn init() {
    let sb = SuperBlock::new("anon_inodefs", 0x0904_1934, minor::ANON_INODE, 1);
    let attr = Attr { mode: mode::S_IFREG | 0o600, nlink: 1, ..Attr::default() };
    MNT.set(Inode::new(&sb, attr, None, Box::new(Nothing)));
}

/// An open file with the given behaviour, shown as `anon_inode:name`.
pub fn file(name: &str, ops: Arc<dyn FileOps>, flags: u32) -> Arc<File> {
    let inode = MNT.get().clone();
    // It counts as a writer for as long as it is open for writing, as any regular file.
    if flags & super::file::o::ACCMODE != super::file::o::RDONLY {
        *inode.write_count.lock() += 1;
    }
    File::new(Dentry::whole_name(format!("anon_inode:{name}").as_bytes(), inode, false), ops, flags)
}
