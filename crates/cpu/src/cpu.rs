#![allow(unsafe_code)]

use memory::PhysMem;
use x86::{Eflags, LinearAddr};

use crate::{
    Bus, CpuState, Exception, Exit, Occurrence,
    alu::Flags,
    block::{Op, Target},
    coherence::Coherence,
    engine::Switch,
    event::FaultLog,
    lazy::LazyFlags,
    mmu::{Privilege, Projection, TableChanges},
    slow::Flow,
    stops::{Guarded, Stops, Touch},
};

/// A CPU: its state, and the context that is built at each entry of [`crate::Engine::run`].
///
/// Handlers and slow functions get a `Cpu`; during a run it leads to memory and bus.
#[repr(C)]
pub struct Cpu {
    /// Architectural state.
    pub state: CpuState,
    pub(crate) run: RunContext,
    /// The last faults, for who explains them: never read by the machine.
    pub faults: FaultLog,
}

/// What a run needs beside the state. Null and zero at rest.
#[repr(C)]
pub(crate) struct RunContext {
    /// Instructions that may still retire, less those that the running block has taken in advance.
    pub left: i64,
    /// Projection of the TLB for loads in the current view: 2^20 entries, host page less guest
    /// page, 0 for the slow path.
    pub read: *const u64,
    /// The same for stores.
    pub write: *const u64,
    /// The same for instruction fetch.
    pub exec: *const u64,
    /// Whose rights these are, and whether what can be read need not be executable; `None` before they are set.
    pub selected: Option<(Privilege, bool)>,
    /// The status flags; those in `state.eflags` are stale during a run.
    pub lazy: LazyFlags,
    /// How many of the instructions that the block has taken are not complete, the current
    /// one included; set before a slow function is called, 0 outside blocks.
    pub ahead: u32,
    /// What of the mode the running code was translated for, in the upper half.
    pub mode_key: u64,
    /// Where indirect branches look for their target first.
    pub targets: *const Target,
    /// The exit through which the last block was left, if it can be linked.
    pub exit_op: *const Op,
    /// The next operation, in builds that do not chain handlers by tail calls.
    pub next: *const Op,
    /// Set by whoever got [`crate::IoEffect::Recompute`] from a memory access: the run ends after
    /// this instruction.
    pub attention: bool,
    /// The current instruction did what a debugger wants to be told of, once it is complete.
    pub told: Option<Told>,
    /// The current instruction must not be executed before a debugger is told of it; set together with any
    /// exception, which is none.
    pub caught: Option<Occurrence>,
    /// `retired` at the instruction that a debugger was told of already, or [`RunContext::NO_PASS`].
    pub pass_at: u64,
    /// The opcode of an instruction that nothing here executes, for the log.
    pub missing: Option<iced_x86::Code>,
    /// The instruction was INT n, INT3, INTO or INT1, or switched tasks: no single-step trap follows.
    pub interrupted: bool,
    /// The instruction before the current one was MOV or POP to SS.
    pub after_mov_ss: bool,
    /// What the block that was just left asks for.
    pub leave: Leave,
    /// `state.retired` when the budget will be used up.
    pub end: u64,
    /// Virtual time less `state.retired`, modulo 2^64.
    pub time_offset: u64,
    /// The code runs one instruction, or one iteration, at a time.
    pub single: bool,
    /// PAUSEs, and XCHGs that find a lock taken, that may still be executed before the run ends; see
    /// [`crate::RunRequest::pauses`].
    pub pauses: u64,
    /// See [`crate::RunRequest::switch`].
    pub switch: Switch,
    /// Flags that SSE arithmetic has raised are in the host's MXCSR, not yet in `state.mxcsr`.
    pub sse_flags_on_host: bool,
    /// What x87 handlers have left to do.
    pub x87: X87Notes,
    mem: *mut PhysMem,
    bus: Option<*mut dyn Bus>,
    /// Those of all CPUs, the running one's at `number`.
    projections: *mut [Projection],
    number: usize,
    stops: *mut Stops,
    /// Whoever checks how translations are used; null without.
    pub coherence: *mut Coherence,
    /// Who changed entries of tables last; null where nobody asks.
    pub table_changes: *mut TableChanges,
    /// The current store is one of a repeated instruction's, with more to come.
    pub in_series: bool,
}

impl RunContext {
    /// No instruction passes: no count gets that far.
    pub(crate) const NO_PASS: u64 = u64::MAX;
}

/// What a debugger is told after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It touched watched memory.
    Watched,
    /// This happened.
    Caught(Occurrence),
}

/// What x87 handlers leave for whoever looks at the FPU's status and pointers, instead of working it
/// out at every instruction.
pub(crate) struct X87Notes {
    /// The last non-control instruction; null if there is nothing to do.
    pub op: *const Op,
    /// The last one with a memory operand, or null.
    pub operand: *const Op,
    /// The offset of that operand.
    pub data: u32,
    /// C1 that the last one gave, or [`X87Notes::C1_KEPT`].
    pub c1: u8,
    /// What was cut off results, ORed: PE unless 0.
    pub cut: u64,
}

impl X87Notes {
    /// C1 is as the status word has it.
    pub(crate) const C1_KEPT: u8 = 2;
    /// Nothing to do.
    pub(crate) const NONE: X87Notes =
        X87Notes { op: std::ptr::null(), operand: std::ptr::null(), data: 0, c1: Self::C1_KEPT, cut: 0 };
}

/// Why a block was left, beside reaching its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// The next block follows; nothing that the dispatcher caches has changed.
    Next,
    /// Mode, translations, interrupt state or code may have changed.
    Changed,
    /// The instruction at EIP raised an exception.
    Fault(Exception),
    /// The run ends.
    Exit(Exit),
}

/// What stands for the projections at rest: an empty list.
fn no_projections() -> *mut [Projection] {
    std::ptr::slice_from_raw_parts_mut(std::ptr::dangling_mut(), 0)
}

// SAFETY: the pointers are null, or lead to nothing, at rest, and a run neither begins on one thread and ends on
// another nor lends the `Cpu` out.
unsafe impl Send for Cpu {}

impl Cpu {
    /// A CPU at rest in `state`.
    pub fn new(state: CpuState) -> Self {
        use std::ptr::{null, null_mut};
        let run = RunContext {
            left: 0,
            read: null(),
            write: null(),
            exec: null(),
            selected: None,
            lazy: Flags::from(state.eflags).into(),
            ahead: 0,
            mode_key: 0,
            targets: null(),
            exit_op: null(),
            next: null(),
            attention: false,
            told: None,
            caught: None,
            pass_at: RunContext::NO_PASS,
            missing: None,
            interrupted: false,
            after_mov_ss: false,
            leave: Leave::Next,
            end: 0,
            time_offset: 0,
            single: false,
            pauses: 0,
            switch: Switch::GoesOn,
            sse_flags_on_host: false,
            x87: X87Notes::NONE,
            mem: null_mut(),
            bus: None,
            projections: no_projections(),
            number: 0,
            stops: null_mut(),
            coherence: null_mut(),
            table_changes: null_mut(),
            in_series: false,
        };
        Cpu { state, run, faults: FaultLog::default() }
    }

    /// A CPU at rest in the same state that remembers the same faults.
    pub fn duplicate(&self) -> Self {
        Cpu { faults: self.faults.clone(), ..Cpu::new(self.state.clone()) }
    }

    /// PAUSEs that the last run had still to execute before they would have ended it; see
    /// [`crate::RunRequest::pauses`].
    pub fn pauses_left(&self) -> u64 {
        self.run.pauses
    }

    /// Whether the CPU switched to another address space in a run that was to end there; it ends when interrupts are
    /// taken, or before for another reason.
    pub fn has_switched(&self) -> bool {
        self.run.switch == Switch::Made
    }

    /// Whether the run ends because the CPU has switched to another address space and takes interrupts.
    #[inline]
    pub(crate) fn is_over_at_switch(&self) -> bool {
        self.has_switched() && self.state.eflags.contains(Eflags::IF)
    }

    /// Lends memory, bus, the projections of all CPUs, of which this one is `number`, and what a debugger asked for
    /// to the CPU for the time of `body`.
    pub(crate) fn with_context<R>(
        &mut self,
        mem: &mut PhysMem,
        bus: &mut dyn Bus,
        projections: &mut [Projection],
        number: usize,
        stops: &mut Stops,
        body: impl FnOnce(&mut Self) -> R,
    ) -> R {
        /// Takes the pointers away even when `body` unwinds.
        struct Lent<'a>(&'a mut Cpu);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                let run = &mut self.0.run;
                run.mem = std::ptr::null_mut();
                run.bus = None;
                run.projections = no_projections();
                run.stops = std::ptr::null_mut();
                run.coherence = std::ptr::null_mut();
                run.table_changes = std::ptr::null_mut();
                run.read = std::ptr::null();
                run.write = std::ptr::null();
                run.exec = std::ptr::null();
                self.0.state.eflags = self.0.eflags();
            }
        }
        // SAFETY: only the lifetime of the trait object is widened; `Lent` takes the pointer away
        // before the borrow ends.
        let bus = unsafe { std::mem::transmute::<*mut dyn Bus, *mut (dyn Bus + 'static)>(bus) };
        self.run.mem = mem;
        self.run.bus = Some(bus);
        self.run.projections = projections;
        self.run.number = number;
        self.run.stops = stops;
        self.run.lazy = Flags::from(self.state.eflags).into();
        let lent = Lent(self);
        body(lent.0)
    }

    /// The instruction tells that the CPU waits for another one: the last of those that the run allows ends it.
    pub(crate) fn wait_for_others(&mut self) -> Flow {
        self.run.pauses = self.run.pauses.saturating_sub(1);
        if self.run.pauses == 0 { Flow::Exit(Exit::Paused) } else { Flow::Next }
    }

    /// The instruction, which leaves its block, switched to another address space.
    pub(crate) fn switches_space(&mut self) {
        if self.run.switch == Switch::Ends {
            self.run.switch = Switch::Made;
        }
    }

    /// Guest-physical memory, during a run.
    #[inline]
    pub(crate) fn mem(&mut self) -> &mut PhysMem {
        assert!(!self.run.mem.is_null(), "memory is reached only during a run");
        // SAFETY: `with_context` sets the pointer from a `&mut` that outlives the run and clears it
        // at the end; the returned borrow holds `self`, so there is no second one.
        unsafe { &mut *self.run.mem }
    }

    /// The machine around, during a run.
    #[inline]
    pub(crate) fn bus(&mut self) -> &mut dyn Bus {
        let bus = self.run.bus.expect("the bus is reached only during a run");
        // SAFETY: as in `mem`.
        unsafe { &mut *bus }
    }

    /// The projections of this CPU's TLB, during a run.
    #[inline]
    pub(crate) fn projection(&mut self) -> &mut Projection {
        let number = self.run.number;
        &mut self.projections()[number]
    }

    /// Takes the right to write to `frame` without looking from every CPU: it gains code.
    pub(crate) fn revoke_write(&mut self, frame: u32) {
        self.projections().iter_mut().for_each(|projection| projection.revoke_write(frame));
    }

    /// The projections of all CPUs' TLBs, during a run.
    pub(crate) fn projections(&mut self) -> &mut [Projection] {
        // SAFETY: as in `mem`; at rest the list is empty.
        unsafe { &mut *self.run.projections }
    }

    /// What the projection for fetches in the current view says of the page of `addr`: 0 if fetches must be
    /// looked at.
    pub(crate) fn projected_fetch(&self, addr: LinearAddr) -> u64 {
        assert!(!self.run.exec.is_null(), "the projections are reached only during a run");
        // SAFETY: a projection has 2^20 entries, and stays during a run.
        unsafe { *self.run.exec.add(addr.page_number() as usize) }
    }

    /// Which CPU of the machine runs.
    #[inline]
    pub(crate) fn number(&self) -> usize {
        self.run.number
    }

    /// Whoever checks how translations are used, during a run that is checked.
    #[inline]
    pub(crate) fn coherence(&mut self) -> Option<&mut Coherence> {
        // SAFETY: as in `mem`; it is null without a checker.
        unsafe { self.run.coherence.as_mut() }
    }

    /// Who changed entries of tables last, during a run in an engine.
    #[inline]
    pub(crate) fn table_changes(&mut self) -> Option<&mut TableChanges> {
        // SAFETY: as in `mem`; it is null where nobody asks.
        unsafe { self.run.table_changes.as_mut() }
    }

    /// What a debugger asked for, during a run.
    #[inline]
    pub(crate) fn stops(&mut self) -> Option<&mut Stops> {
        // SAFETY: as in `mem`; it is null at rest.
        unsafe { self.run.stops.as_mut() }
    }

    /// What watchpoints leave to do without a look on linear page `page`, which leads to `frame`.
    pub(crate) fn guarded(&mut self, page: u32, frame: u32) -> Guarded {
        let nothing = Guarded { loads: false, stores: false };
        self.stops().filter(|stops| !stops.watches.is_empty()).map_or(nothing, |it| it.watches.guarded(page, frame))
    }

    /// Notes what the current instruction touches, for the watchpoints.
    pub(crate) fn note_touch(&mut self, touch: &Touch<'_>) {
        let pc = LinearAddr(self.state.pc());
        let Some(stops) = self.stops() else { return };
        stops.watches.note(pc, touch);
        if !stops.watches.hits().is_empty()
            && let Some(Told::Caught(occurrence)) = self.run.told.replace(Told::Watched)
            && let Some(stops) = self.stops()
        {
            stops.beside_hits = Some(occurrence);
        }
    }

    /// Whether a debugger is told of `vector` before the current instruction: it wants to be, and was not yet.
    pub(crate) fn catches_before(&mut self, vector: u8) -> bool {
        let wanted = self.stops().is_some_and(|stops| stops.catches.vectors.holds(vector));
        wanted && self.retired() != self.run.pass_at
    }

    /// Has a debugger told of what is complete.
    pub(crate) fn tell(&mut self, occurrence: Occurrence) {
        match self.run.told {
            None => self.run.told = Some(Told::Caught(occurrence)),
            Some(Told::Caught(_)) => {}
            Some(Told::Watched) => {
                if let Some(stops) = self.stops() {
                    stops.beside_hits.get_or_insert(occurrence);
                }
            }
        }
    }

    /// Instructions retired by this CPU up to the current one, which does not count yet.
    pub(crate) fn retired(&self) -> u64 {
        self.run.end.wrapping_sub(self.run.left as u64).wrapping_sub(u64::from(self.run.ahead))
    }

    /// Virtual time at the current instruction, in nanoseconds.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.retired().wrapping_add(self.run.time_offset)
    }

    /// How many iterations of the current repeated instruction may retire beside the last one.
    pub(crate) fn budget_left(&self) -> u64 {
        if self.run.single { 0 } else { self.run.left.max(0) as u64 }
    }

    /// Counts `iterations` of the current repeated instruction beside the one that counts
    /// through its [`crate::slow::Flow`]; at most [`Cpu::budget_left`].
    pub(crate) fn retire_extra(&mut self, iterations: u64) {
        debug_assert!(iterations <= self.run.left.max(0) as u64, "more iterations than the budget allows");
        self.run.left -= iterations as i64;
    }

    /// Whether the current instruction did what the dispatcher must look at before the next one: the bus,
    /// what a debugger is told, code that was overwritten, a translation that has gone.
    pub(crate) fn disturbed(&mut self) -> bool {
        self.run.attention || self.run.told.is_some() || self.state.tlb.latch().is_none() || self.mem().has_killed()
    }

    /// EFLAGS with the status flags, during a run.
    #[inline]
    pub(crate) fn eflags(&self) -> Eflags {
        self.run.lazy.eflags(self.state.eflags)
    }

    /// Sets all of EFLAGS.
    pub(crate) fn set_eflags(&mut self, eflags: Eflags) {
        self.run.lazy = Flags::from(eflags).into();
        self.state.eflags = eflags;
    }

    /// The status flags, during a run.
    #[inline]
    pub(crate) fn flags(&self) -> Flags {
        self.run.lazy.into()
    }

    /// Sets the status flags.
    #[inline]
    pub(crate) fn set_flags(&mut self, flags: Flags) {
        self.run.lazy = flags.into();
    }
}
