//! The engine: dispatch, budget, breakpoints, block cache.

use memory::PhysMem;
use x86::LinearAddr;

use crate::{Bus, Cpu, Exit, WatchKind};

/// Choices that change speed or geometry, never results at equal geometry.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Run one instruction at a time, without cached blocks.
    pub single_step: bool,
}

/// One entry into the engine.
#[derive(Clone, Copy, Debug)]
pub struct RunRequest {
    /// Instructions to retire at most; the run ends at exactly this count unless it ends before.
    pub budget: u64,
    /// Virtual time at the entry, in nanoseconds.
    pub now: u64,
    /// Do not stop at a breakpoint on the first instruction.
    pub pass_breakpoint: bool,
}

/// What can be recomputed and is shared by the CPUs of a machine.
#[derive(Default)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// An engine with empty caches.
    pub fn new(config: EngineConfig) -> Self {
        Engine { config }
    }

    /// Runs `cpu` until something ends the run. `cpu.state.retired` tells how many instructions it took.
    pub fn run(&mut self, cpu: &mut Cpu, mem: &mut PhysMem, bus: &mut dyn Bus, request: RunRequest) -> Exit {
        let _ = (&self.config, cpu, mem, bus, request);
        unimplemented!("lands with the engine")
    }

    /// Forgets blocks and projections, after a restore or a debugger's change of registers, memory or tables.
    /// Leaves the architectural TLB alone.
    pub fn invalidate(&mut self) {}

    /// Stops before the instruction at this linear address, in every address space.
    pub fn add_breakpoint(&mut self, addr: LinearAddr) {
        let _ = addr;
    }

    /// Takes a breakpoint away.
    pub fn remove_breakpoint(&mut self, addr: LinearAddr) {
        let _ = addr;
    }

    /// Stops after an instruction that touches `len` bytes from `addr`.
    pub fn add_watchpoint(&mut self, addr: LinearAddr, len: u32, kind: WatchKind) {
        let _ = (addr, len, kind);
    }

    /// Takes a watchpoint away.
    pub fn remove_watchpoint(&mut self, addr: LinearAddr, len: u32, kind: WatchKind) {
        let _ = (addr, len, kind);
    }
}
