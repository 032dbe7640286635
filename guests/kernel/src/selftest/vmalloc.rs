//! `vmalloc`, `vmap`, `ioremap`. Three areas stay, for `/proc/vmallocinfo`.
#![allow(unsafe_code)]

use alloc::vec::Vec;

use crate::{
    arch::paging,
    mm::{
        __free_pages, PAGE_SIZE, alloc_page,
        gfp::GFP_HIGHUSER,
        highmem::kmap_local,
        vmalloc::{self, ioremap, iounmap, vfree, vmalloc, vmalloc_to_page, vmap, vunmap, vzalloc},
        vmstat::{self, Item},
    },
};

/// Somewhere in the BIOS's ROM.
const BIOS_ROM: u32 = 0xf_ff00;

/// See the module.
pub fn run() {
    contents_and_guard();
    addresses_are_used_again_only_after_a_flush();
    what_cannot_be_is_refused();
    frames_of_others();
    device_memory();
    assert!(!vmalloc(3 * PAGE_SIZE).is_null());
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    assert!(!vmap(&[page, page]).is_null());
    __free_pages(page, 0);
    assert!(!ioremap(BIOS_ROM, 0x100).is_null());
    let freed = vmalloc(1);
    // SAFETY: ours, and unused.
    unsafe { vfree(freed) };
}

fn contents_and_guard() {
    let before = vmstat::read(Item::nr_vmalloc_pages);
    let size = 5 * PAGE_SIZE + 1;
    let at = vzalloc(size);
    assert!(vmalloc::is_vmalloc_addr(at) && (at as u32).is_multiple_of(PAGE_SIZE));
    assert_eq!(vmstat::read(Item::nr_vmalloc_pages), before + 6);
    // SAFETY: ours.
    let bytes = unsafe { core::slice::from_raw_parts_mut(at, size as usize) };
    assert!(bytes.iter().all(|&byte| byte == 0));
    bytes.iter_mut().enumerate().for_each(|(n, byte)| *byte = (n / 7) as u8);
    let mut seen = alloc::vec![0; size as usize];
    assert!(vmalloc::vread(at, &mut seen), "every page has a frame");
    assert_eq!(&seen, bytes, "the frames hold what was written through the area");
    assert!(vmalloc_to_page((at as u32 + 6 * PAGE_SIZE) as *const u8).is_none(), "the guard page maps nothing");
    // SAFETY: ours, and unused from here on.
    unsafe { vfree(at) };
    assert_eq!(vmstat::read(Item::nr_vmalloc_pages), before);
    assert!(vmalloc_to_page(at).is_none());
}

fn addresses_are_used_again_only_after_a_flush() {
    vmalloc::vm_unmap_aliases();
    let first = vmalloc(PAGE_SIZE);
    // SAFETY: ours, and unused.
    unsafe { vfree(first) };
    let second = vmalloc(PAGE_SIZE);
    assert!(first != second, "the translation of {first:p} may still be in the TLB");
    // SAFETY: as above.
    unsafe { vfree(second) };
    vmalloc::vm_unmap_aliases();
    let third = vmalloc(PAGE_SIZE);
    assert_eq!(third, first);
    // SAFETY: as above.
    unsafe { vfree(third) };
    // More than may wait: the lists must have been flushed on the way.
    let most = vmalloc::lazy_max_pages();
    for _ in 0..most * 2 / 63 {
        let at = vmalloc(63 * PAGE_SIZE);
        assert!(!at.is_null());
        // SAFETY: as above.
        unsafe { vfree(at) };
    }
    let mut unpurged = 0;
    vmalloc::for_each_area(|_, _| {}, |area| unpurged += area.size);
    assert!(unpurged <= (most + 64) * PAGE_SIZE, "{unpurged} bytes wait for a flush");
}

fn what_cannot_be_is_refused() {
    assert!(vmalloc(0).is_null());
    assert!(vmalloc(u32::MAX).is_null());
    assert!(vmap(&[]).is_null());
    assert!(ioremap(BIOS_ROM, 0).is_null());
    assert!(ioremap(0xffff_f000, 0x2000).is_null());
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    assert!(ioremap(page.phys(), PAGE_SIZE).is_null(), "RAM is no device");
    __free_pages(page, 0);
}

fn frames_of_others() {
    let pages: Vec<_> = (0..4).map(|_| alloc_page(GFP_HIGHUSER).expect("a frame")).collect();
    let at = vmap(&pages);
    for (n, page) in pages.iter().enumerate() {
        assert_eq!(page.count(), 2);
        // SAFETY: inside the mapping.
        unsafe { at.add(n * PAGE_SIZE as usize + 7).write(n as u8 + 1) };
        assert_eq!(kmap_local(page).as_slice()[7], n as u8 + 1);
    }
    // SAFETY: ours, and unused.
    unsafe { vunmap(at) };
    assert!(pages.iter().all(|page| page.count() == 1));
    pages.into_iter().for_each(|page| __free_pages(page, 0));
}

fn device_memory() {
    let at = ioremap(BIOS_ROM, 0x100);
    assert_eq!(at as u32 & 0xfff, BIOS_ROM & 0xfff);
    let pte = paging::read_kernel_pte(at as u32);
    assert!(pte.0 & (x86::Pte::PCD | x86::Pte::PWT) == x86::Pte::PCD | x86::Pte::PWT, "device memory is not cached");
    let direct = (crate::arch::PAGE_OFFSET + BIOS_ROM) as *const u8;
    // SAFETY: the ROM is mapped in both places.
    assert_eq!(unsafe { at.read_volatile() }, unsafe { direct.read_volatile() });
    // SAFETY: unused from here on.
    unsafe { iounmap(at) };
}
