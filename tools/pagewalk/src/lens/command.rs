//! The lenses as clap sees them, and their execution.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use inspect::Request;
use machine::Machine;

use super::{
    LensError, Shown,
    control::{self, Ask},
    look, print,
};

/// Where the machine is, and how to print.
#[derive(Args, Debug, Clone)]
pub struct Where {
    /// A machine that runs now (`run --name NAME`). Default: the only one that runs.
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot")]
    vm: Option<String>,
    /// A saved machine (`run --save FILE`).
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Whose translations.
#[derive(Args, Debug, Clone)]
pub struct Space {
    /// As this CPU sees it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    cpu: usize,
    /// As this process of the guest sees it.
    #[arg(long, value_name = "N")]
    pid: Option<u32>,
}

#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// The guest's processes.
    Ps {
        #[command(flatten)]
        at: Where,
    },
    /// A process's areas, as /proc/PID/maps.
    Maps {
        /// The process's number in the guest.
        pid: u32,
        #[command(flatten)]
        at: Where,
    },
    /// A process's areas with what each holds, as /proc/PID/smaps.
    Smaps {
        /// The process's number in the guest.
        pid: u32,
        #[command(flatten)]
        at: Where,
    },
    /// A process's areas as pmap prints them.
    Pmap {
        /// Resident and dirty memory too.
        #[arg(short = 'x')]
        extended: bool,
        /// The process's number in the guest.
        pid: u32,
        #[command(flatten)]
        at: Where,
    },
    /// Physical memory by owner, as /proc/iomem.
    Iomem {
        /// As the machine is wired, instead of the guest kernel's tree.
        #[arg(long)]
        machine: bool,
        #[command(flatten)]
        at: Where,
    },
    /// I/O ports by owner, as /proc/ioports.
    Ioports {
        /// As the machine is wired, instead of the guest kernel's tree.
        #[arg(long)]
        machine: bool,
        #[command(flatten)]
        at: Where,
    },
    /// Free blocks by zone and order, as /proc/buddyinfo.
    Buddyinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Free blocks by zone, migrate type and order, as /proc/pagetypeinfo.
    Pagetypeinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Slab caches, as /proc/slabinfo.
    Slabinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Areas of the kernel's vmalloc space, as /proc/vmallocinfo.
    Vmallocinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Loaded modules, as /proc/modules.
    Modules {
        #[command(flatten)]
        at: Where,
    },
    /// Memory by use, as /proc/meminfo.
    Meminfo {
        #[command(flatten)]
        at: Where,
    },
    /// Counters of memory management, as /proc/vmstat.
    Vmstat {
        #[command(flatten)]
        at: Where,
    },
    /// Zones and their marks, as /proc/zoneinfo.
    Zoneinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Interrupts by line, as /proc/interrupts.
    Interrupts {
        #[command(flatten)]
        at: Where,
    },
    /// The processors as the guest kernel found them, as /proc/cpuinfo.
    Cpuinfo {
        #[command(flatten)]
        at: Where,
    },
    /// Swap areas, as /proc/swaps.
    Swaps {
        #[command(flatten)]
        at: Where,
    },
    /// Whether frames, page tables, free blocks and counts agree: the host's own check.
    Verify {
        #[command(flatten)]
        at: Where,
    },
    /// A frame: its descriptor, the block that it is in, and who maps it.
    Page {
        /// The frame's number, decimal or hexadecimal with 0x.
        pfn: String,
        #[command(flatten)]
        at: Where,
    },
    /// One translation step by step, or why it faults.
    Walk {
        /// An address (hex), symbol, symbol+offset, $register or segment:offset.
        addr: String,
        #[command(flatten)]
        space: Space,
        #[command(flatten)]
        at: Where,
    },
    /// Mapped ranges with their rights, merged.
    Pagetable {
        #[command(flatten)]
        space: Space,
        #[command(flatten)]
        at: Where,
    },
    /// Every translation that a CPU holds, and which are stale.
    Tlb {
        /// Only this CPU's.
        #[arg(long, value_name = "N")]
        cpu: Option<usize>,
        #[command(flatten)]
        at: Where,
    },
    /// Registers.
    Regs {
        /// Only this CPU's.
        #[arg(long, value_name = "N")]
        cpu: Option<usize>,
        #[command(flatten)]
        at: Where,
    },
    /// Instructions.
    Disas {
        /// An address (hex), symbol, symbol+offset, $register or segment:offset.
        addr: String,
        /// How many.
        #[arg(default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
        count: u32,
        #[command(flatten)]
        space: Space,
        #[command(flatten)]
        at: Where,
    },
    /// Memory in doublewords.
    X {
        /// An address (hex), symbol, symbol+offset, $register or segment:offset.
        addr: String,
        /// How many doublewords.
        #[arg(default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
        count: u32,
        #[command(flatten)]
        space: Space,
        #[command(flatten)]
        at: Where,
    },
    /// A symbol's address, or an address's symbol.
    Sym {
        /// A name or an address.
        what: String,
        #[command(flatten)]
        at: Where,
    },
    /// The call stack of a CPU.
    Bt {
        /// The CPU.
        #[arg(long, value_name = "N", default_value_t = 0)]
        cpu: usize,
        #[command(flatten)]
        at: Where,
    },
    /// Counters of the run.
    Stats {
        #[command(flatten)]
        at: Where,
    },
    /// The text screen: what a VGA shows of video memory.
    Screen {
        #[command(flatten)]
        at: Where,
    },
    /// The last TLB shootdowns: who asked whom, when each received, flushed and acknowledged.
    Timeline {
        #[command(flatten)]
        at: Where,
    },
    /// The last fault that was not resolved, explained.
    Why {
        #[command(flatten)]
        at: Where,
    },
    /// End a running machine.
    Quit {
        /// The machine (`run --name NAME`). Default: the only one that runs.
        #[arg(long, value_name = "NAME")]
        vm: Option<String>,
    },
}

impl Command {
    /// Looks and prints.
    pub fn execute(self) -> Result<(), LensError> {
        let (request, at) = match self {
            Command::Ps { at } => (Request::Ps, at),
            Command::Maps { pid, at } => (Request::Maps { pid }, at),
            Command::Smaps { pid, at } => (Request::Smaps { pid }, at),
            Command::Pmap { extended, pid, at } => (Request::Pmap { pid, extended }, at),
            Command::Iomem { machine, at } => (Request::Iomem { machine }, at),
            Command::Ioports { machine, at } => (Request::Ioports { machine }, at),
            Command::Buddyinfo { at } => (Request::Buddyinfo, at),
            Command::Pagetypeinfo { at } => (Request::Pagetypeinfo, at),
            Command::Slabinfo { at } => (Request::Slabinfo, at),
            Command::Vmallocinfo { at } => (Request::Vmallocinfo, at),
            Command::Modules { at } => (Request::Modules, at),
            Command::Meminfo { at } => (Request::Meminfo, at),
            Command::Vmstat { at } => (Request::Vmstat, at),
            Command::Zoneinfo { at } => (Request::Zoneinfo, at),
            Command::Interrupts { at } => (Request::Interrupts, at),
            Command::Cpuinfo { at } => (Request::Cpuinfo, at),
            Command::Swaps { at } => (Request::Swaps, at),
            Command::Verify { at } => (Request::Verify, at),
            Command::Page { pfn, at } => (Request::from_words(&["page", &pfn])?, at),
            Command::Walk { addr, space, at } => (Request::Walk { addr, cpu: space.cpu, pid: space.pid }, at),
            Command::Pagetable { space, at } => (Request::Pagetable { cpu: space.cpu, pid: space.pid }, at),
            Command::Tlb { cpu, at } => (Request::Tlb { cpu }, at),
            Command::Regs { cpu, at } => (Request::Regs { cpu }, at),
            Command::Disas { addr, count, space, at } => {
                (Request::Disas { addr, count, cpu: space.cpu, pid: space.pid }, at)
            }
            Command::X { addr, count, space, at } => (Request::X { addr, count, cpu: space.cpu, pid: space.pid }, at),
            Command::Sym { what, at } => (Request::Sym { what }, at),
            Command::Bt { cpu, at } => (Request::Bt { cpu }, at),
            Command::Stats { at } => (Request::Stats, at),
            Command::Screen { at } => (Request::Screen, at),
            Command::Timeline { at } => (Request::Timeline, at),
            Command::Why { at } => (Request::Why, at),
            Command::Quit { vm } => {
                control::ask(vm.as_deref(), &Ask::Quit)?;
                return Ok(());
            }
        };
        at.show(request)
    }
}

impl Where {
    fn show(&self, request: Request) -> Result<(), LensError> {
        let Some(file) = &self.snapshot else {
            return print(&control::ask(self.vm.as_deref(), &Ask::Look { request, json: self.json })?);
        };
        let mut machine = Machine::restore(file, machine::EngineConfig::default())?;
        machine.attach_disks(machine::DiskPurpose::Look)?;
        print(&Shown::of(look(&machine, &request)?, self.json))
    }
}
