//! Files of 64-bit words about frames and pages: `kpagecount`, `kpageflags`, `PID/pagemap`.

use abi::{
    books::PageRecord,
    errno::{EINVAL, Result},
    proc::page as words,
};

use crate::{
    arch::TASK_SIZE,
    fs::{Dest, File, FileOps, Whence},
    mm::{
        MmRef, PAGE_SHIFT, Page,
        page::{compound_head, max_pfn, pfn_to_page_checked},
        pgtable::PteExt,
        remote::MmHandle,
        swapops::SwapEntry,
    },
};

/// Bytes of a word.
const WORD: u64 = 8;

/// Which file of words.
pub enum WordFile {
    /// How often each frame is mapped.
    Count,
    /// What each frame is.
    Flags,
    /// Where each page of an address space is.
    Pagemap(Option<MmHandle>),
}

/// The descriptor of a frame. How a huge page is mapped, its first frame says for all.
fn record(page: &'static Page) -> PageRecord {
    let (own, head) = (page.snapshot(), compound_head(page).snapshot());
    PageRecord { mapcount: head.mapcount, mapping: head.mapping, ..own }
}

impl WordFile {
    /// The address space that it is about, while that is there.
    fn mm(&self) -> Option<MmRef> {
        match self {
            WordFile::Pagemap(Some(mm)) => mm.get(),
            _ => None,
        }
    }

    /// How many words it has.
    fn len(&self, mm: Option<&MmRef>) -> u64 {
        match (self, mm) {
            (WordFile::Count | WordFile::Flags, _) => max_pfn().into(),
            (WordFile::Pagemap(_), Some(_)) => u64::from(TASK_SIZE >> PAGE_SHIFT),
            (WordFile::Pagemap(_), None) => 0,
        }
    }

    fn word(&self, n: u32, mm: Option<&MmRef>) -> u64 {
        match self {
            WordFile::Count => pfn_to_page_checked(n).map_or(0, |page| words::count(&record(page))),
            WordFile::Flags => pfn_to_page_checked(n).map_or(words::NOPAGE, |page| words::flags(&record(page))),
            WordFile::Pagemap(_) => {
                let Some(mm) = mm else { return 0 };
                let pte = mm.lock().pgd.get(n << PAGE_SHIFT);
                match SwapEntry::of_pte(pte) {
                    Some(entry) => words::swapped(entry.kind(), entry.offset()),
                    None if pte.maps_page() => words::present(pte.frame().frame(), pte.page().map(record).as_ref()),
                    None => 0,
                }
            }
        }
    }
}

impl FileOps for WordFile {
    fn read(&self, _file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        if !pos.is_multiple_of(WORD) || !(dest.remaining() as u64).is_multiple_of(WORD) {
            return Err(EINVAL);
        }
        let mm = self.mm();
        let mut done = 0;
        while dest.remaining() > 0 && *pos / WORD < self.len(mm.as_ref()) {
            let stored = dest.put(&self.word((*pos / WORD) as u32, mm.as_ref()).to_le_bytes())?;
            *pos += stored as u64;
            done += stored;
        }
        Ok(done)
    }

    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        let to = match whence {
            Whence::Set => offset,
            Whence::Cur => file.pos() as i64 + offset,
            _ => return Err(EINVAL),
        };
        let to = u64::try_from(to).map_err(|_| EINVAL)?;
        file.set_pos(to);
        Ok(to)
    }
}
