//! A machine as the lenses want to see it.

use abi::runfile;
use inspect::{Answer, Error, KernelImage, Program, Request, Symbols, Target, WiredRange, Wiring, timeline::Points};
use machine::{Boot, Machine, Resource};

/// What is known of a machine from the images that it booted: worth keeping where one looks often.
pub struct Known {
    kernel: Option<KernelImage>,
    programs: Vec<Program>,
    wiring: Wiring,
}

impl Known {
    /// Reads the images of `machine`.
    pub fn of(machine: &Machine) -> Self {
        Known {
            kernel: kernel(machine),
            programs: programs(machine.boot_images()),
            wiring: Wiring { memory: wired(&machine.memory_resources()), ports: wired(&machine.port_resources()) },
        }
    }

    /// Runs `look` on the machine.
    pub fn look<T>(&self, machine: &Machine, look: impl FnOnce(&Target<'_>) -> T) -> T {
        let counters = counters(machine);
        look(&Target {
            cpus: (0..machine.cpu_count()).map(|number| machine.cpu(number)).collect(),
            current: machine.current_cpu(),
            mem: machine.memory(),
            kernel: self.kernel.as_ref(),
            programs: &self.programs,
            wiring: Some(&self.wiring),
            screen: Some(machine.chipset().vga.text_view()),
            timeline: Some(machine.timeline()),
            counters: &counters,
        })
    }
}

/// Has the machine note the points at which its kernel tells of shootdowns, if it has them.
pub fn note_points(machine: &mut Machine) {
    let places = kernel(machine).and_then(|kernel| Points::places(kernel.symbols()));
    places.into_iter().flatten().for_each(|place| machine.note_place(place));
}

/// Runs `look` on `machine` with all that is known of it.
pub fn with_target<T>(machine: &Machine, look: impl FnOnce(&Target<'_>) -> T) -> T {
    Known::of(machine).look(machine, look)
}

/// Looks where the books are whole: in the machine, or in a copy that has run on to where they
/// are, of which the answer then has a note.
pub fn look(machine: &Machine, request: &Request) -> Result<Answer, Error> {
    let settled = inspect::settle(machine, kernel(machine).as_ref(), request)?;
    let answer = with_target(settled.machine(machine), |target| inspect::look(target, request));
    match (answer, settled.note) {
        (Ok(answer), note) => Ok(Answer { note, ..answer }),
        (Err(why), Some(note)) => Err(Error::InFlux { note, why: Box::new(why) }),
        (Err(why), None) => Err(why),
    }
}

fn kernel(machine: &Machine) -> Option<KernelImage> {
    machine.boot_images().kernel().map(|image| KernelImage::parse(&image.bytes))
}

/// GUEST's symbols, from the initramfs that we made.
fn programs(boot: &Boot) -> Vec<Program> {
    let program = run_file(boot).and_then(|run| {
        let bytes = guest_file(boot, &run.exe)?;
        Some(Program { symbols: Symbols::of_bytes(bytes), path: run.exe })
    });
    program.into_iter().collect()
}

/// What the guest's `init` is to run.
fn run_file(boot: &Boot) -> Option<runfile::RunFile> {
    runfile::RunFile::parse(guest_file(boot, runfile::PATH.as_bytes())?).ok()
}

/// A file of the guest as it was in the archives that the machine booted with.
pub fn guest_file<'a>(boot: &'a Boot, path: &[u8]) -> Option<&'a [u8]> {
    let Boot::Multiboot { modules, .. } = boot else { return None };
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let entries = modules.iter().flat_map(|(image, _)| abi::cpio::Archive::new(&image.bytes)).flatten();
    entries.filter(|entry| entry.name == path).map(|entry| entry.data).last()
}

/// What gdb is told: the program that the guest is to run, with its symbols.
pub fn gdb_setup(boot: &Boot) -> gdb::Setup {
    gdb::Setup { program: run_file(boot).map(|run| run.exe), programs: programs(boot) }
}

fn wired(resources: &[Resource]) -> Vec<WiredRange> {
    fn add(resources: &[Resource], depth: usize, out: &mut Vec<WiredRange>) {
        for resource in resources {
            let low = |address: u64| u32::try_from(address).unwrap_or(u32::MAX);
            out.push(WiredRange {
                depth,
                start: low(resource.start),
                end: low(resource.end),
                name: resource.name.to_owned(),
            });
            add(&resource.children, depth + 1, out);
        }
    }
    let mut out = Vec::new();
    add(resources, 0, &mut out);
    out
}

/// Counters of the run that are whole numbers, in the order of `--stats`.
fn counters(machine: &Machine) -> Vec<(String, u64)> {
    let stats = machine.stats();
    [
        ("instructions", machine.retired()),
        ("virtual_ns", machine.now_ns()),
        ("skipped_ns", stats.skipped_ns),
        ("interrupts", stats.interrupts()),
        ("port_reads", stats.port_reads),
        ("port_writes", stats.port_writes),
        ("mmio_accesses", stats.mmio_accesses),
    ]
    .into_iter()
    .chain(crate::run::stats::tlb_counters(machine))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
