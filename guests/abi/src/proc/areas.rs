//! What `status` and `statm` count of a process's areas.

use crate::books::{MmRecord, VmaRecord, vm};

/// Pages of areas, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaPages {
    /// Memory of its own that it may write, but for stacks.
    data: u32,
    /// Stacks.
    pub stack: u32,
    /// Code, its own and of libraries.
    exec: u32,
    /// Those that stay in memory.
    pub locked: u32,
}

impl AreaPages {
    /// Adds an area (`vm_stat_account`).
    pub fn add(&mut self, area: &VmaRecord) {
        let pages = area.end.wrapping_sub(area.start) >> 12;
        let is = |mask: u32, wanted: u32| if area.flags & mask == wanted { pages } else { 0 };
        self.data = self.data.wrapping_add(is(vm::WRITE | vm::SHARED | vm::GROWSDOWN, vm::WRITE));
        self.stack = self.stack.wrapping_add(is(vm::GROWSDOWN, vm::GROWSDOWN));
        self.exec = self.exec.wrapping_add(is(vm::EXEC | vm::WRITE | vm::GROWSDOWN, vm::EXEC));
        self.locked = self.locked.wrapping_add(is(vm::LOCKED, vm::LOCKED));
    }

    /// `VmData` and the sixth number of `statm`: data and stacks.
    pub fn data(&self) -> u32 {
        self.data.wrapping_add(self.stack)
    }

    /// `VmLib`: code that is not the program's own.
    pub fn lib(&self, mm: &MmRecord) -> u32 {
        self.exec.saturating_sub(text_pages(mm))
    }
}

/// `VmExe` and the fourth number of `statm`: whole pages that the program's code touches.
pub fn text_pages(mm: &MmRecord) -> u32 {
    mm.end_code.div_ceil(4096).saturating_sub(mm.start_code / 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_counted_by_their_flags() {
        let mut pages = AreaPages::default();
        let mut add = |n: u32, flags| {
            pages.add(&VmaRecord { start: 0x1000, end: 0x1000 + (n << 12), flags, ..VmaRecord::default() })
        };
        add(1, vm::READ | vm::EXEC);
        add(2, vm::READ | vm::WRITE);
        add(4, vm::READ | vm::WRITE | vm::GROWSDOWN);
        add(8, vm::READ | vm::WRITE | vm::SHARED | vm::LOCKED);
        add(16, vm::READ | vm::EXEC | vm::WRITE);
        let mm = MmRecord { start_code: 0x1010, end_code: 0x1020, ..MmRecord::default() };
        assert_eq!((pages.data(), pages.stack, pages.locked), (22, 4, 8));
        assert_eq!((text_pages(&mm), pages.lib(&mm)), (1, 0));
    }
}
