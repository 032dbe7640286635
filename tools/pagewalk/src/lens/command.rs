//! The lenses as clap sees them, and their execution.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use inspect::Request;
use machine::Machine;

use super::{Form, LensError, Shown, Source, control, print, watch};

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
    /// Look again every so many seconds, until the machine ends.
    #[arg(long, value_name = "SECONDS", conflicts_with = "snapshot", value_parser = watch::parse_seconds)]
    watch: Option<std::time::Duration>,
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
    /// A process, as /proc/PID/status; without PID, whether a running machine runs, and how far it is.
    Status {
        /// The process's number in the guest.
        pid: Option<u32>,
        #[command(flatten)]
        at: Where,
    },
    /// A folder that looks like the guest's /proc, for programs that read one.
    Proc {
        /// The folder, which must not be there yet or be empty.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        at: Where,
    },
    /// What changed between two saved machines: processes, mappings, pages and their owners, free
    /// lists, caches, counters.
    Diff {
        /// The earlier one (`run --save FILE`).
        a: PathBuf,
        /// The later one.
        b: PathBuf,
        /// JSON instead of text.
        #[arg(long)]
        json: bool,
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
    /// Mapped ranges with their rights, merged; or what the tables of all processes cost.
    Pagetable {
        /// Directory and table pages of each process, against a table of one level.
        #[arg(long, conflicts_with_all = ["cpu", "pid"])]
        cost: bool,
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
        /// Write it as a Chrome trace instead, which Perfetto opens: a row a CPU.
        #[arg(short, long, value_name = "FILE.json", conflicts_with_all = ["json", "watch"])]
        output: Option<PathBuf>,
        #[command(flatten)]
        at: Where,
    },
    /// The last fault that was not resolved, explained.
    Why {
        #[command(flatten)]
        at: Where,
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
            Command::Status { pid: Some(pid), at } => (Request::Status { pid }, at),
            Command::Status { pid: None, at } => return at.status(),
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
            Command::Proc { output, at } => return super::proc::write(&output, &at.bytes(Request::Proc)?),
            Command::Diff { a, b, json } => return super::diff::show(&a, &b, json),
            Command::Pagetable { cost: true, at, .. } => (Request::PagetableCost, at),
            Command::Pagetable { space, at, .. } => (Request::Pagetable { cpu: space.cpu, pid: space.pid }, at),
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
            Command::Timeline { output: Some(file), at } => return at.write(Request::TimelineTrace, &file),
            Command::Timeline { output: None, at } => (Request::Timeline, at),
            Command::Why { at } => (Request::Why, at),
        };
        at.show(request)
    }
}

impl Where {
    /// How the machine is.
    fn status(&self) -> Result<(), LensError> {
        if self.snapshot.is_some() || self.watch.is_some() {
            return Err(LensError::WhichProcess);
        }
        control::status(self.vm.as_deref(), self.json)
    }

    /// Writes a lens's JSON into a file.
    fn write(&self, request: Request, file: &Path) -> Result<(), LensError> {
        let (json, note) = self.source()?.json(request)?;
        super::tell(note.as_deref());
        std::fs::write(file, format!("{json}\n")).map_err(|why| LensError::File { file: file.to_owned(), why })
    }

    fn show(&self, request: Request) -> Result<(), LensError> {
        if let Some(every) = self.watch {
            return watch::watch(self.vm.as_deref(), request, self.json, every);
        }
        print(self.shown(request, self.json)?)
    }

    /// The text of an answer that is no text, after its note was printed.
    fn bytes(&self, request: Request) -> Result<Vec<u8>, LensError> {
        let shown = self.shown(request, false)?;
        let text = match shown.form {
            Form::Text(text) => text,
            Form::Json(_) => Vec::new(),
        };
        print(Shown { form: Form::Text(Vec::new()), note: shown.note })?;
        Ok(text)
    }

    fn shown(&self, request: Request, json: bool) -> Result<Shown, LensError> {
        self.source()?.shown(request, json)
    }

    fn source(&self) -> Result<Source, LensError> {
        Source::open(self.vm.as_deref(), self.snapshot.as_deref())
    }
}

/// A saved machine, to be looked at.
pub fn saved(file: &Path) -> Result<Machine, LensError> {
    let mut machine = Machine::restore(file, machine::EngineConfig::default())?;
    machine.attach_disks(machine::DiskPurpose::Look)?;
    Ok(machine)
}
