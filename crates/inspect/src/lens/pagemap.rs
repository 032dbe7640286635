//! The words of `/proc/PID/pagemap`, `/proc/kpagecount` and `/proc/kpageflags`.

use abi::books::{MmRecord, PageRecord};
use abi::page_flags as pg;
use abi::proc::page as words;
use x86::Pde;

use super::{
    maps::{PTE_SPECIAL, swapped},
    page::{PROTNONE, USER_ENTRIES, table},
};
use crate::{Books, Target};

/// Bytes of a word.
const WORD: usize = 8;

/// The words of all pages of user space.
pub(super) fn pagemap(target: &Target<'_>, books: &Books<'_>, mm: &MmRecord) -> Vec<u8> {
    let mut bytes = vec![0; USER_ENTRIES as usize * 1024 * WORD];
    for (word, page) in bytes.chunks_exact_mut(WORD * 1024).zip(table(target.mem, mm.pgd & !0xfff)) {
        let (slots, pde) = (word.chunks_exact_mut(WORD), page);
        if pde & Pde::PS != 0 && pde & (Pde::P | PROTNONE) != 0 {
            // The entry of each page of a huge one.
            let ptes = (0u32..).map(|n| pde & !Pde::PS & !0x3f_f000 | n << 12);
            slots.zip(ptes).for_each(|(slot, pte)| put(slot, word_of(books, pte)));
        } else if pde & Pde::P != 0 {
            slots.zip(table(target.mem, pde & !0xfff)).for_each(|(slot, pte)| put(slot, word_of(books, pte)));
        }
    }
    bytes
}

fn put(slot: &mut [u8], word: u64) {
    slot.copy_from_slice(&word.to_le_bytes());
}

fn word_of(books: &Books<'_>, pte: u32) -> u64 {
    if pte == 0 {
        return 0;
    }
    if let Some((kind, slot)) = swapped(pte) {
        return words::swapped(kind, slot);
    }
    let page = if pte & PTE_SPECIAL != 0 { None } else { record(books, pte >> 12) };
    words::present(pte >> 12, page.as_ref())
}

/// The descriptor of a frame. How a huge page is mapped, its first frame says for all.
fn record(books: &Books<'_>, pfn: u32) -> Option<PageRecord> {
    let own = books.page(pfn)?;
    let head = match own.flags & pg::HUGETLB != 0 {
        true => books.page(pfn & !0x3ff).unwrap_or(own),
        false => own,
    };
    Some(PageRecord { mapcount: head.mapcount, mapping: head.mapping, ..own })
}

/// The words of all frames: how often each is mapped, or what it is.
pub(super) fn of_frames(books: &Books<'_>, flags: bool) -> Vec<u8> {
    let frames = 0..books.root().max_pfn.min(1 << 20);
    let word = |pfn| match (record(books, pfn), flags) {
        (Some(page), true) => words::flags(&page),
        (Some(page), false) => words::count(&page),
        (None, true) => words::NOPAGE,
        (None, false) => 0,
    };
    frames.flat_map(|pfn| word(pfn).to_le_bytes()).collect()
}
