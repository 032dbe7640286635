//! `super_block`: a mounted file system.

use alloc::{string::String, sync::Arc, vec::Vec};

use super::{Dentry, inode::InoCounter};
use crate::sync::SpinLock;

/// A file system instance.
pub struct SuperBlock {
    /// The name of the file system.
    pub fs_type: &'static str,
    /// Major and minor device number, as `maps` and `stat` show it.
    pub dev: (u32, u32),
    /// `f_type` of `statfs`.
    pub magic: u32,
    inos: InoCounter,
}

impl SuperBlock {
    /// A new instance; its first inode gets the number `first_ino`.
    pub fn new(fs_type: &'static str, magic: u32, minor: u32, first_ino: u32) -> Arc<Self> {
        Arc::new(SuperBlock { fs_type, dev: (0, minor), magic, inos: InoCounter::new(first_ino) })
    }

    /// The next free inode number.
    pub fn next_ino(&self) -> u32 {
        self.inos.next()
    }
}

/// A row of `/proc/mounts`.
pub struct Mount {
    /// What is mounted: a device's name or a word.
    pub source: String,
    /// Root of the mounted file system.
    pub root: Arc<Dentry>,
    /// Where it is mounted; `None` for the root of all.
    pub point: Option<Arc<Dentry>>,
    /// `rw,relatime` and more.
    pub options: &'static str,
}

/// All mounts, in order.
pub static MOUNTS: SpinLock<Vec<Mount>> = SpinLock::new(Vec::new());

/// Mounts the file system with the root `root` on the directory `point`.
pub fn mount(source: &str, root: &Arc<Dentry>, point: Option<&Arc<Dentry>>, options: &'static str) {
    if let Some(point) = point {
        root.move_to(point.parent().as_ref(), &point.name());
        point.set_mounted(Some(root.clone()));
    }
    let mount = Mount { source: source.into(), root: root.clone(), point: point.cloned(), options };
    MOUNTS.lock().push(mount);
}

/// Takes the mount with the root `root` away; `None` if there is none.
pub fn umount(root: &Arc<Dentry>) -> Option<()> {
    let mut mounts = MOUNTS.lock();
    let at = mounts.iter().rposition(|m| Arc::ptr_eq(&m.root, root) && m.point.is_some())?;
    let mount = mounts.remove(at);
    drop(mounts);
    drop(mount.point?.set_mounted(None));
    super::dentry::shrink_tree(root);
    Some(())
}

/// The minor number of the next nameless device.
pub fn next_anon_minor() -> u32 {
    static NEXT: InoCounter = InoCounter::new(FIRST_FREE_MINOR);
    NEXT.next()
}

/// Minor numbers that boot gives away, as Linux does: the internal tmpfs, the root, and the
/// file systems mounted at boot.
pub mod minor {
    #![allow(missing_docs, reason = "names of file systems")]
    pub const SHM: u32 = 1;
    pub const ROOTFS: u32 = 2;
    pub const DEVTMPFS: u32 = 5;
    pub const PIPEFS: u32 = 13;
    pub const ANON_INODE: u32 = 14;
    pub const PROC: u32 = 20;
    pub const TMP: u32 = 21;
}
const FIRST_FREE_MINOR: u32 = 30;
