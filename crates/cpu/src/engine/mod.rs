//! The engine: dispatch, budget, breakpoints, block cache.

#[cfg(test)]
mod agree;
#[cfg(test)]
mod cpus;
mod debug;
mod dispatch;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod kernels;
pub(crate) mod mode;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod tests;

use memory::PhysMem;
use x86::LinearAddr;

use crate::{
    Bus, Cpu, Exit,
    block::{Cache, Seen, Translator},
    coherence::{self, Coherence},
    cpu::RunContext,
    jit::Jit,
    mmu::{
        Projection, TableChanges,
        access::{self, View},
        flush,
    },
    stops::Stops,
};

/// Choices that change speed or geometry, never results at equal geometry.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Run one instruction at a time and by the slow functions alone.
    pub single_step: bool,
    /// Translate every block anew each time that it is entered.
    pub uncached: bool,
    /// Translate what runs for the first time with all effort and keep it, as is else done with what
    /// runs for the second time.
    pub eager: bool,
    /// Run what is kept by handlers alone: make no host code.
    pub interpreted: bool,
}

/// What comes of a switch to another address space: a load of another value into CR3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// Nothing.
    GoesOn,
    /// The run ends with [`Exit::Switched`] as soon as the CPU takes interrupts behind it: so no run ends within a
    /// kernel's switch, where it holds locks.
    Ends,
    /// As [`Switch::Ends`], and it is made: the CPU has not taken interrupts since.
    Made,
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
    /// Do not stop for an exception or an interrupt of the first instruction.
    pub pass_event: bool,
    /// Which CPU of the machine runs, from 0: where its projections are kept.
    pub cpu: usize,
    /// The run ends with [`Exit::Paused`] at the last of so many PAUSEs, unless it ends before. An XCHG that
    /// finds in memory what it brings, and not 0, counts as one: so ends a try to take a lock that is held.
    pub pauses: u64,
    /// Whether a switch to another address space ends the run.
    pub switch: Switch,
}

impl Default for RunRequest {
    /// CPU 0, from time 0, as far as it goes.
    fn default() -> Self {
        RunRequest {
            budget: u64::MAX,
            now: 0,
            pass_breakpoint: false,
            pass_event: false,
            cpu: 0,
            pauses: u64::MAX,
            switch: Switch::GoesOn,
        }
    }
}

/// What the engine has done, for statistics; no part of any state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// Blocks translated.
    pub translated: u64,
    /// Blocks that were kept and then thrown away, most because their code was overwritten.
    pub discarded: u64,
    /// Times that the dispatcher looked a block up.
    pub lookups: u64,
    /// Runs of instructions that host code was made for.
    pub compiled: u64,
}

/// What can be recomputed: one block cache and one set of breakpoints for all CPUs of a machine, and the
/// projections of each one's TLB.
pub struct Engine {
    config: EngineConfig,
    cache: Cache,
    /// Once code was made for the first time.
    jit: Option<Jit>,
    /// Whether code is to be made: the configuration wants it, and the host has not refused.
    makes_code: bool,
    translator: Translator,
    seen: Seen,
    /// By CPU: where its last budget ended within a block.
    rests: Vec<Option<dispatch::Rest>>,
    /// How many rests were run.
    rests_met: u32,
    /// The last block ran once and is gone: there is nothing to link.
    ran_once: bool,
    /// By CPU.
    projections: Vec<Projection>,
    /// Linear addresses, ascending.
    breakpoints: Vec<LinearAddr>,
    stops: Stops,
    coherence: Option<Box<Coherence>>,
    /// Taken out for the time of a run.
    table_changes: Option<Box<TableChanges>>,
    /// The opcodes that were missed and named in the log, ascending.
    named: Vec<iced_x86::Code>,
    translated: u64,
    lookups: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(EngineConfig::default())
    }
}

impl Engine {
    /// An engine with empty caches.
    pub fn new(config: EngineConfig) -> Self {
        let makes_code = !(config.interpreted || config.single_step || config.uncached);
        Engine {
            config,
            jit: None,
            makes_code,
            cache: Cache::new(),
            translator: Translator::new(),
            seen: Seen::new(),
            rests: Vec::new(),
            rests_met: 0,
            ran_once: false,
            projections: Vec::new(),
            breakpoints: Vec::new(),
            stops: Stops::default(),
            coherence: None,
            table_changes: None,
            named: Vec::new(),
            translated: 0,
            lookups: 0,
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Runs `cpu` until something ends the run. `cpu.state.retired` tells how many instructions it took.
    pub fn run(&mut self, cpu: &mut Cpu, mem: &mut PhysMem, bus: &mut dyn Bus, request: RunRequest) -> Exit {
        let budget = request.budget.min(i64::MAX as u64);
        cpu.run.left = budget as i64;
        cpu.run.ahead = 0;
        cpu.run.end = cpu.state.retired.wrapping_add(budget);
        cpu.run.time_offset = request.now.wrapping_sub(cpu.state.retired);
        cpu.run.pauses = request.pauses;
        cpu.run.switch = request.switch;

        // Taken out of `self`, so that the context and the dispatcher do not both borrow it.
        let mut projections = std::mem::take(&mut self.projections);
        if projections.len() <= request.cpu {
            projections.resize_with(request.cpu + 1, Projection::default);
        }
        let mut stops = std::mem::take(&mut self.stops);
        stops.watches.forget_hits();
        stops.beside_hits = None;
        cpu.run.pass_at = if request.pass_event { cpu.state.retired } else { RunContext::NO_PASS };
        let mut coherence = self.coherence.take();
        let mut table_changes = self.table_changes.take();
        let exit = cpu.with_context(mem, bus, &mut projections, request.cpu, &mut stops, |cpu| {
            flush::address_line_20(cpu);
            cpu.run.selected = None;
            select_view(cpu);
            cpu.run.coherence = coherence.as_deref_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            cpu.run.table_changes = table_changes.as_deref_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            coherence::begins(cpu);
            let exit = self.dispatch(cpu, request.pass_breakpoint);
            coherence::rests(cpu);
            cpu.state.retired = cpu.retired();
            // What is latched is held too: asking the TLB again finds it.
            cpu.state.tlb.clear_latch();
            exit
        });
        self.projections = projections;
        self.stops = stops;
        self.coherence = coherence;
        self.table_changes = table_changes;

        cpu.state.gpr[8..].fill(0);
        exit
    }

    /// Forgets blocks and projections, after a restore or a debugger's change of registers, memory or tables.
    /// Leaves the architectural TLB alone.
    pub fn invalidate(&mut self) {
        self.cache.clear();
        self.jit.iter_mut().for_each(Jit::clear);
        self.seen.forget_all();
        self.projections.clear();
    }

    /// Lets go of what is kept of a CPU's translations, after its INIT.
    pub fn release(&mut self, cpu: usize) {
        if let Some(projection) = self.projections.get_mut(cpu) {
            *projection = Projection::default();
        }
    }

    /// Follows translations and changes of tables from now on, for what the checker is then asked to keep. To be
    /// called before anything runs: what is held by then is not known.
    pub fn check_coherence(&mut self) -> &mut Coherence {
        self.coherence.get_or_insert_default()
    }

    /// The checker, if there is one.
    pub fn coherence(&mut self) -> Option<&mut Coherence> {
        self.coherence.as_deref_mut()
    }

    /// Follows changes of the paging structures from now on, for [`Engine::table_changes`].
    pub fn follow_tables(&mut self) {
        self.table_changes.get_or_insert_default();
        // Whoever holds a projection of a table has to look again.
        self.projections.clear();
    }

    /// Who changed entries of the paging structures last, if that is followed.
    pub fn table_changes(&self) -> Option<&TableChanges> {
        self.table_changes.as_deref()
    }

    /// What has been done so far.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            translated: self.translated,
            discarded: self.cache.killed,
            lookups: self.lookups,
            compiled: self.jit.as_ref().map_or(0, Jit::compiled),
        }
    }

    /// Acts as if the memory for host code had only so many bytes.
    #[cfg(all(test, host_code))]
    pub(crate) fn leave_room_for_host_code(&mut self, bytes: usize) {
        self.jit = Jit::new();
        self.jit.as_mut().expect("this host makes code").leave_room(bytes);
    }
}

/// Lends the projections of the current view to the handlers.
fn select_view(cpu: &mut Cpu) {
    let privilege = access::privilege(&cpu.state, View::Current);
    let guarded = mode::guarded_fetch(&cpu.state);
    if cpu.run.selected == Some((privilege, guarded)) {
        return;
    }
    cpu.run.selected = Some((privilege, guarded));
    let active = cpu.projection().active(privilege, guarded);
    cpu.run.read = active.read;
    cpu.run.write = active.write;
    cpu.run.exec = active.exec;
}
