//! The dispatcher: what happens between blocks.

use x86::{Eflags, LinearAddr, SegReg};

use super::{
    Engine,
    mode::{self, Mode},
    select_view,
};
use crate::{
    Activity, Cpu, Exception, Exit, Occurrence,
    activity::{self, Pending, pending},
    block::{Block, Key},
    cpu::{Leave, Told},
    event::{self, Event},
    exec::hot,
    jit::Jit,
    mmu,
};

/// How many rests of blocks are run before one of them is looked at: whether it was met before.
const RESTS_A_LOOK: u32 = 16;

/// DR6.BS: a single step.
const DR6_BS: u32 = 1 << 14;

impl Engine {
    /// Runs blocks until something ends the run.
    pub(super) fn dispatch(&mut self, cpu: &mut Cpu, mut pass_breakpoint: bool) -> Exit {
        let mut mode = self.mode(cpu);
        cpu.run.leave = Leave::Changed;
        cpu.run.told = None;
        loop {
            if cpu.mem().has_killed() {
                self.cache.drain_killed(cpu.mem(), &mut self.seen);
                cpu.run.leave = Leave::Changed;
            }
            match self.boundary(cpu) {
                Ok(Boundary::Clear) => {}
                Ok(Boundary::Delivered) => {
                    // What comes next is not the instruction that was to be passed.
                    pass_breakpoint = false;
                    mode = self.changed(cpu);
                    continue;
                }
                Err(exit) => return exit,
            }
            let pc = LinearAddr(cpu.state.pc());
            if !pass_breakpoint && self.is_breakpoint(pc) {
                return Exit::Breakpoint { addr: pc };
            }
            pass_breakpoint = false;
            let before = Before::of(cpu);
            self.step(cpu, mode);
            match cpu.run.leave {
                Leave::Next => {}
                Leave::Changed => mode = self.changed(cpu),
                Leave::Fault(exception) => {
                    if let Some(occurrence) = caught(cpu, exception) {
                        before.restore(cpu);
                        return Exit::Caught(occurrence);
                    }
                    self.name_missing(cpu);
                    if let Err(exit) = deliver(cpu, Event::Exception(exception)) {
                        return exit;
                    }
                    mode = self.changed(cpu);
                }
                // The machine sees of itself that a turn is over, or the CPU halted.
                Leave::Exit(exit) => return cpu.run.told.take().map_or(exit, |told| told_of(cpu, told)),
            }
        }
    }

    fn mode(&self, cpu: &Cpu) -> Mode {
        Mode::of(&cpu.state, self.config.single_step)
    }

    /// After what may have changed mode or translations.
    fn changed(&mut self, cpu: &mut Cpu) -> Mode {
        select_view(cpu);
        cpu.run.leave = Leave::Changed;
        self.mode(cpu)
    }

    /// Says once of each opcode that nothing here executes it.
    fn name_missing(&mut self, cpu: &mut Cpu) {
        if let Some(code) = cpu.run.missing.take()
            && let Err(place) = self.named.binary_search(&code)
        {
            self.named.insert(place, code);
            log::warn!("{code:?} at {:#010x} is not implemented: #UD", cpu.state.pc());
        }
    }

    /// Everything that can come between two instructions (SDM Vol. 3A, "Priority Among
    /// Concurrent Events").
    fn boundary(&self, cpu: &mut Cpu) -> Result<Boundary, Exit> {
        if let Some(told) = cpu.run.told.take() {
            return Err(told_of(cpu, told));
        }
        if std::mem::take(&mut cpu.run.attention) {
            return Err(Exit::Bus);
        }
        if cpu.is_over_at_switch() {
            return Err(Exit::Switched);
        }
        let intr = cpu.state.eflags.contains(Eflags::IF) && cpu.bus().intr();
        let event = pending(&cpu.state, intr);
        if !activity::is_awake(cpu.state.activity, event.is_some()) {
            return Err(Exit::Halted);
        }
        if cpu.run.left <= 0 {
            return Err(Exit::Budget);
        }
        let Some(event) = event else { return Ok(Boundary::Clear) };
        cpu.state.activity = Activity::Running;
        let event = match event {
            Pending::Debug => {
                note_debug(cpu, 0);
                Event::Exception(Exception::db())
            }
            Pending::Nmi => {
                cpu.state.nmi_pending = false;
                // Until IRET (SDM Vol. 3A, "Handling Multiple NMIs"), even if the delivery fails.
                cpu.state.nmi_blocked = true;
                Event::Nmi
            }
            Pending::External => {
                let now = cpu.now();
                Event::External { vector: cpu.bus().acknowledge(now) }
            }
        };
        deliver(cpu, event)?;
        event::tell(cpu, event);
        Ok(Boundary::Delivered)
    }

    /// Runs from EIP until the dispatcher is needed again; `run.leave` then says why.
    fn step(&mut self, cpu: &mut Cpu, mode: Mode) {
        // The shadows last for one instruction, which may set them again; so does RF.
        let after_mov_ss = std::mem::take(&mut cpu.state.mov_ss_shadow);
        let shadow = std::mem::take(&mut cpu.state.sti_shadow) | after_mov_ss;
        cpu.run.after_mov_ss = after_mov_ss;
        cpu.run.interrupted = false;
        let trap = cpu.state.eflags.contains(Eflags::TF);
        let resume = cpu.state.eflags.contains(Eflags::RF);
        cpu.state.eflags.remove(Eflags::RF);
        // RF is asked by debug registers alone, and these are a reason to be careful.
        cpu.run.single = shadow || trap || mode.has(mode::CAREFUL);

        let discarded = self.cache.killed;
        let found = instruction_breakpoint(cpu, resume || after_mov_ss).and_then(|()| self.find(cpu, mode));
        let Found { block, from } = match found {
            Ok(found) => found,
            Err(exception) => {
                cpu.run.leave = Leave::Fault(exception);
                return;
            }
        };
        if matches!(cpu.run.leave, Leave::Next) && !cpu.run.exit_op.is_null() {
            if self.cache.killed == discarded && !self.ran_once && from == 0 {
                self.cache.join(cpu.run.exit_op, block);
            }
        } else if !self.translator.is_current(block) && from == 0 {
            self.cache.remember(block);
        }

        self.ran_once = self.translator.is_current(block);
        cpu.run.leave = Leave::Next;
        cpu.run.exit_op = std::ptr::null();
        cpu.run.targets = self.cache.targets();
        cpu.run.mode_key = u64::from(mode.0) << 32;
        let left = cpu.run.left;
        let whole = self.cache.block(block);
        if from > 0 {
            hot::enter_within(cpu, whole, from);
        } else if i64::from(whole.count()) <= left {
            hot::enter(cpu, block);
        } else {
            hot::run_part(cpu, whole);
            let rest = Rest { key: whole.key, from: left as u32 };
            if whole.begins(rest.from, cpu.state.eip) {
                self.rests.resize(self.rests.len().max(cpu.number() + 1), None);
                self.rests[cpu.number()] = Some(rest);
            }
        }

        if self.config.uncached {
            self.cache.clear();
            cpu.run.exit_op = std::ptr::null();
            if matches!(cpu.run.leave, Leave::Next) {
                cpu.run.leave = Leave::Changed;
            }
        }

        let retired = cpu.run.left < left;
        if trap && retired && !cpu.state.mov_ss_shadow && !cpu.run.interrupted {
            cpu.state.pending_debug |= DR6_BS;
        }
    }

    /// The block at EIP, fit for the limit of CS. Of a block with more instructions than the budget has left, only the
    /// first ones may run.
    fn find(&mut self, cpu: &mut Cpu, mode: Mode) -> Result<Found, Exception> {
        let cs = *cpu.state.seg(SegReg::Cs);
        let eip = cpu.state.eip;
        let limit = if mode.has(mode::FLAT_CS) { !0 } else { cs.limit };
        if eip > limit {
            return Err(Exception::gp(0));
        }
        if let Some(block) = self.find_known(cpu, mode) {
            return Ok(Found { block, from: 0 });
        }
        let phys = mmu::fetch::translate(cpu, LinearAddr(cpu.state.pc()))?;
        let Ok(phys) = u32::try_from(phys.0) else {
            return Err(Exception::ud()); // nothing is there: all ones, which is no instruction
        };
        let single = if cpu.run.single { mode::SINGLE } else { 0 };
        let mut key = Key { phys, eip, cs_base: cs.base, mode: mode.0 | single };
        let mut found = self.get(cpu, key)?;
        if found.from == 0 && self.cache.block(found.block).len - 1 > limit - eip {
            key.mode |= mode::SINGLE;
            found = self.get(cpu, key)?;
            if self.cache.block(found.block).len - 1 > limit - eip {
                return Err(Exception::gp(0));
            }
        }
        Ok(found)
    }

    /// The block at EIP, if it is a known target of indirect branches: found without asking TLB or cache.
    fn find_known(&self, cpu: &mut Cpu, mode: Mode) -> Option<*const Block> {
        if cpu.run.single || !mode.has(mode::FLAT_CS) {
            return None;
        }
        let pc = LinearAddr(cpu.state.eip);
        let block = self.cache.known(mode.0, pc.0, cpu.projected_fetch(pc))?;
        let found = self.cache.block(block);
        if found.second.is_some() {
            return None; // the second page is to be asked too
        }
        // What the projection leads to the TLB holds, with the right to execute.
        mmu::fetch::latch(cpu, pc, found.key.phys >> 12);
        Some(block)
    }

    /// The block with this key, translated if need be. It is alive until the next call.
    fn get(&mut self, cpu: &mut Cpu, key: Key) -> Result<Found, Exception> {
        self.lookups += 1;
        if let Some(block) = self.cache.get(key) {
            let found = Found { block, from: 0 };
            let Some(second) = self.cache.block(block).second else { return Ok(found) };
            let next_page = LinearAddr((key.linear() | 0xfff).wrapping_add(1));
            if mmu::fetch::translate_second(cpu, next_page)?.frame() == second {
                return Ok(found);
            }
            self.cache.remove(block);
        }
        let always = self.config.eager || self.config.uncached;
        if !always && let Some(found) = self.rest_at(cpu, key) {
            self.rests_met = self.rests_met.wrapping_add(1);
            // Where turns end again and again, a block is worth while in the end.
            if !self.rests_met.is_multiple_of(RESTS_A_LOOK) || !self.seen.note(key) {
                return Ok(found);
            }
        }
        let keep = always || self.seen.note(key);
        self.translated += 1;
        let stops_before = |addr| self.breakpoints.binary_search(&addr).is_ok();
        if !keep {
            return Ok(Found { block: self.translator.once(cpu, key, stops_before)?, from: 0 });
        }
        let mut block = self.translator.for_good(cpu, key, stops_before)?;
        self.compile(&mut block);
        Ok(Found { block: self.cache.insert(block), from: 0 })
    }

    /// The rest of the block that the CPU's budget last ended in, if it begins where a block with this key would: a turn
    /// ends anywhere, and few places are worth a block of their own.
    fn rest_at(&self, cpu: &Cpu, key: Key) -> Option<Found> {
        let Rest { key: of, from } = (*self.rests.get(cpu.number())?)?;
        let distance = key.eip.wrapping_sub(of.eip);
        if of.mode != key.mode || of.cs_base != key.cs_base || of.phys.wrapping_add(distance) != key.phys {
            return None;
        }
        let block = self.cache.get(of)?;
        let whole = self.cache.block(block);
        let fits = whole.begins(from, key.eip) && i64::from(whole.count() - from) <= cpu.run.left;
        fits.then_some(Found { block, from })
    }

    /// Makes host code for a block that is to be kept.
    fn compile(&mut self, block: &mut Block) {
        if self.makes_code && self.jit.is_none() {
            self.jit = Jit::new();
            self.makes_code = self.jit.is_some();
        }
        let Some(jit) = &mut self.jit else { return };
        if jit.is_full() {
            self.cache.clear();
            jit.clear();
        }
        let (insns, ops, dead) = block.parts();
        jit.compile(insns, ops, dead);
    }
}

/// A block to run, from the instruction with this number on.
#[derive(Clone, Copy)]
struct Found {
    block: *const Block,
    from: u32,
}

/// Where a budget ended within a block: before the instruction with this number.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    key: Key,
    from: u32,
}

/// What of the state an instruction takes although it has not begun, if an exception is caught before its
/// delivery: what may come between two instructions must be the same when it is begun again.
struct Before {
    left: i64,
    eip: u32,
    mov_ss_shadow: bool,
    sti_shadow: bool,
    resume: Eflags,
    pending_debug: u32,
}

impl Before {
    fn of(cpu: &Cpu) -> Self {
        let state = &cpu.state;
        Before {
            left: cpu.run.left,
            eip: state.eip,
            mov_ss_shadow: state.mov_ss_shadow,
            sti_shadow: state.sti_shadow,
            resume: state.eflags & Eflags::RF,
            pending_debug: state.pending_debug,
        }
    }

    /// Gives it back, unless instructions or iterations have retired since.
    fn restore(self, cpu: &mut Cpu) {
        if (cpu.run.left, cpu.state.eip) == (self.left, self.eip) {
            let state = &mut cpu.state;
            state.mov_ss_shadow = self.mov_ss_shadow;
            state.sti_shadow = self.sti_shadow;
            state.eflags |= self.resume;
            state.pending_debug = self.pending_debug;
        } else {
            // Breakpoints that it met before are met again.
            cpu.state.pending_debug = 0;
        }
    }
}

/// What a debugger is to be told of before `exception` is delivered, if it has not been yet.
fn caught(cpu: &mut Cpu, exception: Exception) -> Option<Occurrence> {
    let earlier = cpu.run.caught.take();
    earlier.or_else(|| cpu.catches_before(exception.vector.0).then_some(Occurrence::Exception(exception)))
}

/// The exit for what is complete.
fn told_of(cpu: &mut Cpu, told: Told) -> Exit {
    match told {
        Told::Caught(occurrence) => Exit::Caught(occurrence),
        Told::Watched => {
            let hit = cpu.stops().and_then(|stops| stops.watches.hits().first()).expect("it was told of a hit");
            Exit::Watchpoint { watch: hit.watch, addr: hit.addr }
        }
    }
}

enum Boundary {
    Clear,
    Delivered,
}

/// Delivers an event, which counts as one instruction.
fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), Exit> {
    event::deliver(cpu, event).map_err(|first| Exit::TripleFault { first })?;
    cpu.run.left -= 1;
    Ok(())
}

/// Puts what causes a #DB into DR6, of which only the breakpoints are cleared before
/// (SDM Vol. 3B, "Debug Status Register (DR6)").
fn note_debug(cpu: &mut Cpu, hits: u32) {
    let state = &mut cpu.state;
    state.dr[6] = state.dr[6] & !0xf | std::mem::take(&mut state.pending_debug) | hits;
}

/// #DB if a debug register holds the address of the next instruction
/// (SDM Vol. 3B, "Instruction-Breakpoint Exception Condition").
fn instruction_breakpoint(cpu: &mut Cpu, suppressed: bool) -> Result<(), Exception> {
    let control = cpu.state.dr[7];
    if suppressed || control & 0xff == 0 {
        return Ok(());
    }
    let pc = cpu.state.pc();
    let meets = |n: usize| control >> (16 + 4 * n) & 0xf == 0 && cpu.state.dr[n] == pc;
    let enabled = |n: usize| control >> (2 * n) & 3 != 0;
    // DR6 tells of those that are not enabled too, once one is.
    let hits = (0..4).filter(|&n| meets(n)).fold(0, |bits, n| bits | 1 << n);
    if !(0..4).any(|n| meets(n) && enabled(n)) {
        return Ok(());
    }
    note_debug(cpu, hits);
    Err(Exception::db())
}
