//! The command line, as clap sees it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{explore::ExploreArgs, help, lens, report::ReportArgs, top::TopArgs};

/// An x86-32 computer that you can stop, rewind and look inside.
///
/// Without a command: boots the embedded guest, shows its tour, then a shell (on a terminal).
#[derive(Parser, Debug)]
#[command(name = "pagewalk", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// Say more on standard error: -v the guest kernel's console and our warnings, -vv debug, -vvv trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a Linux i386 program, or boot a kernel.
    Run(Box<RunArgs>),
    /// Write the embedded kernel or an initramfs to a file, so that the same guest boots in QEMU.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Start gdb on a program in the machine, stopped at its main, with all symbols loaded.
    Gdb(Box<GdbArgs>),
    /// Run a program under many schedules and report the seeds that fail (exit 1 if any does).
    Explore(ExploreArgs),
    /// Draw a machine, or two side by side, as one file for a browser: address spaces, frames, tables, TLBs.
    Report(ReportArgs),
    /// A live view of a machine in the terminal: CPUs, processes, memory, events.
    Top(TopArgs),
    #[command(flatten)]
    Lens(lens::Command),
    #[command(flatten)]
    Control(lens::control::Command),
    #[command(flatten)]
    Help(help::Command),
    /// What is none of these, to be refused by name.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Options of `pagewalk run`.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// A Linux i386 program of the host, or a Multiboot kernel, and its arguments: what follows
    /// is its own. Without one: a shell.
    #[arg(value_name = "GUEST [ARGS]", trailing_var_arg = true)]
    pub words: Vec<OsString>,

    #[command(flatten)]
    pub machine: MachineArgs,

    /// Boot a ROM image, as firmware does: it ends at 1 MiB and again at 4 GiB, the CPU begins at F000:FFF0.
    #[arg(long, value_name = "FILE", help_heading = "Machine", conflicts_with_all = ["words", "kernel", "initrd", "append", "root", "files", "env"])]
    pub bios: Option<PathBuf>,
    /// Show the guest's text screen: live on a terminal, whose keys it then gets, else once at the end (default: none).
    #[arg(long, value_name = "KIND", help_heading = "Machine")]
    pub display: Option<DisplayArg>,

    /// Wait for gdb before the first instruction (default 127.0.0.1:1234; a port; or unix:PATH).
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = false, default_missing_value = "127.0.0.1:1234", help_heading = "Looking")]
    pub gdb: Option<String>,
    /// With --gdb: let the machine run without waiting.
    #[arg(long, requires = "gdb", help_heading = "Looking")]
    pub gdb_nowait: bool,
    /// Write a snapshot at the end.
    #[arg(long, value_name = "FILE", help_heading = "Looking")]
    pub save: Option<PathBuf>,
    /// With --save: write it, and end, after N instructions.
    #[arg(long, value_name = "N", requires = "save", help_heading = "Looking")]
    pub save_at: Option<u64>,
    /// Start from a saved machine.
    #[arg(long, value_name = "FILE", help_heading = "Looking", conflicts_with_all = SAVED)]
    pub snapshot: Option<PathBuf>,
    /// Tell what the machine does on standard error, or in --trace-file. WHAT is some of: `exec`, every instruction; `mem`, every load and store; `int`, interrupts and exceptions; `io`, ports and registers of the APICs; `syscall`, system calls with what they return; `sched`, switches of threads; `fault`, each page fault from the access to the retry; `mmu`, changes of paging-structure entries; `ipi` and `tlb`, interprocessor interrupts, TLB flushes and shootdowns.
    #[arg(long, value_name = "WHAT", help_heading = "Looking", conflicts_with = "gdb")]
    pub trace: Option<String>,
    /// With --trace: write it to FILE; a name in .json makes it a trace that Perfetto opens, with rows for CPUs and threads.
    #[arg(long, value_name = "FILE", requires = "trace", help_heading = "Looking")]
    pub trace_file: Option<PathBuf>,
    /// Report every use of a translation that the tables no longer give, once its flush should be over; exit 120 if there was one.
    #[arg(long, help_heading = "Looking", conflicts_with = "snapshot")]
    pub check_tlb: bool,
    /// Remember who changed which paging-structure entry last, so that the report of a fault tells it (always so with --gdb, --name, --save, --trace and on a terminal).
    #[arg(long, help_heading = "Looking")]
    pub follow_tables: bool,
    /// Keep counters (faults, TLB, free memory by zone and order) every N instructions, for pictures; --save keeps them with the machine.
    #[arg(long, value_name = "N", help_heading = "Looking", conflicts_with = "gdb", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Print counters on standard error at the end.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text", help_heading = "Looking")]
    pub stats: Option<StatsFormat>,

    /// End after N instructions (exit 124).
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_instructions: Option<u64>,
    /// End after SECONDS of the host's time (exit 124).
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    pub timeout: Option<f64>,

    #[command(flatten)]
    pub later: LaterArgs,
}

/// What a saved machine has already.
const SAVED: [&str; 13] = [
    "words",
    "root",
    "files",
    "env",
    "cpus",
    "kernel",
    "initrd",
    "bios",
    "post_port",
    "disks",
    "swap",
    "disk_errors",
    "testdev",
];

/// What a machine is made of and boots, for `pagewalk run` and `pagewalk gdb` alike.
#[derive(Args, Debug, Clone)]
pub struct MachineArgs {
    /// The guest's file tree. It is copied: what the guest writes stays in the guest.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Copy a file of the host into the guest (repeatable).
    #[arg(long = "file", value_name = "HOST[=GUEST]")]
    pub files: Vec<String>,
    /// Add to the program's environment (repeatable).
    #[arg(long = "env", value_name = "K=V")]
    pub env: Vec<String>,

    /// RAM, 16M to 3584M.
    #[arg(long, default_value = "256M", value_name = "SIZE", value_parser = crate::size::parse_memory, help_heading = "Machine")]
    pub memory: u64,
    /// CPUs, 1 to 8.
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Machine")]
    pub cpus: u32,
    /// Draw order and length of the CPUs' turns from N (default: they take turns of equal length).
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub schedule_seed: Option<u64>,
    /// The processor that CPUID describes.
    #[arg(long, default_value = "core2", value_name = "NAME", help_heading = "Machine")]
    pub cpu_model: CpuModelArg,
    /// Bound the TLB, such as 64x4 (default: no limit).
    #[arg(long, value_name = "ENTRIESxWAYS", value_parser = machine::TlbGeometry::parse, help_heading = "Machine")]
    pub tlb: Option<machine::TlbGeometry>,
    /// A Multiboot kernel in place of the embedded one.
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub kernel: Option<PathBuf>,
    /// The first Multiboot module, in place of the initramfs made for the program.
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub initrd: Option<PathBuf>,
    /// More of the kernel's command line.
    #[arg(long, value_name = "TEXT", help_heading = "Machine")]
    pub append: Option<String>,
    /// Copy the bytes written to this port to standard error, as those to port 0xe9 always are.
    #[arg(long, value_name = "PORT", value_parser = crate::size::parse_port, help_heading = "Machine")]
    pub post_port: Option<u16>,
    /// A raw disk image, written to (repeatable: primary master, primary slave, secondary master, slave).
    #[arg(long = "disk", value_name = "FILE", help_heading = "Machine")]
    pub disks: Vec<PathBuf>,
    /// Leave the disk images untouched: what the guest writes stays in the machine.
    #[arg(long, help_heading = "Machine", requires = "disks")]
    pub snapshot_disk: bool,
    /// One more disk, in memory, that the guest swaps to.
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_bytes, help_heading = "Machine")]
    pub swap: Option<u64>,
    /// Make sectors of a disk fail, such as sda:2048-2055:read (repeatable; read, write, or both without a word).
    #[arg(long = "disk-error", value_name = "DISK:SECTOR[-LAST][:read|write]", value_parser = crate::disk_error::parse, help_heading = "Machine")]
    pub disk_errors: Vec<crate::disk_error::DiskFault>,
    /// Add QEMU's pc-testdev, which kvm-unit-tests' programs use: ports 0xe0-0xeb but 0xe9, and 0x2000-0x2017.
    #[arg(long, help_heading = "Machine")]
    pub testdev: bool,
    /// End at a reset instead of starting again.
    #[arg(long, help_heading = "Machine")]
    pub no_reboot: bool,
    /// What executes blocks of code: interp, or jit, which is faster and where the host is x86-64 Linux. A run is the
    /// same with each.
    #[arg(long, default_value = "jit", value_name = "NAME", help_heading = "Machine")]
    pub engine: EngineArg,
    /// Open a control socket, so that lenses and commands find the machine as --vm NAME.
    #[arg(long, value_name = "NAME", help_heading = "Looking")]
    pub name: Option<String>,
}

/// Options of later versions: named here so that they are refused by name.
#[derive(Args, Debug, Clone, Default)]
pub struct LaterArgs {
    #[arg(long, hide = true)]
    share: Option<String>,
    #[arg(long, hide = true)]
    record: Option<String>,
}

impl LaterArgs {
    /// The first option given that this version does not have.
    pub fn first(&self) -> Option<&'static str> {
        [(self.share.is_some(), "--share"), (self.record.is_some(), "--record")]
            .into_iter()
            .find_map(|(given, name)| given.then_some(name))
    }
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuModelArg {
    /// Up to SSE.
    Pentium3,
    /// What is implemented of a Core 2.
    Core2,
    /// All that is implemented.
    Max,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisplayArg {
    /// No screen.
    None,
    /// VGA text memory.
    Text,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineArg {
    /// Cached blocks of micro-operations.
    Interp,
    /// Host code made from them, where the host lets it be made.
    Jit,
}

impl EngineArg {
    /// What it says to the machine.
    pub fn config(self) -> machine::EngineConfig {
        machine::EngineConfig { interpreted: self == EngineArg::Interp, ..Default::default() }
    }
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsFormat {
    /// One `name: value` a line.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// The embedded kernel, a Multiboot ELF.
    Kernel(ImageArgs),
    /// An initramfs that runs the tour and powers off.
    Initrd(ImageArgs),
}

#[derive(Args, Debug)]
pub struct ImageArgs {
    /// The file tree of the initramfs.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Options of `pagewalk gdb`.
#[derive(Args, Debug)]
#[command(after_help = GDB_HELP)]
pub struct GdbArgs {
    /// A Linux i386 program of the host and its arguments, or a Multiboot kernel: what follows is its own.
    #[arg(value_name = "PROGRAM [ARGS]", trailing_var_arg = true, required = true)]
    pub words: Vec<OsString>,

    /// An argument of gdb's own, after ours (repeatable): --gdb-arg=-batch --gdb-arg=-x --gdb-arg=FILE.
    #[arg(long = "gdb-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub gdb_args: Vec<OsString>,
    /// The gdb to start.
    #[arg(long, default_value = "gdb", value_name = "FILE")]
    pub gdb_program: PathBuf,

    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What the options alone do not tell.
const GDB_HELP: &str = "\
gdb begins when the machine has booted and the program is about to run, and stops at its main, or at its \
entry point if no symbol says where main is; a kernel at its first instruction. `monitor help` lists what \
the machine can show; lx-ps and lx-symbols are there if gdb has Python.

The terminal is gdb's, as with any program under gdb: what the guest prints appears in it while the machine \
runs, and its standard input is empty. For a program that reads its input or wants a terminal of its own, \
use `pagewalk run --gdb PROGRAM` in one terminal and `target remote :1234` in another.

Commands may come on standard input. The exit status is gdb's. Leaving gdb ends the machine.";

/// Commands of later versions, refused by name.
pub const LATER_COMMANDS: [&str; 1] = ["replay"];

impl RunArgs {
    /// The file to run.
    pub fn guest(&self) -> Option<&Path> {
        self.words.first().map(Path::new)
    }

    /// Its arguments.
    pub fn args(&self) -> &[OsString] {
        self.words.get(1..).unwrap_or_default()
    }

    /// `pagewalk run --snapshot FILE`.
    pub fn of_saved(file: &Path) -> Self {
        RunArgs { snapshot: Some(file.into()), ..Self::defaults() }
    }

    /// `pagewalk run` without anything.
    pub fn defaults() -> Self {
        /// A command of nothing but the options of `run`.
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            run: RunArgs,
        }
        Alone::parse_from(["run"]).run
    }
}
