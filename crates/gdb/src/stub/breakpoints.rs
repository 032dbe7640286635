//! Breakpoints and watchpoints, kept beside memory.

use gdbstub::target::TargetResult;
use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps,
    WatchKind as GdbWatchKind,
};
use machine::{Watch, WatchKind, WatchSpace};
use x86::LinearAddr;

use super::Stub;

/// What wants a stop at an address.
#[derive(Clone, Debug, Default)]
pub struct Breakpoint {
    /// gdb's `break`: how often it was set.
    pub software: u32,
    /// gdb's `hbreak`.
    pub hardware: u32,
}

impl Breakpoint {
    fn is_unused(&self) -> bool {
        self.software == 0 && self.hardware == 0
    }
}

/// The most watchpoints of gdb at once, so that looking at an access to a watched page stays bounded.
const MAX_WATCHPOINTS: usize = 1024;

impl Stub<'_> {
    /// Changes what wants a stop at `addr`, and tells the engine of the first and the last wish.
    pub(super) fn change_breakpoint(&mut self, addr: u32, change: impl FnOnce(&mut Breakpoint)) {
        let mut wishes = self.breakpoints.remove(&addr).unwrap_or_default();
        let before = wishes.is_unused();
        change(&mut wishes);
        match (before, wishes.is_unused()) {
            (true, false) => self.machine.add_breakpoint(LinearAddr(addr)),
            (false, true) => self.release_address(addr),
            _ => {}
        }
        if !wishes.is_unused() {
            self.breakpoints.insert(addr, wishes);
        }
    }

    fn count(&mut self, addr: u32, up: bool, which: fn(&mut Breakpoint) -> &mut u32) -> bool {
        let mut done = false;
        self.change_breakpoint(addr, |wishes| {
            let count = which(wishes);
            done = up || *count > 0;
            *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        });
        done
    }
}

impl Breakpoints for Stub<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Stub<'_> {
    fn add_sw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.count(addr, true, |wishes| &mut wishes.software))
    }

    fn remove_sw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.count(addr, false, |wishes| &mut wishes.software))
    }
}

impl HwBreakpoint for Stub<'_> {
    fn add_hw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.count(addr, true, |wishes| &mut wishes.hardware))
    }

    fn remove_hw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.count(addr, false, |wishes| &mut wishes.hardware))
    }
}

fn engine_kind(kind: GdbWatchKind) -> WatchKind {
    match kind {
        GdbWatchKind::Write => WatchKind::Write,
        GdbWatchKind::Read => WatchKind::Read,
        GdbWatchKind::ReadWrite => WatchKind::Access,
    }
}

/// The kind as gdb names it.
pub fn gdb_kind(kind: WatchKind) -> GdbWatchKind {
    match kind {
        WatchKind::Write => GdbWatchKind::Write,
        WatchKind::Read => GdbWatchKind::Read,
        WatchKind::Access => GdbWatchKind::ReadWrite,
    }
}

impl HwWatchpoint for Stub<'_> {
    fn add_hw_watchpoint(&mut self, addr: u32, len: u32, kind: GdbWatchKind) -> TargetResult<bool, Self> {
        // Past the end of linear space there is nothing to watch.
        let watch = Watch::new(WatchSpace::Linear, addr, len.into(), engine_kind(kind));
        let Some(watch) = watch.filter(|_| self.watchpoints.len() < MAX_WATCHPOINTS) else { return Ok(false) };
        self.machine.add_watch(watch);
        self.watchpoints.push(watch);
        Ok(true)
    }

    fn remove_hw_watchpoint(&mut self, addr: u32, len: u32, kind: GdbWatchKind) -> TargetResult<bool, Self> {
        let watch = Watch::new(WatchSpace::Linear, addr, len.into(), engine_kind(kind));
        let Some(at) = self.watchpoints.iter().position(|known| Some(*known) == watch) else { return Ok(false) };
        self.machine.remove_watch(self.watchpoints.remove(at));
        Ok(true)
    }
}
