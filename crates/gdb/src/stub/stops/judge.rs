//! Which stops of the machine are worth one.

use std::collections::BTreeMap;

use abi::Ptr32;
use abi::books::FileRecord;
use inspect::{Books, KernelImage, Target};
use machine::{Machine, Occurrence, Stop, Watch};
use x86::Vector;

use super::{Row, SYSTEM_CALL, Stops, What, text};
use crate::server::Setup;
use crate::stub::{USER_END, View, breakpoints::Breakpoint, detour::Detour};

/// What gdb is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// gdb's breakpoint.
    Software,
    /// gdb's hardware breakpoint.
    Hardware,
    /// gdb's watchpoint.
    Watch(Watch),
    /// The user is told in words.
    Told,
    /// Nothing: a step is back from its detour.
    Back,
    /// A step is done, in another program.
    Arrived,
    /// Nothing: entries that are waited for may lie elsewhere now.
    Follow,
    /// A place that was marked for another purpose.
    Mark,
}

/// The process in whose address space a CPU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its program.
    exe: Ptr32<FileRecord>,
}

impl Process {
    /// By the kernel's books: mostly that of the thread which the kernel says the CPU runs, else whoever has the
    /// address space that CR3 holds. Nothing is kept from one time to the next, so that it is true of every moment.
    pub fn on(machine: &Machine, kernel: &KernelImage, cpu: usize) -> Option<Process> {
        let target = target(machine, kernel);
        let books = Books::of(&target).ok()?;
        let cr3 = machine.cpu(cpu).cr3;
        let current = || {
            let task = books.current(cpu as u32).ok()?;
            let mm = books.mm(&task).ok()??;
            (mm.pgd & !0xfff == cr3 & !0xfff).then_some((task.tgid, mm))
        };
        let owner = || {
            let (task, mm) = inspect::process_of_directory(&books, cr3).ok()??;
            Some((task.pid, mm))
        };
        let (pid, mm) = current().or_else(owner)?;
        Some(Process { pid, exe: mm.exe })
    }

    /// The path of its program.
    fn path(&self, machine: &Machine, kernel: &KernelImage) -> Option<Vec<u8>> {
        let target = target(machine, kernel);
        Some(Books::of(&target).ok()?.file(self.exe).ok()?.path)
    }
}

fn target<'a>(machine: &'a Machine, kernel: &'a KernelImage) -> Target<'a> {
    let cpus = (0..machine.cpu_count()).map(|cpu| machine.cpu(cpu)).collect();
    Target { kernel: Some(kernel), ..Target::new(cpus, machine.memory()) }
}

/// What a stop is judged by.
pub struct Judge<'a> {
    pub stops: &'a mut Stops,
    pub breakpoints: &'a BTreeMap<u32, Breakpoint>,
    pub watchpoints: &'a [Watch],
    pub setup: &'a Setup,
    pub kernel: &'a KernelImage,
    pub view: &'a View,
    pub detour: Option<Detour>,
    /// Linear addresses that are marked for other purposes.
    pub marks: Vec<u32>,
}

impl machine::Judge for Judge<'_> {
    fn stops(&mut self, machine: &Machine, stop: &Stop) -> bool {
        self.stops.text.clear();
        let cpu = machine.current_cpu();
        self.stops.reason = match *stop {
            Stop::Breakpoint { .. } => self.at_instruction(machine, cpu),
            Stop::Watchpoint { .. } => self.touched(machine, cpu),
            Stop::Caught(occurrence) => self.caught(machine, cpu, occurrence),
            _ => return true,
        };
        self.stops.reason.is_some()
    }
}

impl Judge<'_> {
    /// Why the machine is to stop before the instruction that comes next on `cpu`, if it is.
    pub fn at_instruction(&mut self, machine: &Machine, cpu: usize) -> Option<Reason> {
        let state = machine.cpu(cpu);
        let pc = state.pc();
        if self.detour.is_some_and(|detour| detour.cpu == cpu && detour.is_over(state)) {
            return Some(Reason::Back);
        }
        let told = self.rows(machine, cpu, |what| matches!(what, What::Instruction(at) | What::Exit(at) if *at == pc));
        let (software, hardware) = self.breakpoints.get(&pc).map_or((0, 0), |it| (it.software, it.hardware));
        let is_wanted = software + hardware > 0 && (state.cpl < 3 || self.is_ours(machine, cpu, pc));
        if is_wanted {
            return Some(if software > 0 { Reason::Software } else { Reason::Hardware });
        }
        if told {
            self.stops.text = text::at_instruction(machine, self.kernel, self.setup, cpu) + &self.stops.text;
            return Some(Reason::Told);
        }
        self.marks.contains(&pc).then_some(Reason::Mark)
    }

    /// Whether [`Judge::at_instruction`] would give a reason that gdb is told; counts nothing.
    pub fn would_stop(&self, machine: &Machine, cpu: usize) -> bool {
        let state = machine.cpu(cpu);
        let pc = state.pc();
        let of_gdb = self.breakpoints.contains_key(&pc) && (state.cpl < 3 || self.is_ours(machine, cpu, pc));
        let waits = |row: &&Row| row.address() == Some(pc) && row.condition.holds(machine, self.kernel, cpu);
        of_gdb || self.stops.rows.iter().any(|row| waits(&row))
    }

    fn touched(&mut self, machine: &Machine, cpu: usize) -> Option<Reason> {
        let hits = machine.watch_hits();
        let met = |watch: &Watch| hits.iter().any(|hit| hit.watch == *watch);
        let told = self.rows(machine, cpu, |what| match what {
            What::Memory(watch) => met(watch),
            What::Entries(_, _, entries) => entries.iter().any(met),
            _ => false,
        });
        if told {
            let lines: Vec<String> =
                hits.iter().map(|hit| text::touch(machine, self.kernel, self.setup, cpu, hit)).collect();
            self.stops.text = lines.concat() + &self.stops.text;
        }
        let of_gdb = hits.iter().find(|hit| {
            let is_ours = || hit.linear.is_none_or(|addr| self.is_ours(machine, cpu, addr.0));
            self.watchpoints.contains(&hit.watch) && is_ours()
        });
        let follows =
            || self.stops.rows.iter().any(|row| matches!(&row.what, What::Entries(_, _, it) if it.iter().any(met)));
        match of_gdb {
            Some(hit) => Some(Reason::Watch(hit.watch)),
            None if told => Some(Reason::Told),
            None => follows().then_some(Reason::Follow),
        }
    }

    fn caught(&mut self, machine: &Machine, cpu: usize, occurrence: Occurrence) -> Option<Reason> {
        let state = machine.cpu(cpu);
        if occurrence == Occurrence::EnteredUser {
            let pid = Process::on(machine, self.kernel, cpu).map(|process| process.pid);
            return self.detour.is_some_and(|detour| detour.is_over_in(state, pid)).then_some(Reason::Arrived);
        }
        let call = match occurrence {
            Occurrence::SoftwareInterrupt { vector: SYSTEM_CALL } | Occurrence::SystemEnter => Some(state.gpr[0]),
            _ => None,
        };
        let told = self.rows(machine, cpu, |what| match *what {
            What::SystemCall(ref numbers) => call.is_some_and(|call| numbers.is_empty() || numbers.contains(&call)),
            What::Vector(wanted) => vector_of(occurrence) == Some(wanted),
            What::Fault(first, last) => match occurrence {
                Occurrence::Exception(fault) if fault.vector == Vector::PAGE_FAULT => {
                    (first..=last).contains(&fault.addr)
                }
                Occurrence::Delivered { vector: Vector::PAGE_FAULT } => (first..=last).contains(&state.cr2),
                _ => false,
            },
            What::Port { first, last, input, output } => match occurrence {
                Occurrence::Port { port, size, output: is_output, .. } => {
                    let end = u32::from(port) + size as u32;
                    u32::from(first) < end && port <= last && if is_output { output } else { input }
                }
                _ => false,
            },
            What::LoadCr3 => matches!(occurrence, Occurrence::LoadedCr3 { .. }),
            _ => false,
        });
        let is_int3 = self.stops.int3 && occurrence == Occurrence::SoftwareInterrupt { vector: 3 };
        if told || is_int3 {
            self.stops.text = text::event(machine, self.kernel, self.setup, cpu, occurrence) + &self.stops.text;
        }
        (told || is_int3).then_some(Reason::Told)
    }

    /// Counts the rows that wait for what has happened; says whether the condition of one of them holds, and
    /// names those in the text.
    fn rows(&mut self, machine: &Machine, cpu: usize, waits: impl Fn(&What) -> bool) -> bool {
        let mut any = false;
        for row in self.stops.rows.iter_mut().filter(|row| waits(&row.what)) {
            if row.condition.holds(machine, self.kernel, cpu) {
                row.hits += 1;
                self.stops.text += &format!("  {}: {}\n", row.number, row.words);
                any = true;
            } else {
                row.passed += 1;
            }
        }
        any
    }

    fn is_ours(&self, machine: &Machine, cpu: usize, addr: u32) -> bool {
        is_ours(machine, self.kernel, self.setup, self.view, cpu, addr)
    }
}

/// Whether a user-space address belongs to the program that is debugged: static programs
/// all link at the same addresses.
pub fn is_ours(machine: &Machine, kernel: &KernelImage, setup: &Setup, view: &View, cpu: usize, addr: u32) -> bool {
    let Some(program) = setup.program.as_ref().filter(|_| !view.break_any) else { return true };
    addr >= USER_END
        || Process::on(machine, kernel, cpu).and_then(|it| it.path(machine, kernel)).as_ref() == Some(program)
}

fn vector_of(occurrence: Occurrence) -> Option<u8> {
    match occurrence {
        Occurrence::SoftwareInterrupt { vector } => Some(vector),
        Occurrence::Exception(exception) => Some(exception.vector.0),
        Occurrence::Delivered { vector } => Some(vector.0),
        Occurrence::SystemEnter | Occurrence::Port { .. } | Occurrence::EnteredUser | Occurrence::LoadedCr3 { .. } => {
            None
        }
    }
}
