//! `dentry`: a name in the tree. File systems in memory keep their files by it.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};

use abi::{Ptr32, books::DentryRecord, out::Out};

use super::{Inode, book::Book, inode::InoCounter};
use crate::{lib::books, sync::SpinLock};

/// Bits of [`DentryRecord::flags`].
pub const DENTRY_UNLINKED: u32 = 1;
/// See [`DENTRY_UNLINKED`].
pub const DENTRY_WHOLE_NAME: u32 = 2;

/// Children of a directory, by name.
pub type Children = BTreeMap<Box<[u8]>, Arc<Dentry>>;

/// A name, its place in the tree, and its inode.
#[repr(C)]
pub struct Dentry {
    record: Book<DentryRecord>,
    place: SpinLock<Place>,
    inode: Arc<Inode>,
    /// Orders the entries of a directory by age.
    cookie: u64,
    children: SpinLock<Children>,
    /// Root of what is mounted here.
    mounted: SpinLock<Option<Arc<Dentry>>>,
}

/// Directory offsets 0 and 1 are `.` and `..`.
static COOKIES: InoCounter = InoCounter::new(2);

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
}

impl Dentry {
    /// A name for `inode` in `parent`; the caller enters it in the parent's children, if
    /// the file system keeps those.
    pub fn new(parent: Option<&Arc<Dentry>>, name: &[u8], inode: Arc<Inode>) -> Arc<Self> {
        Self::with_flags(parent, name, inode, 0)
    }

    /// A file that has no place in the tree: `pipe:[5]`, `/memfd:x (deleted)`.
    pub fn whole_name(name: &[u8], inode: Arc<Inode>, unlinked: bool) -> Arc<Self> {
        Self::with_flags(None, name, inode, DENTRY_WHOLE_NAME | if unlinked { DENTRY_UNLINKED } else { 0 })
    }

    fn with_flags(parent: Option<&Arc<Dentry>>, name: &[u8], inode: Arc<Inode>, flags: u32) -> Arc<Self> {
        let name: Box<[u8]> = name.into();
        let record = DentryRecord {
            parent: parent.map_or(Ptr32::NULL, |p| p.record.ptr()),
            name: Ptr32::new(name.as_ptr() as usize as u32),
            name_len: name.len() as u32,
            flags,
        };
        Arc::new(Dentry {
            record: Book::new(record),
            place: SpinLock::new(Place { parent: parent.cloned(), name }),
            inode,
            cookie: u64::from(COOKIES.next()),
            children: SpinLock::new(BTreeMap::new()),
            mounted: SpinLock::new(None),
        })
    }

    /// The record that the host reads.
    pub fn record(&self) -> &Book<DentryRecord> {
        &self.record
    }

    /// Where in the listing of its directory the name stands.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// The file that bears the name.
    pub fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }

    /// The directory above; `None` for the root of all.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// The last part of the path.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.to_vec()
    }

    /// Gives the dentry another place, for `rename` and for the root of a mount.
    pub fn move_to(&self, parent: Option<&Arc<Dentry>>, name: &[u8]) {
        let mut place = self.place.lock();
        let old_parent = core::mem::replace(&mut place.parent, parent.cloned());
        let old_name = core::mem::replace(&mut place.name, name.into());
        books::update(|_| {
            self.record.update(|r| {
                r.parent = parent.map_or(Ptr32::NULL, |p| p.record.ptr());
                r.name = Ptr32::new(place.name.as_ptr() as usize as u32);
                r.name_len = place.name.len() as u32;
            });
        });
        drop(place);
        drop((old_parent, old_name));
    }

    /// Says that the name is gone.
    pub fn set_unlinked(&self) {
        self.record.update(|r| r.flags |= DENTRY_UNLINKED);
    }

    /// Whether the name is gone.
    pub fn is_unlinked(&self) -> bool {
        self.record.with(|r| r.flags & DENTRY_UNLINKED != 0)
    }

    /// The children, for file systems that keep them here.
    pub fn children(&self) -> &SpinLock<Children> {
        &self.children
    }

    /// Follows a mount, if something is mounted here.
    pub fn follow_mount(self: Arc<Self>) -> Arc<Self> {
        let mounted = self.mounted.lock().clone();
        mounted.unwrap_or(self)
    }

    /// Mounts the file system with the root `root` here, or takes a mount away.
    pub fn set_mounted(&self, root: Option<Arc<Dentry>>) -> Option<Arc<Dentry>> {
        core::mem::replace(&mut self.mounted.lock(), root)
    }

    /// Whether something is mounted here.
    pub fn is_mount_point(&self) -> bool {
        self.mounted.lock().is_some()
    }

    /// Writes the path from the root of all. It allocates nothing: `/proc` files are
    /// gathered with it.
    pub fn write_path(&self, out: &mut dyn Out) {
        let (depth, flags) = (self.depth(), self.record.with(|r| r.flags));
        if depth == 0 && flags & DENTRY_WHOLE_NAME == 0 {
            out.bytes(b"/");
        }
        for level in (0..depth).rev() {
            out.bytes(b"/");
            self.write_ancestor_name(level, out);
        }
        if flags & DENTRY_WHOLE_NAME != 0 {
            self.write_ancestor_name(0, out);
        }
        if flags & DENTRY_UNLINKED != 0 {
            out.bytes(b" (deleted)");
        }
    }

    /// The path as bytes.
    pub fn path(&self) -> Vec<u8> {
        abi::out::render(|out| self.write_path(out))
    }

    /// Names below the root of all.
    fn depth(&self) -> usize {
        let mut depth = 0;
        let mut at = self.parent();
        while let Some(parent) = at {
            depth += 1;
            at = parent.parent();
        }
        depth
    }

    fn write_ancestor_name(&self, level: usize, out: &mut dyn Out) {
        let mut above = None;
        for _ in 0..level {
            above = above.as_ref().map_or_else(|| self.parent(), |d: &Arc<Dentry>| d.parent());
        }
        let dentry = above.as_deref().unwrap_or(self);
        abi::proc::maps::escaped(out, &dentry.place.lock().name);
    }
}

impl Drop for Dentry {
    /// Lets go of the names above one after the other: a chain of removed directories that
    /// only its lowest name kept must not be dropped by recursion.
    fn drop(&mut self) {
        let mut parent = self.place.lock().parent.take();
        while let Some(dentry) = parent.and_then(Arc::into_inner) {
            parent = dentry.place.lock().parent.take();
        }
    }
}

/// Forgets all names below `root`, when the file system goes. Names and their parents keep
/// each other otherwise.
pub fn shrink_tree(root: &Arc<Dentry>) {
    let mut pending = alloc::vec![root.clone()];
    while let Some(dentry) = pending.pop() {
        let children = core::mem::take(&mut *dentry.children.lock());
        pending.extend(children.into_values());
    }
}

/// Whether `dentry` is `ancestor` or lies below it.
pub fn is_below(dentry: &Arc<Dentry>, ancestor: &Arc<Dentry>) -> bool {
    let mut at = Some(dentry.clone());
    while let Some(dentry) = at {
        if Arc::ptr_eq(&dentry, ancestor) {
            return true;
        }
        at = dentry.parent();
    }
    false
}
