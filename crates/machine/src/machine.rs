use std::collections::BTreeSet;

use cpu::{
    Catches, Cpu, CpuState, Engine, EngineConfig, EngineStats, FaultLog, Occurrence, Watch, WatchHit,
    coherence::{Change, Coherence, Finding},
    mmu::TableChanges,
};
use devices::VGA_TEXT_BYTES;
use memory::{FrameKind, PhysMem};
use x86::{LinearAddr, PhysAddr};

use crate::{
    Error, InputEvent,
    board::{BoardView, Signals},
    boot::{self, Boot},
    chipset::Chipset,
    config::MachineConfig,
    disk::{DiskBank, DiskPurpose},
    firmware::{self, MemoryRegion},
    input::InputQueue,
    resource::{PortMap, Resource},
    samples::{Sample, Samples},
    schedule::Schedule,
    stats::MachineStats,
    timeline::Timeline,
    unresolved::{Explanation, LastUnresolved, Unresolved},
};

const VIDEO_START: u64 = 0xa_0000;
const HIGH_MEMORY_START: u64 = 0x10_0000;
const BIOS_START: u64 = 0xf_0000;
/// The test device's memory, which keeps what is written.
const TEST_MEMORY: u64 = 0xff00_0000;
const TEST_MEMORY_BYTES: u64 = 0x1_0000;

/// A computer that can be stopped, saved and looked into.
pub struct Machine {
    // What a snapshot holds.
    pub(crate) config: MachineConfig,
    pub(crate) boot: Boot,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) mem: PhysMem,
    pub(crate) chipset: Chipset,
    pub(crate) disks: DiskBank,
    pub(crate) input: InputQueue,
    pub(crate) schedule: Schedule,
    /// Instructions retired by all CPUs plus skipped time, in nanoseconds.
    pub(crate) now_ns: u64,
    pub(crate) timeline: Timeline,
    pub(crate) samples: Samples,
    /// Of which a snapshot has the explanation.
    pub(crate) unresolved: LastUnresolved,
    // What follows from the rest, or belongs to this run of the host alone.
    pub(crate) engine: Engine,
    pub(crate) ports: PortMap,
    pub(crate) signals: Signals,
    /// Where the host wants a stop.
    pub(crate) breakpoints: BTreeSet<LinearAddr>,
    /// Of which instructions the host is told that a CPU comes there, without a stop.
    pub(crate) told: BTreeSet<LinearAddr>,
    /// When it was last told, and of which.
    pub(crate) told_last: Option<(u64, LinearAddr)>,
    /// The CPU that ran last.
    pub(crate) entered: usize,
    /// The CPU that stopped before an instruction, and its count of retired instructions then.
    pub(crate) before: Option<(usize, u64)>,
    /// The same of one that stopped for an event of its next instruction.
    pub(crate) before_event: Option<(usize, u64)>,
    /// When a chip other than the local APICs changes next by itself; 0 if nobody has looked since one was accessed.
    pub(crate) chips_due_ns: u64,
    pub(crate) stats: MachineStats,
}

impl Machine {
    /// A machine at the first instruction of what it boots.
    ///
    /// # Errors
    /// [`Error`] for an impossible configuration, or an image that cannot be booted.
    pub fn new(config: MachineConfig, boot: Boot, engine: EngineConfig) -> Result<Self, Error> {
        config.check()?;
        let mut machine = Machine {
            chipset: Chipset::new(&config),
            cpus: (0..config.cpus).map(|number| Cpu::new(config.cpu_at_reset(number))).collect(),
            mem: empty_memory(&config)?,
            disks: DiskBank::open(&config)?,
            input: InputQueue::default(),
            schedule: Schedule::new(&config),
            now_ns: 0,
            timeline: Timeline::default(),
            samples: Samples::default(),
            unresolved: LastUnresolved::default(),
            engine: Engine::new(engine),
            ports: PortMap::new(&config),
            signals: Signals::default(),
            breakpoints: BTreeSet::new(),
            told: BTreeSet::new(),
            told_last: None,
            entered: 0,
            before: None,
            before_event: None,
            chips_due_ns: 0,
            stats: MachineStats::new(config.cpus),
            config,
            boot,
        };
        machine.load()?;
        Ok(machine)
    }

    /// What a pulled reset line leads to: chips and CPUs are reset and the images booted again.
    /// Time goes on; memory keeps what the images do not overwrite.
    ///
    /// # Errors
    /// As [`Machine::new`], although what was booted once can be booted again.
    pub fn reboot(&mut self) -> Result<(), Error> {
        self.chipset.reset(&mut BoardView { now_ns: self.now_ns, signals: &mut self.signals });
        self.schedule = Schedule::new(&self.config);
        for (number, cpu) in (0..).zip(&mut self.cpus) {
            cpu.state = CpuState { retired: cpu.state.retired, ..self.config.cpu_at_reset(number) };
        }
        self.load()?;
        self.engine.invalidate();
        Ok(())
    }

    /// Gives a restored machine the image files of its disks; without them its drives fail.
    ///
    /// # Errors
    /// [`Error::Disk`] for [`DiskPurpose::Run`] when an image is missing, in use, or not as it was.
    pub fn attach_disks(&mut self, purpose: DiskPurpose) -> Result<(), Error> {
        self.disks.attach(&self.config, purpose)
    }

    /// As [`Machine::attach_disks`] of a machine that is to run in the place of `running`, which may have the
    /// same image files open.
    ///
    /// # Errors
    /// [`Error::Disk`] when an image is missing, in use by somebody else, or not as it was.
    pub fn attach_disks_in_place_of(&mut self, running: &Machine) -> Result<(), Error> {
        self.disks.attach_in_place_of(&self.config, &running.disks, &running.config)
    }

    fn load(&mut self) -> Result<(), Error> {
        if self.boot.kernel().is_some() {
            // Before the images, which may lie where firmware has been.
            firmware::write_memory(&mut self.mem, &self.config, self.now_ns);
        }
        let memory_map = firmware::memory_map(&self.config);
        if let Some(state) = boot::load(&self.boot, &mut self.mem, &memory_map, self.config.cpu_model)? {
            let CpuState { tlb, random, apic_id, cpu_count, .. } = self.config.cpu_at_reset(0);
            for other in &mut self.cpus[1..] {
                other.state.msr.mtrr = state.msr.mtrr.clone();
            }
            let first = &mut self.cpus[0].state;
            *first = CpuState { tlb, random, apic_id, cpu_count, retired: first.retired, ..state };
            let mut board = BoardView { now_ns: self.now_ns, signals: &mut self.signals };
            firmware::set_up_chips(&mut self.chipset, &mut board);
            self.chipset.apics.set_up(&mut board);
        }
        Ok(())
    }

    /// What the machine is made of.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// What it booted.
    pub fn boot_images(&self) -> &Boot {
        &self.boot
    }

    /// How many CPUs there are.
    pub fn cpu_count(&self) -> usize {
        self.cpus.len()
    }

    /// The state of CPU `number`, which must be below [`Machine::cpu_count`].
    pub fn cpu(&self, number: usize) -> &CpuState {
        &self.cpus[number].state
    }

    /// The CPU that ran last: that which reached a breakpoint, touched watched memory or shut down, if the
    /// machine has stopped for that.
    pub fn current_cpu(&self) -> usize {
        self.entered
    }

    /// From the next turn on, order and length of the CPUs' turns are drawn from `seed`.
    pub fn draw_schedule(&mut self, seed: u64) {
        self.config.schedule_seed = Some(seed);
        self.schedule.draw_from(seed);
    }

    /// Changes the state of CPU `number` from outside, as a debugger does.
    pub fn change_cpu(&mut self, number: usize, change: impl FnOnce(&mut CpuState)) {
        change(&mut self.cpus[number].state);
        // Its next instruction may be another one.
        self.before_event = None;
        self.engine.invalidate();
    }

    /// Guest-physical memory.
    pub fn memory(&self) -> &PhysMem {
        &self.mem
    }

    /// Changes memory from outside, as a debugger does. ROM can be changed too.
    pub fn change_memory(&mut self, addr: PhysAddr, bytes: &[u8]) {
        self.mem.load(addr, bytes);
        self.engine.invalidate();
    }

    /// The chips.
    pub fn chipset(&self) -> &Chipset {
        &self.chipset
    }

    /// Virtual time: instructions retired plus skipped time, in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Instructions retired by all CPUs.
    pub fn retired(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.state.retired).sum()
    }

    /// Counts of this run.
    pub fn stats(&self) -> &MachineStats {
        &self.stats
    }

    /// The last interrupts and TLB flushes.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Keeps at least so many facts of the time line from now on.
    pub fn keep_timeline(&mut self, count: usize) {
        self.timeline.keep(count);
    }

    /// Has the time line note each time that a CPU comes to the instruction at `addr`, in every address space. It
    /// changes nothing in the machine, and costs an entry into the engine each time.
    pub fn note_place(&mut self, addr: LinearAddr) {
        self.timeline.note_place(addr.0, self.now_ns);
        self.engine.add_breakpoint(addr);
    }

    /// Has the host told ([`crate::Host::noticed`]) each time that a CPU comes to the instruction at `addr`, in
    /// every address space. It changes nothing in the machine, and no snapshot remembers it.
    pub fn tell_at(&mut self, addr: LinearAddr) {
        self.told.insert(addr);
        self.engine.add_breakpoint(addr);
    }

    /// Counters over time, if they were sampled.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// From now on a sample is due every so many instructions; whoever lets the machine run takes it.
    pub fn sample_every(&mut self, instructions: u64) {
        self.samples.set_every(instructions);
    }

    /// Takes a sample in. Older ones may go for it.
    pub fn keep_sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// The last faults of CPU `number`, which must be below [`Machine::cpu_count`].
    pub fn faults(&self, number: usize) -> &FaultLog {
        &self.cpus[number].faults
    }

    /// Follows changes of the paging structures from now on, for [`Machine::table_changes`]. It changes nothing in
    /// the machine, but costs where a kernel often stores into its tables.
    pub fn follow_tables(&mut self) {
        self.engine.follow_tables();
    }

    /// Who changed entries of the paging structures last, if that is followed.
    pub fn table_changes(&self) -> Option<&TableChanges> {
        self.engine.table_changes()
    }

    /// Keeps a fault that the kernel did not resolve, in place of an earlier one and its explanation.
    pub fn keep_unresolved(&mut self, fault: Unresolved) {
        self.unresolved = LastUnresolved { fault: Some(fault), explanation: None };
    }

    /// Keeps the words for the last fault that was kept, so that they outlive what they tell of.
    pub fn keep_explanation(&mut self, explanation: Explanation) {
        self.unresolved.explanation = Some(explanation);
    }

    /// The last fault that was kept, unless the machine was saved since.
    pub fn unresolved(&self) -> Option<&Unresolved> {
        self.unresolved.fault.as_ref()
    }

    /// The words for the last fault that was kept, if somebody has given some.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.unresolved.explanation.as_ref()
    }

    /// Has every use of a translation checked from now on; see [`cpu::coherence`]. While there are findings,
    /// [`Machine::run`] returns [`crate::Stop::Interrupted`]: they must be taken.
    pub fn check_tlb(&mut self) {
        self.engine.check_coherence().keep_findings();
    }

    /// Uses of stale translations since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        self.engine.coherence().map(Coherence::take_findings).unwrap_or_default()
    }

    /// Has changes of paging-structure entries kept for [`Machine::take_table_changes`].
    pub fn keep_table_changes(&mut self) {
        self.engine.check_coherence().keep_changes();
    }

    /// The changes of paging-structure entries since the last call.
    pub fn take_table_changes(&mut self) -> Vec<Change> {
        self.engine.coherence().map(Coherence::take_changes).unwrap_or_default()
    }

    /// How its code is executed: for another machine in its place.
    pub fn engine_config(&self) -> EngineConfig {
        self.engine.config().clone()
    }

    /// What the engine did in this run.
    pub fn engine_stats(&self) -> EngineStats {
        self.engine.stats()
    }

    /// The ranges of ports as wired.
    pub fn port_resources(&self) -> Vec<Resource> {
        self.ports.resources()
    }

    /// The ranges of physical addresses as wired.
    pub fn memory_resources(&self) -> Vec<Resource> {
        firmware::memory_resources(&self.config)
    }

    /// The memory map that firmware gives to boot loaders.
    pub fn memory_map(&self) -> Vec<MemoryRegion> {
        firmware::memory_map(&self.config)
    }

    /// Input from outside: it arrives before the next instruction.
    pub fn push_input(&mut self, event: InputEvent) {
        self.input.push(self.now_ns, event);
    }

    /// Stops before the instruction at `addr`, in every address space.
    pub fn add_breakpoint(&mut self, addr: LinearAddr) {
        self.breakpoints.insert(addr);
        self.engine.add_breakpoint(addr);
    }

    /// Takes a breakpoint away.
    pub fn remove_breakpoint(&mut self, addr: LinearAddr) {
        self.breakpoints.remove(&addr);
        if self.timeline.noted_since(addr.0).is_none() && !self.told.contains(&addr) {
            self.engine.remove_breakpoint(addr);
        }
    }

    /// Stops after an instruction, or an iteration of a repeated one, that touches what `watch` says. Loads and
    /// stores by any CPU count, for whatever purpose: of operands, stacks, descriptors and task states, of INS and
    /// OUTS, and for physical addresses the page walker's setting of A and D too. Fetches of instructions, the walker's
    /// reads and what a debugger changes do not; no device of this machine writes to memory by itself. One that
    /// is added twice must be removed twice.
    pub fn add_watch(&mut self, watch: Watch) {
        self.engine.add_watch(watch);
    }

    /// Takes a watchpoint away.
    pub fn remove_watch(&mut self, watch: Watch) {
        self.engine.remove_watch(watch);
    }

    /// All that the last instruction met, after [`crate::Stop::Watchpoint`].
    pub fn watch_hits(&self) -> &[WatchHit] {
        self.engine.watch_hits()
    }

    /// The event that was asked for and came with the same instruction, after [`crate::Stop::Watchpoint`].
    pub fn caught_beside_hits(&self) -> Option<Occurrence> {
        self.engine.caught_beside_hits()
    }

    /// Stops at these events from now on, and at no others. One that comes before its instruction is passed when
    /// the machine goes on.
    pub fn set_catches(&mut self, catches: Catches) {
        self.engine.set_catches(catches);
    }
}

/// RAM with the hole for video memory and firmware.
pub(crate) fn empty_memory(config: &MachineConfig) -> Result<PhysMem, Error> {
    let mut mem = PhysMem::new()?;
    mem.map(PhysAddr(0), VIDEO_START, FrameKind::Ram)?;
    mem.map(PhysAddr(firmware::TEXT_START), VGA_TEXT_BYTES.into(), FrameKind::Ram)?;
    if config.test_device {
        mem.map(PhysAddr(TEST_MEMORY), TEST_MEMORY_BYTES, FrameKind::Ram)?;
    }
    // Firmware's place holds nothing but tables, and reads as memory that nobody can write.
    mem.map(PhysAddr(BIOS_START), HIGH_MEMORY_START - BIOS_START, FrameKind::Rom)?;
    mem.map(PhysAddr(HIGH_MEMORY_START), config.memory_bytes - HIGH_MEMORY_START, FrameKind::Ram)?;
    Ok(mem)
}
