//! Files: the tree of names, open files, the file systems in memory and on disks, `/proc`, `/sys`
//! and `/dev`.

pub mod anon_inode;
pub mod block_dev;
pub mod book;
pub mod chrdev;
pub mod dentry;
pub mod eventfd;
pub mod ext2;
pub mod fdtable;
pub mod file;
pub mod initramfs;
pub mod inode;
pub mod iov;
pub mod namei;
pub mod pipe;
pub mod poll;
pub mod procfs;
pub mod ramfs;
pub mod readdir;
pub mod shmem;
pub mod super_block;
pub mod sysfs;

pub use book::Book;
pub use dentry::Dentry;
pub use fdtable::{FdTable, OnExec};
pub use file::{File, FileOps, Whence};
pub use inode::{Inode, InodeOps};
pub use iov::{Dest, Source};
pub use poll::PollTable;
pub use readdir::{DirContext, DirentFormat};
pub use super_block::SuperBlock;

use abi::{
    errno::Result,
    stat::{Timespec, mode},
};

use self::super_block::{minor, mount};

/// The time for a file's stamps.
pub fn now() -> Timespec {
    let ns = crate::time::getnstimeofday();
    Timespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
}

/// Makes the tree: the root, what the initramfs brings, and the mounts of boot.
pub fn init() {
    let root = ramfs::new_fs("rootfs", ramfs::RAMFS_MAGIC, minor::ROOTFS);
    namei::ROOT.set(root.clone());
    mount("rootfs", &root, None, "rw");
    shmem::init();
    pipe::init();
    anon_inode::init();
}

/// Unpacks the initramfs and mounts `/dev`, `/proc`, `/sys` and `/tmp`. Runs as PID 1.
#[cold]
#[inline(never)]
pub fn populate() -> Result<()> {
    initramfs::unpack_all();
    let root = namei::ROOT.get();
    for (name, source, options) in [
        ("dev", "devtmpfs", "rw,relatime,mode=755"),
        ("proc", "proc", "rw,relatime"),
        ("sys", "sysfs", "rw,relatime"),
        ("tmp", "tmpfs", "rw,relatime"),
    ] {
        let point = match namei::lookup_one(root, name.as_bytes()) {
            Ok(point) => point,
            Err(_) => ramfs::add(root, name.as_bytes(), mode::S_IFDIR | 0o755, (0, 0))?,
        };
        let fs_root = match name {
            "dev" => chrdev::new_devtmpfs()?,
            "proc" => procfs::new_fs(),
            "sys" => sysfs::new_fs(),
            _ => ramfs::new_fs("tmpfs", ramfs::TMPFS_MAGIC, minor::TMP),
        };
        if name == "tmp" {
            fs_root.inode().update(|a| a.mode = mode::S_IFDIR | 0o1777);
        }
        mount(source, &fs_root, Some(&point), options);
    }
    Ok(())
}
