//! A stretch of addresses in which the probe works, and what the kernel shows of it.

use std::io;

use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use pagewalk_programs::maps;

use crate::calls::{self, Answer, PAGE};

/// Pages of a window; as many again on both sides are kept free of anything else.
pub const PAGES: usize = 64;

/// Readable and writable.
pub const RW: i32 = PROT_READ | PROT_WRITE;

/// The window's first address is the base of all page numbers.
#[derive(Clone, Copy)]
pub struct Window {
    base: usize,
}

impl Window {
    /// Finds addresses that nothing uses.
    pub fn find() -> io::Result<Self> {
        let len = 3 * PAGES * PAGE;
        let free = calls::mmap(0, len, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).map_err(io::Error::other)?;
        calls::munmap(free, len).map_err(io::Error::other)?;
        Ok(Window { base: free + PAGES * PAGE })
    }

    /// The address of a page; negative ones lie below the window.
    pub fn at(&self, page: isize) -> usize {
        self.base.wrapping_add_signed(page * PAGE as isize)
    }

    /// Maps private anonymous pages at a place in the window.
    pub fn map(&self, page: isize, pages: usize, prot: i32) -> Answer {
        calls::mmap(self.at(page), pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
    }

    /// An answer that is an address, as a page of the window.
    pub fn page(&self, answer: Answer) -> String {
        answer.map_or_else(
            |error| error,
            |address| format!("page {}", (address.wrapping_sub(self.base) as isize) / PAGE as isize),
        )
    }

    /// The areas in the window, as page ranges with rights: `0..3 rw-p`.
    pub fn areas(&self) -> String {
        let pages = PAGES as isize;
        let areas = maps::overlapping(self.at(-pages)..self.at(pages)).unwrap_or_default();
        let page = |address: usize| (address.wrapping_sub(self.base) as isize) / PAGE as isize;
        let shown: Vec<_> = areas
            .iter()
            .map(|area| format!("{}..{} {}", page(area.range.start), page(area.range.end), area.permissions()))
            .collect();
        if shown.is_empty() { "nothing".into() } else { shown.join(", ") }
    }

    /// The offset, device-less, and name that the kernel shows for a page's area.
    pub fn area_name(&self, page: isize) -> String {
        let areas = maps::overlapping(self.at(page)..self.at(page + 1)).unwrap_or_default();
        areas.first().map_or_else(
            || "nothing".into(),
            |area| {
                let offset = area.line.split(' ').nth(2).unwrap_or_default();
                format!("{} {offset} {}", area.permissions(), area.name())
            },
        )
    }

    /// Empties the window.
    pub fn clear(&self) {
        // It can't fail: the range is page-aligned and below the kernel.
        let _ = calls::munmap(self.at(-(PAGES as isize)), 2 * PAGES * PAGE);
    }
}

/// `0` or the name of the error.
pub fn zero(answer: Answer) -> String {
    answer.map_or_else(|error| error, |value| value.to_string())
}
