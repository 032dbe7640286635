//! The machine as gdbstub's target: an extension a file.

mod ahead;
mod base;
mod breakpoints;
mod catch;
mod detour;
mod libraries;
mod lldb;
mod memory;
mod monitor;
mod process;
mod resume;
mod run;
mod stops;

use std::collections::BTreeMap;
use std::convert::Infallible;

use gdbstub::common::Tid;
use gdbstub::target::Target;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::auxv::AuxvOps;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::breakpoints::BreakpointsOps;
use gdbstub::target::ext::catch_syscalls::CatchSyscallsOps;
use gdbstub::target::ext::exec_file::ExecFileOps;
use gdbstub::target::ext::host_info::HostInfoOps;
use gdbstub::target::ext::host_io::HostIoOps;
use gdbstub::target::ext::libraries::LibrariesSvr4Ops;
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::process_info::ProcessInfoOps;
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use inspect::{Books, KernelImage};
use machine::Machine;
use x86::LinearAddr;

use crate::arch::{X86, description};
use crate::server::{Keeper, Setup, Verdict};

pub use run::Event;

/// The kernel's part of linear space begins here in every Linux-like guest.
const USER_END: u32 = 0xc000_0000;

/// The target of one session.
pub struct Stub<'a> {
    machine: &'a mut Machine,
    keeper: &'a mut dyn Keeper,
    setup: &'a Setup,
    kernel: &'a KernelImage,
    breakpoints: BTreeMap<u32, breakpoints::Breakpoint>,
    watchpoints: Vec<machine::Watch>,
    stops: stops::Stops,
    resume: resume::Resume,
    catch: catch::Catch,
    files: process::OpenFiles,
    view: View,
}

/// What `monitor` can change.
#[derive(Clone, Debug)]
struct View {
    /// The process that gdb sees, if one was chosen.
    pid: Option<u32>,
    /// Breakpoints in user space stop in every process.
    break_any: bool,
    /// Memory is read and written by physical address.
    physical: bool,
    /// A step follows the CPU into the kernel.
    step_kernel: bool,
}

impl<'a> Stub<'a> {
    /// A target around a machine at rest.
    pub fn new(
        machine: &'a mut Machine,
        keeper: &'a mut dyn Keeper,
        setup: &'a Setup,
        kernel: &'a KernelImage,
    ) -> Self {
        Stub {
            machine,
            keeper,
            setup,
            kernel,
            breakpoints: BTreeMap::new(),
            watchpoints: Vec::new(),
            stops: stops::Stops::default(),
            resume: resume::Resume::default(),
            catch: catch::Catch::default(),
            files: process::OpenFiles::default(),
            view: View { pid: None, break_any: false, physical: false, step_kernel: false },
        }
    }

    /// The thread of the CPU that ran last.
    pub fn current_tid(&self) -> Tid {
        tid(self.machine.current_cpu())
    }

    /// What gdb's user is to be told of the last stop, beside what gdb says itself.
    pub fn take_text(&mut self) -> String {
        self.stops.take_text()
    }

    /// Lets the keeper do its work while the machine rests.
    pub fn rest(&mut self) -> Verdict {
        self.keeper.resting(self.machine)
    }

    /// Takes everything away that the session put beside the machine.
    pub fn release(&mut self) {
        self.end_detour();
        self.forget_syscalls();
        for (addr, _) in std::mem::take(&mut self.breakpoints) {
            self.machine.remove_breakpoint(LinearAddr(addr));
        }
        for watch in std::mem::take(&mut self.watchpoints) {
            self.machine.remove_watch(watch);
        }
        self.remove_stops();
        self.stop_on_int3(false);
    }

    /// The machine as lenses see it.
    fn target(&self) -> inspect::Target<'_> {
        let cpus = (0..self.machine.cpu_count()).map(|cpu| self.machine.cpu(cpu)).collect();
        inspect::Target {
            kernel: Some(self.kernel),
            programs: &self.setup.programs,
            screen: Some(self.machine.chipset().vga.text_view()),
            timeline: Some(self.machine.timeline()),
            current: self.machine.current_cpu(),
            ..inspect::Target::new(cpus, self.machine.memory()).with_faults(self.machine)
        }
    }

    /// The process in whose address space a CPU is: its number and the path of its program.
    fn process_on(&self, cpu: usize) -> Option<(u32, Vec<u8>)> {
        let target = self.target();
        let books = Books::of(&target).ok()?;
        let (task, mm) = inspect::process_of_directory(&books, self.machine.cpu(cpu).cr3).ok()??;
        let path = books.file(mm.exe).map(|exe| exe.path).unwrap_or_default();
        Some((task.pid, path))
    }

    /// The process whose files and memory gdb sees: the chosen one, else that of the program
    /// debugged, else the current one.
    fn viewed_process(&self) -> Option<u32> {
        if self.view.pid.is_some() {
            return self.view.pid;
        }
        let of_program = self.setup.program.as_ref().and_then(|program| {
            let target = self.target();
            let books = Books::of(&target).ok()?;
            let runs_it = |task: &abi::books::TaskRecord| {
                let mm = books.mm(task).ok().flatten();
                mm.and_then(|mm| books.file(mm.exe).ok()).is_some_and(|exe| exe.path == *program)
            };
            books.processes().ok()?.iter().find(|task| runs_it(task)).map(|task| task.pid)
        });
        of_program.or_else(|| self.process_on(self.machine.current_cpu()).map(|(pid, _)| pid))
    }
}

/// gdb's number of a CPU's thread.
pub fn tid(cpu: usize) -> Tid {
    Tid::new(cpu + 1).unwrap_or(Tid::MIN)
}

/// The CPU of a thread, if there is such a one.
fn cpu_of(tid: Tid, cpus: usize) -> Option<usize> {
    Some(tid.get() - 1).filter(|&cpu| cpu < cpus)
}

/// Copies a part of an object as gdb asks for it.
fn slice_into(data: &[u8], offset: u64, length: usize, buf: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
    let n = (data.len() - start).min(length).min(buf.len());
    buf[..n].copy_from_slice(&data[start..start + n]);
    n
}

impl Target for Stub<'_> {
    type Arch = X86;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Infallible> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(&mut self) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        // Asked only where there is one: gdb takes an empty answer for a file without a name.
        self.exec_file().is_some().then_some(self)
    }

    fn support_auxv(&mut self) -> Option<AuxvOps<'_, Self>> {
        Some(self)
    }

    fn support_host_info(&mut self) -> Option<HostInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_process_info(&mut self) -> Option<ProcessInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_catch_syscalls(&mut self) -> Option<CatchSyscallsOps<'_, Self>> {
        Some(self)
    }

    fn support_libraries_svr4(&mut self) -> Option<LibrariesSvr4Ops<'_, Self>> {
        Some(self)
    }

    fn use_fork_stop_reason(&self) -> bool {
        false
    }

    fn use_vfork_stop_reason(&self) -> bool {
        false
    }

    fn use_vforkdone_stop_reason(&self) -> bool {
        false
    }
}

impl TargetDescriptionXmlOverride for Stub<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        match annex {
            b"target.xml" => Ok(slice_into(description().as_bytes(), offset, length, buf)),
            _ => Err(gdbstub::target::TargetError::NonFatal),
        }
    }
}
