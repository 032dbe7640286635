//! Ways through memory.
#![allow(unsafe_code)]

use std::{arch::asm, hint::black_box, io};

use crate::{EMPTY_SUM, Random, Round, mix};

const WORDS_OF_A_PAGE: usize = 1024;
const WORDS_OF_A_LINE: usize = 16;
const WORDS_OF_A_KIB: usize = 256;

/// Touches `count` pages that were never used, forwards and then backwards.
pub fn pages(count: u32) -> u32 {
    let count = count as usize;
    let mut memory = vec![0u32; count * WORDS_OF_A_PAGE];
    for page in 0..count {
        memory[page * WORDS_OF_A_PAGE + page % WORDS_OF_A_PAGE] = page as u32 + 1;
    }
    let memory = black_box(memory);
    (0..count).rev().fold(EMPTY_SUM, |sum, page| mix(sum, memory[page * WORDS_OF_A_PAGE + page % WORDS_OF_A_PAGE]))
}

/// Reads and writes arrays of `kib` KiB word by word, each depending on the last.
pub fn walk(kib: u32) -> io::Result<Round> {
    let words = kib as usize * WORDS_OF_A_KIB;
    let mut random = Random(0x5eed_0001);
    let from: Vec<u32> = (0..words).map(|_| random.next()).collect();
    let mut to = vec![1; words];
    Ok(Box::new(move || {
        let mut last = EMPTY_SUM;
        for (to, from) in to.iter_mut().zip(&from) {
            last = last.rotate_left(5).wrapping_add(*from);
            *to = last;
        }
        black_box(&to);
        Ok(last)
    }))
}

/// Follows a chain that goes once through every page of `mib` MiB in an order without a
/// pattern: a word of each page says which is next.
pub fn chase(mib: u32) -> io::Result<Round> {
    let pages = mib as usize * 256;
    let mut memory = vec![0u32; pages * WORDS_OF_A_PAGE];
    // The workload is about pages of 4 KiB. A kernel that knows no other refuses.
    // SAFETY: advice on memory of ours.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len() * 4, libc::MADV_NOHUGEPAGE) };

    // One cycle through all (Sattolo's shuffle).
    let mut order: Vec<u32> = (0..pages as u32).collect();
    let mut random = Random(0x5eed_0002);
    for at in (1..pages).rev() {
        order.swap(at, random.next() as usize % at);
    }
    // Other lines in other pages, so that the lines fit the host's caches better than the
    // pages its TLB.
    let word_of = |page: usize| page * WORDS_OF_A_PAGE + page % (WORDS_OF_A_PAGE / WORDS_OF_A_LINE) * WORDS_OF_A_LINE;
    for (page, next) in order.iter().enumerate() {
        memory[word_of(page)] = word_of(*next as usize) as u32;
    }
    Ok(Box::new(move || {
        let mut at = word_of(0);
        let mut sum = EMPTY_SUM;
        for _ in 0..pages {
            at = memory[at] as usize;
            sum = mix(sum, at as u32);
        }
        Ok(sum)
    }))
}

/// Copies `kib` KiB with `rep movsd`.
pub fn copy(kib: u32) -> io::Result<Round> {
    let words = kib as usize * WORDS_OF_A_KIB;
    let mut random = Random(0x5eed_0003);
    let from: Vec<u32> = (0..words).map(|_| random.next()).collect();
    let mut to = vec![1; words];
    Ok(Box::new(move || {
        // SAFETY: both arrays have this many words. ESI is not the compiler's to give.
        unsafe {
            asm!(
                "xchg esi, {from}",
                "rep movsd",
                "xchg esi, {from}",
                from = inout(reg) from.as_ptr() => _,
                inout("ecx") words => _,
                inout("edi") to.as_mut_ptr() => _,
                options(nostack, preserves_flags)
            );
        }
        let sampled = to.iter().step_by(WORDS_OF_A_PAGE).chain(to.last());
        Ok(sampled.fold(EMPTY_SUM, |sum, &word| mix(sum, word)))
    }))
}
