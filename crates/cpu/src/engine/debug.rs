//! Breakpoints and watchpoints of a debugger. They stand beside memory, not in it, and cost
//! nothing when there are none.

use x86::LinearAddr;

use super::Engine;
use crate::{WatchKind, cpu::Watch};

impl Engine {
    /// Stops before the instruction at this linear address, in every address space.
    pub fn add_breakpoint(&mut self, addr: LinearAddr) {
        if let Err(place) = self.breakpoints.binary_search(&addr) {
            self.breakpoints.insert(place, addr);
            // The instruction must begin a block that nothing jumps into without the dispatcher.
            self.cache.remove_at_offset(addr.page_offset());
        }
    }

    /// Takes a breakpoint away.
    pub fn remove_breakpoint(&mut self, addr: LinearAddr) {
        if let Ok(place) = self.breakpoints.binary_search(&addr) {
            self.breakpoints.remove(place);
            self.cache.remove_at_offset(addr.page_offset());
        }
    }

    /// Stops after an instruction that touches `len` bytes from `addr`.
    pub fn add_watchpoint(&mut self, addr: LinearAddr, len: u32, kind: WatchKind) {
        self.watches.push(Watch { addr, len, kind });
        self.projections.clear();
    }

    /// Takes a watchpoint away.
    pub fn remove_watchpoint(&mut self, addr: LinearAddr, len: u32, kind: WatchKind) {
        let watch = Watch { addr, len, kind };
        if let Some(place) = self.watches.iter().position(|w| *w == watch) {
            self.watches.swap_remove(place);
        }
    }

    pub(super) fn is_breakpoint(&self, addr: LinearAddr) -> bool {
        self.breakpoints.binary_search(&addr).is_ok()
    }
}
