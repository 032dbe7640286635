//! Inodes on the device and in use, and the pages of files.

use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, sync::Weak, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::{
    errno::{EIO, Result},
    stat::{Timespec, decode_dev, encode_dev, mode},
    wire::u32_at,
};

use super::{
    Ext2, Inode, Known, Space, SuperBlock,
    ialloc::Kind,
    layout::{INODE_BYTES, N_BLOCKS, RawInode},
    namei::Ops,
};
use crate::{
    fs::inode::{Attr, InodeOps},
    mm::{
        PAGE_SIZE, Page, alloc_page,
        filemap::{AddressSpace, AddressSpaceOps, Backing},
        gfp::{GFP_KERNEL, Gfp},
        highmem::kmap_local,
        page::put_page,
    },
    sync::{Mutex, Once, SpinLock},
};

/// Places in an inode.
mod at {
    pub const MODE: usize = 0;
    pub const UID: usize = 2;
    pub const SIZE: usize = 4;
    pub const ATIME: usize = 8;
    pub const CTIME: usize = 12;
    pub const MTIME: usize = 16;
    pub const DTIME: usize = 20;
    pub const GID: usize = 24;
    pub const LINKS: usize = 26;
    pub const BLOCKS: usize = 28;
    pub const FLAGS: usize = 32;
    pub const POINTERS: usize = 40;
    pub const FILE_ACL: usize = 104;
    pub const SIZE_HIGH: usize = 108;
    pub const UID_HIGH: usize = 120;
    pub const GID_HIGH: usize = 122;
}

/// The directory has an index, which whoever changes it by hand must give up.
const INDEX_FL: u32 = 0x1000;

/// How a block of extended attributes begins (`EXT2_XATTR_MAGIC`).
const XATTR_MAGIC: u32 = 0xea02_0000;
/// Where such a block has the number of inodes that share it.
const XATTR_REFCOUNT: usize = 4;

/// What is in the inode and not in the kernel's attributes.
struct State {
    raw: RawInode,
    /// Size of what has no page cache.
    size: u64,
    /// The last block given out.
    last_block: u32,
}

/// An inode as ext2 sees it.
pub(super) struct Node {
    pub fs: Arc<Ext2>,
    pub ino: u32,
    pub kind: u32,
    state: SpinLock<State>,
    /// Blocks that were given out and not written yet: they read as zeros.
    pub fresh: SpinLock<BTreeSet<u64>>,
    /// One at a time writes to the file or changes its size.
    pub write_lock: Mutex<()>,
    mapping: Once<Weak<AddressSpace>>,
    /// It has lost its last name.
    pub unlinked: AtomicBool,
}

impl Node {
    pub(super) fn pointer(&self, index: u32) -> u32 {
        self.state.lock().raw.u32(at::POINTERS + 4 * index as usize)
    }

    pub(super) fn set_pointer(&self, index: u32, block: u32) {
        self.state.lock().raw.put_u32(at::POINTERS + 4 * index as usize, block);
    }

    /// Where the next block would lie best.
    pub(super) fn goal(&self) -> u32 {
        match self.state.lock().last_block {
            0 => self.fs.layout.group_start((self.ino - 1) / self.fs.layout.inodes_per_group),
            last => last + 1,
        }
    }

    pub(super) fn note_new_block(&self, block: u32) {
        let mut state = self.state.lock();
        state.last_block = block;
        let sectors = state.raw.u32(at::BLOCKS).saturating_add(self.fs.layout.block_sectors());
        state.raw.put_u32(at::BLOCKS, sectors);
    }

    pub(super) fn note_freed_block(&self) {
        let mut state = self.state.lock();
        let sectors = state.raw.u32(at::BLOCKS).saturating_sub(self.fs.layout.block_sectors());
        state.raw.put_u32(at::BLOCKS, sectors);
    }

    /// Sectors that the file takes (`st_blocks`).
    pub(super) fn sectors(&self) -> u64 {
        self.state.lock().raw.u32(at::BLOCKS).into()
    }

    /// `i_size`.
    pub(super) fn size(&self) -> u64 {
        match self.mapping() {
            Some(mapping) => mapping.size(),
            None => self.state.lock().size,
        }
    }

    /// Sets the size of what has no page cache.
    pub(super) fn set_size(&self, size: u64) {
        self.state.lock().size = size;
    }

    /// The directory is no longer as its index says.
    pub(super) fn drop_index(&self) {
        let mut state = self.state.lock();
        let flags = state.raw.u32(at::FLAGS) & !INDEX_FL;
        state.raw.put_u32(at::FLAGS, flags);
    }

    /// The block of extended attributes, 0 if there is none.
    fn xattr_block(&self) -> u32 {
        self.state.lock().raw.u32(at::FILE_ACL)
    }

    /// Whether it is a link whose target stands in the inode: it has no block but that of its
    /// extended attributes.
    pub(super) fn has_inline_target(&self) -> bool {
        let attributes = if self.xattr_block() == 0 { 0 } else { self.fs.layout.block_sectors() };
        self.kind == mode::S_IFLNK && self.sectors() <= attributes.into()
    }

    /// Whether what stands in the inode are pointers to blocks: a special file has its device there.
    fn has_pointers(&self) -> bool {
        match self.kind {
            mode::S_IFREG | mode::S_IFDIR => true,
            mode::S_IFLNK => !self.has_inline_target(),
            _ => false,
        }
    }

    /// The target of a short link, which stands where pointers would.
    pub(super) fn inline_target(&self, len: usize) -> Vec<u8> {
        self.state.lock().raw.0[at::POINTERS..][..len.min(N_BLOCKS * 4)].to_vec()
    }

    pub(super) fn set_inline_target(&self, target: &[u8]) {
        self.state.lock().raw.0[at::POINTERS..][..target.len()].copy_from_slice(target);
    }

    fn mapping(&self) -> Option<Arc<AddressSpace>> {
        self.mapping.try_get()?.upgrade()
    }

    /// The inode reaches its block, if anything in it has changed.
    pub(super) fn write_inode(&self, inode: &Inode) -> Result<()> {
        let (attr, size) = (inode.attr(), self.size());
        self.put_inode(&attr, size, 0)
    }

    fn put_inode(&self, attr: &Attr, size: u64, dtime: u32) -> Result<()> {
        let raw = {
            let raw = &mut self.state.lock().raw;
            raw.put_u16(at::MODE, attr.mode as u16);
            raw.put_u16(at::LINKS, attr.nlink as u16);
            raw.put_u16(at::UID, attr.uid as u16);
            raw.put_u16(at::UID_HIGH, (attr.uid >> 16) as u16);
            raw.put_u16(at::GID, attr.gid as u16);
            raw.put_u16(at::GID_HIGH, (attr.gid >> 16) as u16);
            for (place, time) in [(at::ATIME, attr.atime), (at::CTIME, attr.ctime), (at::MTIME, attr.mtime)] {
                raw.put_u32(place, time.sec as u32);
            }
            raw.put_u32(at::DTIME, dtime);
            raw.put_u32(at::SIZE, size as u32);
            if self.kind == mode::S_IFREG {
                raw.put_u32(at::SIZE_HIGH, (size >> 32) as u32);
            }
            raw.clone()
        };
        let pos = self.fs.inode_pos(self.ino);
        let mut old = [0; INODE_BYTES];
        self.fs.read(pos, &mut old)?;
        if old[..] == raw.0[..] { Ok(()) } else { self.fs.write(pos, &raw.0) }
    }

    /// Blocks that were given out but never got contents get zeros.
    pub(super) fn zero_fresh(&self) -> Result<()> {
        let Some(first) = self.fresh.lock().first().copied() else { return Ok(()) };
        let page = alloc_page(GFP_KERNEL | Gfp::ZERO).ok_or(abi::errno::ENOMEM)?;
        let mut next = Some(first);
        let mut result = Ok(());
        while let (Some(logical), Ok(())) = (next, result) {
            if let Some(block) = self.bmap(logical)? {
                result = self.fs.device.write_part(self.fs.sector(block), page, 0, self.fs.layout.block_sectors());
            }
            if result.is_ok() {
                self.fresh.lock().remove(&logical);
            }
            next = self.fresh.lock().range(logical + 1..).next().copied();
        }
        put_page(page);
        result
    }

    /// Blocks for bytes `from..to` of the file. ENOSPC, EFBIG, EIO.
    pub(super) fn allocate(&self, from: u64, to: u64) -> Result<()> {
        let size = u64::from(self.fs.layout.block_size);
        let (first, last) = (from / size, to.div_ceil(size));
        let mut missing = false;
        for logical in first..last {
            missing |= self.bmap(logical)?.is_none();
        }
        if !missing {
            return Ok(());
        }
        let mut space = self.fs.lock_for_change()?;
        (first..last).try_for_each(|logical| self.get_block(&mut space, logical).map(drop))
    }
}

impl Ext2 {
    /// The first sector of a block.
    pub(super) fn sector(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.layout.block_sectors())
    }

    /// `ext2_iget`: the inode of that number, from the device if it is not in use.
    pub(super) fn iget(self: &Arc<Self>, sb: &Arc<SuperBlock>, ino: u32) -> Result<Arc<Inode>> {
        if !self.layout.is_valid_ino(ino) {
            return Err(self.error(format_args!("ext2_get_inode: bad inode number: {ino}")));
        }
        if let Some((inode, _)) = self.inodes.lock().get(&ino) {
            return Ok(inode.clone());
        }
        let mut raw = RawInode(alloc::vec![0; INODE_BYTES]);
        self.read(self.inode_pos(ino), &mut raw.0)?;
        if raw.u16(at::LINKS) == 0 || raw.u16(at::MODE) == 0 {
            return Err(self.error(format_args!("ext2_lookup: deleted inode referenced: {ino}")));
        }
        let kind = u32::from(raw.u16(at::MODE)) & mode::S_IFMT;
        let size = size_of(&raw, kind);
        let damaged = match kind {
            mode::S_IFDIR => size == 0 || !size.is_multiple_of(self.layout.block_size.into()),
            mode::S_IFREG => size > super::map::max_bytes(self.layout.block_size),
            mode::S_IFLNK => size == 0 || size >= 4096,
            _ => false,
        };
        if damaged {
            return Err(self.error(format_args!("inode #{ino}: a size of {size} bytes cannot be")));
        }
        let seconds = |place| Timespec { sec: (raw.u32(place) as i32).into(), nsec: 0 };
        let attr = Attr {
            mode: raw.u16(at::MODE).into(),
            nlink: raw.u16(at::LINKS).into(),
            uid: u32::from(raw.u16(at::UID)) | u32::from(raw.u16(at::UID_HIGH)) << 16,
            gid: u32::from(raw.u16(at::GID)) | u32::from(raw.u16(at::GID_HIGH)) << 16,
            rdev: special_device(&raw),
            atime: seconds(at::ATIME),
            mtime: seconds(at::MTIME),
            ctime: seconds(at::CTIME),
        };
        self.enter(sb, ino, attr, raw)
    }

    /// An inode that was just given out.
    pub(super) fn new_inode(self: &Arc<Self>, sb: &Arc<SuperBlock>, ino: u32, attr: Attr) -> Result<Known> {
        let mut raw = RawInode(alloc::vec![0; INODE_BYTES]);
        if matches!(attr.mode & mode::S_IFMT, mode::S_IFCHR | mode::S_IFBLK) {
            let (major, minor) = attr.rdev;
            if major < 256 && minor < 256 {
                raw.put_u32(at::POINTERS, major << 8 | minor);
            } else {
                raw.put_u32(at::POINTERS + 4, encode_dev(attr.rdev));
            }
        }
        let inode = self.enter(sb, ino, attr, raw)?;
        let node = self.inodes.lock().get(&ino).map(|(_, node)| node.clone()).ok_or(EIO)?;
        node.write_inode(&inode)?;
        Ok((inode, node))
    }

    fn enter(self: &Arc<Self>, sb: &Arc<SuperBlock>, ino: u32, attr: Attr, raw: RawInode) -> Result<Arc<Inode>> {
        let kind = attr.mode & mode::S_IFMT;
        let size = size_of(&raw, kind);
        let node = Arc::new(Node {
            fs: self.clone(),
            ino,
            kind,
            state: SpinLock::new(State { raw, size, last_block: 0 }),
            fresh: SpinLock::new(BTreeSet::new()),
            write_lock: Mutex::new(()),
            mapping: Once::new(),
            unlinked: AtomicBool::new(false),
        });
        let mapping = (kind == mode::S_IFREG).then(|| {
            let ops: Arc<dyn AddressSpaceOps> = node.clone();
            Arc::new(AddressSpace::with_ops(Backing::File, ops))
        });
        if let Some(mapping) = &mapping {
            mapping.set_size(size)?;
            node.mapping.set(Arc::downgrade(mapping));
        }
        let special: Option<Box<dyn InodeOps>> = match kind {
            mode::S_IFCHR | mode::S_IFBLK => Some(Box::new(crate::fs::ramfs::Special)),
            mode::S_IFIFO => Some(Box::new(crate::fs::pipe::Fifo::default())),
            _ => None,
        };
        let inode = Inode::with_ino(sb, ino, attr, mapping, Box::new(Ops { node: node.clone(), special }));
        let mut inodes = self.inodes.lock();
        // Another may have been faster.
        let (known, _) = inodes.entry(ino).or_insert_with(|| (inode.clone(), node));
        let known = known.clone();
        drop(inodes);
        Ok(known)
    }

    /// Frees inodes that have lost their last name and their last user.
    pub(super) fn free_orphans(&self, space: &mut Space) {
        loop {
            let Some(node) = self.orphans.lock().pop() else { return };
            // Damage stops it, and has been told of.
            let _ = self.free_inode(space, &node);
        }
    }

    fn free_inode(&self, space: &mut Space, node: &Node) -> Result<()> {
        // Pages on their way to the device keep the cache alive: they must not reach blocks that
        // are another's by then.
        if let Some(mapping) = node.mapping() {
            mapping.set_size(0)?;
        }
        if node.has_pointers() {
            node.free_from(space, 0)?;
        }
        self.drop_xattr_block(space, node)?;
        let dtime = crate::fs::now().sec as u32;
        let attr = {
            let state = node.state.lock();
            Attr { mode: state.raw.u16(at::MODE).into(), ..Attr::default() }
        };
        node.put_inode(&attr, 0, dtime)?;
        let kind = if node.kind == mode::S_IFDIR { Kind::Directory } else { Kind::Other };
        self.free_ino(space, node.ino, kind)
    }

    /// One inode less has its extended attributes in their block, which goes with the last.
    fn drop_xattr_block(&self, space: &mut Space, node: &Node) -> Result<()> {
        let block = node.xattr_block();
        if block == 0 {
            return Ok(());
        }
        let pos = self.block_pos(self.check_block(node.ino, block)?);
        let mut head = [0; 8];
        self.read(pos, &mut head)?;
        if u32_at(&head, 0) != XATTR_MAGIC {
            return Err(self.error(format_args!("ext2_xattr_delete_inode: inode {}: bad block {block}", node.ino)));
        }
        match u32_at(&head, XATTR_REFCOUNT) {
            0 | 1 => self.free_block(space, block)?,
            users => self.write(pos + XATTR_REFCOUNT as u64, &(users - 1).to_le_bytes())?,
        }
        node.note_freed_block();
        node.state.lock().raw.put_u32(at::FILE_ACL, 0);
        Ok(())
    }

    /// The inode has no name any more: it is freed once nobody uses it.
    pub(super) fn forget(&self, node: &Node) {
        if !node.unlinked.swap(true, Relaxed) {
            self.unlinked.fetch_add(1, Relaxed);
        }
        let known = self.inodes.lock().remove(&node.ino);
        drop(known);
    }
}

/// Bytes of the contents, as the inode has it.
fn size_of(raw: &RawInode, kind: u32) -> u64 {
    let low = u64::from(raw.u32(at::SIZE));
    if kind == mode::S_IFREG { low | u64::from(raw.u32(at::SIZE_HIGH)) << 32 } else { low }
}

/// The device of a special file: in 16 bits, or behind them in 32.
fn special_device(raw: &RawInode) -> (u32, u32) {
    match raw.u32(at::POINTERS) {
        0 => decode_dev(raw.u32(at::POINTERS + 4)),
        old => (old >> 8 & 0xff, old & 0xff),
    }
}

impl AddressSpaceOps for Node {
    fn read_folio(&self, index: u32, page: &'static Page) -> Result<()> {
        let fs = &self.fs;
        let (block_size, sectors) = (fs.layout.block_size, fs.layout.block_sectors());
        let per_page = PAGE_SIZE / block_size;
        let size = self.size();
        for n in 0..per_page {
            let logical = u64::from(index) * u64::from(per_page) + u64::from(n);
            let offset = n * block_size;
            let beyond = logical * u64::from(block_size) >= size;
            let fresh = self.fresh.lock().contains(&logical);
            let block = if beyond || fresh { None } else { self.bmap(logical)? };
            match block {
                Some(block) => fs.device.read_part(fs.sector(block), page, offset, sectors)?,
                None => kmap_local(page).as_mut_slice()[offset as usize..][..block_size as usize].fill(0),
            }
        }
        let end = size.saturating_sub(u64::from(index) * u64::from(PAGE_SIZE));
        if end < u64::from(PAGE_SIZE) {
            kmap_local(page).as_mut_slice()[end as usize..].fill(0);
        }
        Ok(())
    }

    fn writepage(&self, index: u32, page: &'static Page) -> Result<()> {
        let fs = &self.fs;
        fs.check_writable().map_err(|_| EIO)?;
        let (block_size, sectors) = (fs.layout.block_size, fs.layout.block_sectors());
        let per_page = PAGE_SIZE / block_size;
        let size = self.size();
        for n in 0..per_page {
            let logical = u64::from(index) * u64::from(per_page) + u64::from(n);
            let offset = n * block_size;
            if logical * u64::from(block_size) >= size {
                break;
            }
            let block = match self.bmap(logical)? {
                Some(block) => block,
                None if is_zero(page, offset, block_size) => continue,
                // Memory that was mapped before the file grew over it. Whoever has the lock may be
                // waiting for this very page.
                None => {
                    let mut space = fs.space.try_lock().ok_or(EIO)?;
                    self.get_block(&mut space, logical)?
                }
            };
            fs.device.write_part(fs.sector(block), page, offset, sectors)?;
            self.fresh.lock().remove(&logical);
        }
        Ok(())
    }

    fn write_begin(&self, index: u32) -> Result<()> {
        let start = u64::from(index) * u64::from(PAGE_SIZE);
        let end = (start + u64::from(PAGE_SIZE)).min(self.size());
        if end > start { self.allocate(start, end) } else { self.fs.check_writable() }
    }
}

fn is_zero(page: &'static Page, offset: u32, len: u32) -> bool {
    kmap_local(page).as_slice()[offset as usize..][..len as usize].iter().all(|&byte| byte == 0)
}
