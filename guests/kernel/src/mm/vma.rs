//! Areas of an address space, and the files behind them.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use abi::{
    Ptr32,
    books::{FileRecord, vm},
    errno::Result,
};
use mm::vma::{AreaFile, AreaPtr};

use super::{
    filemap::AddressSpace,
    gfp::GFP_ATOMIC,
    hugetlb::HugePages,
    mm_struct::MmGuard,
    pgtable::{RIGHTS_NONE, rights},
    slab::{CacheRef, kmem_cache_of},
};
use crate::sync::Once;

/// What a mapping needs of an open file.
pub trait MappedFile: Send + Sync {
    /// The file's pages; `None` if its type cannot be mapped (ENODEV).
    fn address_space(&self) -> Option<Arc<AddressSpace>>;
    /// The huge pages of a mapping of such.
    fn huge_pages(&self) -> Option<&HugePages> {
        None
    }
    /// The record that the host follows to the file's name.
    fn record(&self) -> Ptr32<FileRecord>;
    /// Opened for reading.
    fn readable(&self) -> bool;
    /// Opened for writing.
    fn writable(&self) -> bool;
    /// The file system allows execution.
    fn may_exec(&self) -> bool {
        true
    }
    /// `/dev/zero`: a private mapping is anonymous memory, a shared one shared memory.
    fn is_zero_device(&self) -> bool {
        false
    }
    /// A device that fills its areas itself, when they come to be.
    fn fills_areas(&self) -> bool {
        false
    }
    /// Fills a new area of such a device, which is in no tree yet, or refuses it.
    fn fill_area(&self, _mm: &mut MmGuard, _area: &mut VmArea) -> Result<()> {
        Ok(())
    }
    /// The last look before an area with these flags comes to be.
    fn mmap(&self, _vm_flags: u32) -> Result<()> {
        Ok(())
    }
}

/// A file that an area keeps open.
#[derive(Clone)]
pub struct FileRef(pub Arc<dyn MappedFile>);

impl AreaFile for FileRef {
    fn same(&self, other: &Self) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Deref for FileRef {
    type Target = dyn MappedFile;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// `vm_area_struct`.
pub type VmArea = mm::vma::VmArea<FileRef>;

/// The rights bits of a fresh page-table entry of an area: never writable in a private
/// area, whose first write makes a copy.
pub fn vm_page_prot(flags: u32) -> u32 {
    match flags {
        f if f & (vm::READ | vm::WRITE | vm::EXEC) == 0 => RIGHTS_NONE,
        f => rights(f & vm::SHARED != 0 && f & vm::WRITE != 0),
    }
}

/// Whether a write makes a private copy.
pub fn is_cow_mapping(flags: u32) -> bool {
    flags & (vm::SHARED | vm::MAYWRITE) == vm::MAYWRITE
}

static VM_AREA_CACHEP: Once<CacheRef> = Once::new();

/// Makes the cache of areas.
pub fn init() {
    VM_AREA_CACHEP.set(kmem_cache_of::<VmArea>("vm_area_struct"));
}

/// An area in the cache `vm_area_struct`; its file knows it.
pub struct VmaBox {
    at: NonNull<VmArea>,
    mapping: Option<Arc<AddressSpace>>,
}

// SAFETY: the box owns its area, as `Box` would.
unsafe impl Send for VmaBox {}

impl AreaPtr for VmaBox {
    type File = FileRef;
    fn new(area: VmArea) -> Self {
        Self::made(|at| {
            // SAFETY: a fresh object of the right size.
            unsafe { at.write(area) };
        })
    }

    fn copy_of(area: &VmArea) -> Self {
        Self::made(|at| {
            // SAFETY: as in `new`.
            unsafe { at.write(area.clone()) };
        })
    }
}

impl VmaBox {
    /// An area in the cache, which `fill` puts there.
    #[inline]
    fn made(fill: impl FnOnce(NonNull<VmArea>)) -> Self {
        // Without sleeping: the tree that it goes to may be half changed.
        let at = VM_AREA_CACHEP.get().alloc(GFP_ATOMIC).cast::<VmArea>();
        let at = NonNull::new(at).expect("the reserve below the min mark holds an area");
        fill(at);
        // SAFETY: it has just been filled.
        let mapping = unsafe { at.as_ref() }.file.as_ref().and_then(|file| file.address_space());
        if let Some(mapping) = &mapping {
            // SAFETY: the area stays there until it takes itself out in `drop`.
            unsafe { mapping.insert_area(at) };
        }
        VmaBox { at, mapping }
    }
}

impl Deref for VmaBox {
    type Target = VmArea;
    fn deref(&self) -> &VmArea {
        // SAFETY: ours, and initialised.
        unsafe { self.at.as_ref() }
    }
}

impl DerefMut for VmaBox {
    fn deref_mut(&mut self) -> &mut VmArea {
        // SAFETY: ours, and initialised.
        unsafe { self.at.as_mut() }
    }
}

impl Drop for VmaBox {
    fn drop(&mut self) {
        if let Some(mapping) = &self.mapping {
            mapping.remove_area(self.at);
        }
        // SAFETY: ours; nobody uses it afterwards.
        unsafe {
            self.at.drop_in_place();
            VM_AREA_CACHEP.get().free(self.at.as_ptr().cast());
        }
    }
}
