//! What a process would find in a page that its tables do not have yet: a debugger reads it
//! without the fault that would bring it.

use abi::Ptr32;
use abi::books::{InodeRecord, MmRecord, PAGE_MAPPING_ANON, VmaRecord, vm};
use abi::page_flags as pg;
use x86::{LinearAddr, PAGE_SIZE, Pde, PhysAddr, Pte};

use crate::{Books, Reader, Target};

/// Pages of mappings that are looked at for one that tells where a file's page cache is.
const MAX_PAGES: u32 = 1 << 16;

/// The page of `mm` that holds `addr`, if its entry is empty and what the first touch would
/// bring is in memory already: zeros, or a page of the page cache. `None` for what is mapped,
/// in swap or on a disk, and where there is no area.
pub fn absent_page(target: &Target<'_>, books: &Books<'_>, mm: &MmRecord, addr: LinearAddr) -> Option<Vec<u8>> {
    if entry(target, mm, addr.0)? != 0 {
        return None;
    }
    let vmas = books.vmas(mm).ok()?;
    let vma = vmas.iter().find(|vma| (vma.start..vma.end).contains(&addr.0))?;
    if vma.flags & (vm::PFNMAP | vm::IO | vm::HUGETLB | vm::MIXEDMAP) != 0 {
        return None;
    }
    if vma.file.is_null() {
        return Some(vec![0; PAGE_SIZE as usize]);
    }
    let inode = books.inode(vma.file).ok()?;
    let mapping = page_cache(target, books, mm, &vmas, inode)?;
    let index = page_index(vma, addr.0);
    let of_file = |&pfn: &u32| {
        books.page(pfn).is_some_and(|page| {
            page.mapping == mapping && page.index == index && page.flags & (pg::SLAB | pg::BUDDY) == 0
        })
    };
    let pfn = (0..books.root().max_pfn).find(of_file)?;
    let mut bytes = vec![0; PAGE_SIZE as usize];
    target.mem.read(PhysAddr::from_frame(pfn), &mut bytes);
    Some(bytes)
}

/// A page's place in its file.
fn page_index(vma: &VmaRecord, addr: u32) -> u32 {
    vma.pgoff.wrapping_add(addr.wrapping_sub(vma.start) >> 12)
}

/// The paging-structure entry that ends the walk: of a page, or what keeps a table from being there.
fn entry(target: &Target<'_>, mm: &MmRecord, addr: u32) -> Option<u32> {
    let word = |at: u32| Reader::physical(target.mem).u32(LinearAddr(at));
    let pde = word((mm.pgd & !0xfff) + (addr >> 22) * 4)?;
    if pde & Pde::P == 0 || pde & Pde::PS != 0 {
        return Some(pde);
    }
    word((pde & !0xfff) + (addr >> 12 & 0x3ff) * 4)
}

/// The address space of a file's page cache, by a page of it that is mapped somewhere.
fn page_cache(
    target: &Target<'_>,
    books: &Books<'_>,
    mm: &MmRecord,
    vmas: &[VmaRecord],
    inode: Ptr32<InodeRecord>,
) -> Option<u32> {
    let of_file = |vma: &&VmaRecord| !vma.file.is_null() && books.inode(vma.file).is_ok_and(|other| other == inode);
    let pages = vmas.iter().filter(of_file).flat_map(|vma| (vma.start..vma.end).step_by(4096).map(move |at| (vma, at)));
    pages.take(MAX_PAGES as usize).find_map(|(vma, at)| {
        let pte = entry(target, mm, at)?;
        let page = (pte & Pte::P != 0).then(|| books.page(pte >> 12)).flatten()?;
        let cached = page.mapping != 0 && page.mapping & PAGE_MAPPING_ANON == 0 && page.index == page_index(vma, at);
        cached.then_some(page.mapping)
    })
}
