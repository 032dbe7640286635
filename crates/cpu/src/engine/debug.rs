//! Breakpoints, watchpoints and events of a debugger. They stand beside memory, not in it, and cost
//! nothing when there are none.

use x86::LinearAddr;

use super::Engine;
use crate::{Catches, Occurrence, Watch, WatchHit};

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

    /// Stops after an instruction that touches what `watch` says. One that is added twice must be removed twice.
    pub fn add_watch(&mut self, watch: Watch) {
        self.stops.watches.add(watch);
        // Whatever page leads to a watched frame is looked at again.
        self.projections.clear();
    }

    /// Takes a watchpoint away.
    pub fn remove_watch(&mut self, watch: Watch) {
        self.stops.watches.remove(watch);
    }

    /// What the last instruction of the last run met, if [`crate::Exit::Watchpoint`] ended it.
    pub fn watch_hits(&self) -> &[WatchHit] {
        self.stops.watches.hits()
    }

    /// The event that was asked for and came with the same instruction, if [`crate::Exit::Watchpoint`] ended the
    /// last run.
    pub fn caught_beside_hits(&self) -> Option<Occurrence> {
        self.stops.beside_hits
    }

    /// Stops at these events from now on, and at no others.
    pub fn set_catches(&mut self, catches: Catches) {
        self.stops.catches = catches;
    }

    pub(super) fn is_breakpoint(&self, addr: LinearAddr) -> bool {
        self.breakpoints.binary_search(&addr).is_ok()
    }
}
