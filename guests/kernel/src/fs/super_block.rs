//! `super_block`: a mounted file system.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use abi::{
    errno::{EBUSY, EINVAL, Result},
    stat::Kstatfs,
};

use super::{
    Dentry,
    dentry::{is_below, shrink_tree},
    inode::InoCounter,
    ramfs::TMPFS_MAGIC,
};
use crate::{mm::shmem::ShmemRoom, sync::SpinLock};

/// A file system instance.
pub struct SuperBlock {
    /// The name of the file system.
    pub fs_type: &'static str,
    /// Major and minor device number, as `maps` and `stat` show it.
    pub dev: (u32, u32),
    /// `f_type` of `statfs`.
    pub magic: u32,
    /// How much a tmpfs may hold; others have no limit of their own.
    pub room: Option<Arc<ShmemRoom>>,
    inos: InoCounter,
    ops: Option<Box<dyn SuperOps>>,
}

/// What a file system on a device does as a whole.
pub trait SuperOps: Send + Sync {
    /// Everything reaches the device. EIO.
    fn sync(&self) -> Result<()>;

    /// Whether some file of it is still in use, names aside.
    fn is_busy(&self) -> bool;

    /// The mount ends: everything reaches the device, which is given back.
    fn put_super(&self);

    /// Sizes and counts.
    fn statfs(&self) -> Kstatfs;
}

impl SuperBlock {
    /// A new instance; its first inode gets the number `first_ino`.
    pub fn new(fs_type: &'static str, magic: u32, minor: u32, first_ino: u32) -> Arc<Self> {
        // Memory that is shared without a file has no limit.
        let room = (magic == TMPFS_MAGIC && minor != minor::SHM).then(ShmemRoom::usual);
        Arc::new(SuperBlock { fs_type, dev: (0, minor), magic, room, inos: InoCounter::new(first_ino), ops: None })
    }

    /// An instance on the device `dev`.
    pub fn on_device(fs_type: &'static str, magic: u32, dev: (u32, u32), ops: Box<dyn SuperOps>) -> Arc<Self> {
        Arc::new(SuperBlock { fs_type, dev, magic, room: None, inos: InoCounter::default(), ops: Some(ops) })
    }

    /// What a file system on a device does.
    pub fn ops(&self) -> Option<&dyn SuperOps> {
        self.ops.as_deref()
    }

    /// The next free inode number.
    pub fn next_ino(&self) -> u32 {
        self.inos.next()
    }
}

/// A row of `/proc/mounts`.
pub struct Mount {
    /// Its number, which no other mount gets.
    pub id: u32,
    /// What is mounted: a device's name or a word.
    pub source: String,
    /// Root of the mounted file system.
    pub root: Arc<Dentry>,
    /// Where it is mounted; `None` for the root of all.
    pub point: Option<Arc<Dentry>>,
    /// `rw,relatime` and more.
    pub options: &'static str,
}

impl Mount {
    /// The number of the mount that this one lies in; its own for the root of all.
    pub fn parent_id(&self, all: &[Mount]) -> u32 {
        let below = self.point.as_ref().map(|point| point.inode().sb());
        let parent = all.iter().find(|m| below.is_some_and(|sb| Arc::ptr_eq(m.root.inode().sb(), sb)));
        parent.map_or(self.id, |parent| parent.id)
    }
}

/// All mounts, in order.
pub static MOUNTS: SpinLock<Vec<Mount>> = SpinLock::new(Vec::new());

/// Mounts the file system with the root `root` on the directory `point`.
pub fn mount(source: &str, root: &Arc<Dentry>, point: Option<&Arc<Dentry>>, options: &'static str) {
    if let Some(point) = point {
        root.move_to(point.parent().as_ref(), &point.name());
        point.set_mounted(Some(root.clone()));
    }
    static IDS: InoCounter = InoCounter::new(1);
    let mount = Mount { id: IDS.next(), source: source.into(), root: root.clone(), point: point.cloned(), options };
    MOUNTS.lock().push(mount);
}

/// Takes the mount with the root `root` away. EINVAL if there is none, EBUSY if something is
/// mounted below or a file is in use.
pub fn umount(root: &Arc<Dentry>) -> Result<()> {
    let mut mounts = MOUNTS.lock();
    let is_it = |m: &Mount| Arc::ptr_eq(&m.root, root);
    let at = mounts.iter().rposition(|m| is_it(m) && m.point.is_some()).ok_or(EINVAL)?;
    let below = |m: &Mount| !is_it(m) && m.point.as_ref().is_some_and(|point| is_below(point, root));
    if mounts.iter().any(below) {
        return Err(EBUSY);
    }
    let ops = root.inode().sb().ops();
    if let Some(ops) = ops {
        // Names are found again on the device.
        shrink_tree(root);
        if ops.is_busy() {
            return Err(EBUSY);
        }
    }
    let mount = mounts.remove(at);
    drop(mounts);
    if let Some(point) = mount.point {
        drop(point.set_mounted(None));
    }
    shrink_tree(root);
    if let Some(ops) = ops {
        ops.put_super();
    }
    Ok(())
}

/// `sync_filesystems`: what the file systems on devices have reaches these. The first failure.
pub fn sync_all() -> Result<()> {
    let all: Vec<Arc<SuperBlock>> = MOUNTS.lock().iter().map(|mount| mount.root.inode().sb().clone()).collect();
    let mut result = Ok(());
    for ops in all.iter().filter_map(|sb| sb.ops()) {
        result = result.and(ops.sync());
    }
    result
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
    pub const HUGETLBFS: u32 = 15;
    pub const PROC: u32 = 20;
    pub const TMP: u32 = 21;
    pub const SYSFS: u32 = 22;
}
const FIRST_FREE_MINOR: u32 = 30;
