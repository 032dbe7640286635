use cpu::{CpuState, FaultLog, mmu::TableChanges};
use machine::{Explanation, Machine, Sample, TextView, Timeline, Unresolved};
use memory::PhysMem;

use crate::{Damage, Error, KernelImage, Reader, Result, Symbols};

/// A program of the guest whose ELF file the host has.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its path in the guest.
    pub path: Vec<u8>,
    /// Its symbols.
    pub symbols: Symbols,
}

/// A row of a resource tree as the machine is wired, with its depth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WiredRange {
    /// Levels below the top.
    pub depth: usize,
    /// First address or port.
    pub start: u32,
    /// Last one.
    pub end: u32,
    /// The device.
    pub name: String,
}

/// The machine's own resource trees.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// Physical memory.
    pub memory: Vec<WiredRange>,
    /// I/O ports.
    pub ports: Vec<WiredRange>,
}

/// A machine at rest as the lenses see it: live, stopped by a debugger, or saved. Read-only.
#[derive(Clone)]
pub struct Target<'a> {
    /// The CPUs by number.
    pub cpus: Vec<&'a CpuState>,
    /// The one that ran last: that which stopped the machine, if one did.
    pub current: usize,
    /// Guest-physical memory.
    pub mem: &'a PhysMem,
    /// The booted kernel, if its image is known.
    pub kernel: Option<&'a KernelImage>,
    /// Programs whose symbols are known.
    pub programs: &'a [Program],
    /// The resource trees of the machine itself.
    pub wiring: Option<&'a Wiring>,
    /// What the display shows of video memory.
    pub screen: Option<TextView>,
    /// The last interrupts and TLB flushes, if they were recorded.
    pub timeline: Option<&'a Timeline>,
    /// The last faults of each CPU; none of a saved machine.
    pub faults: Vec<&'a FaultLog>,
    /// Who changed entries of the paging structures last.
    pub table_changes: Option<&'a TableChanges>,
    /// The last fault that the kernel did not resolve.
    pub unresolved: Option<&'a Unresolved>,
    /// The words that were found for it then.
    pub explanation: Option<&'a Explanation>,
    /// Counters of the run, by name, in the order to show them.
    pub counters: &'a [(String, u64)],
    /// Counters over time, oldest first, if they were sampled.
    pub samples: &'a [Sample],
    /// Virtual time, where it is known: what the TSC counts.
    pub now_ns: Option<u64>,
    /// What a look found wrong in the kernel's books.
    pub damage: Damage,
}

impl<'a> Target<'a> {
    /// A machine of which only CPUs and memory are known.
    pub fn new(cpus: Vec<&'a CpuState>, mem: &'a PhysMem) -> Self {
        Target {
            cpus,
            current: 0,
            mem,
            kernel: None,
            programs: &[],
            wiring: None,
            screen: None,
            timeline: None,
            faults: Vec::new(),
            table_changes: None,
            unresolved: None,
            explanation: None,
            counters: &[],
            samples: &[],
            now_ns: None,
            damage: Damage::default(),
        }
    }

    /// What `machine` knows of its last faults, too.
    pub fn with_faults(self, machine: &'a Machine) -> Self {
        Target {
            faults: (0..machine.cpu_count()).map(|number| machine.faults(number)).collect(),
            table_changes: machine.table_changes(),
            unresolved: machine.unresolved(),
            explanation: machine.explanation(),
            ..self
        }
    }

    /// CPU number `n`.
    pub fn cpu(&self, n: usize) -> Result<&'a CpuState> {
        self.cpus.get(n).copied().ok_or(Error::NoCpu { asked: n, have: self.cpus.len() })
    }

    /// Memory as CPU `n` sees it.
    pub fn reader(&self, n: usize) -> Result<Reader<'a>> {
        Ok(Reader::new(self.mem, self.cpu(n)?.paging()))
    }

    /// The kernel's symbols, if any.
    pub fn kernel_symbols(&self) -> Option<&'a Symbols> {
        self.kernel.map(KernelImage::symbols).filter(|symbols| !symbols.is_empty())
    }

    /// Symbols of the program at a guest path.
    pub fn program_symbols(&self, path: &[u8]) -> Option<&'a Symbols> {
        self.programs.iter().find(|program| program.path == path).map(|program| &program.symbols)
    }
}
