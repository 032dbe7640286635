//! A machine as the lenses want to see it.

use std::collections::BTreeMap;

use abi::{cpio::Entry, runfile};
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
        self.look_with(machine, &counters(machine), look)
    }

    /// The same without the counters of the run, for who looks after each of many instructions.
    pub fn glance<T>(&self, machine: &Machine, look: impl FnOnce(&Target<'_>) -> T) -> T {
        self.look_with(machine, &[], look)
    }

    fn look_with<T>(&self, machine: &Machine, counters: &[(String, u64)], look: impl FnOnce(&Target<'_>) -> T) -> T {
        let cpus = (0..machine.cpu_count()).map(|number| machine.cpu(number)).collect();
        look(&Target {
            current: machine.current_cpu(),
            kernel: self.kernel.as_ref(),
            programs: &self.programs,
            wiring: Some(&self.wiring),
            screen: Some(machine.chipset().vga.text_view()),
            timeline: Some(machine.timeline()),
            counters,
            samples: machine.samples().all(),
            now_ns: Some(machine.now_ns()),
            ..Target::new(cpus, machine.memory()).with_faults(machine)
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
        (Ok(answer), note) => {
            let lines: Vec<String> = note.into_iter().chain(answer.note).collect();
            Ok(Answer { note: (!lines.is_empty()).then(|| lines.join("\n")), ..answer })
        }
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

/// A file of the guest as it was in the archives that the machine booted with, links followed.
pub fn guest_file<'a>(boot: &'a Boot, path: &[u8]) -> Option<&'a [u8]> {
    let Boot::Multiboot { modules, .. } = boot else { return None };
    let entries = modules.iter().flat_map(|(image, _)| abi::cpio::Archive::new(&image.bytes)).flatten();
    let tree: BTreeMap<&[u8], Entry<'a>> = entries.map(|entry| (entry.name, entry)).collect();
    resolve(&tree, path)
}

/// The contents of the file to which a path leads from the root.
fn resolve<'a>(tree: &BTreeMap<&[u8], Entry<'a>>, path: &[u8]) -> Option<&'a [u8]> {
    /// Links on the way, as many as Linux follows.
    const MAX_LINKS: usize = 40;
    const FORMAT: u32 = 0o170_000;
    const LINK: u32 = 0o120_000;
    const REGULAR: u32 = 0o100_000;
    let mut rest: Vec<&[u8]> = path.rsplit(|&byte| byte == b'/').collect();
    let mut at: Vec<&[u8]> = Vec::new();
    let mut links = 0;
    let mut found = None;
    while let Some(name) = rest.pop() {
        found = None;
        match name {
            b"" | b"." => continue,
            b".." => {
                at.pop();
                continue;
            }
            name => at.push(name),
        }
        // Folders need not be in the archive.
        let Some(entry) = tree.get(&at.join(&b'/')[..]) else { continue };
        match entry.mode & FORMAT {
            LINK => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                at.pop();
                if entry.data.starts_with(b"/") {
                    at.clear();
                }
                rest.extend(entry.data.rsplit(|&byte| byte == b'/'));
            }
            REGULAR => found = Some(entry.data),
            _ => {}
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_not_in_circles() {
        let rows: [(&[u8], u32, &[u8]); 6] = [
            (b"usr/lib/i386/ld-2.36.so", 0o100_755, b"the linker"),
            (b"usr/lib/ld-linux.so.2", 0o120_777, b"i386/ld-2.36.so"),
            (b"lib", 0o120_777, b"usr/lib"),
            (b"bin/back", 0o120_777, b"../lib/./ld-linux.so.2"),
            (b"bin/whole", 0o120_777, b"/lib/ld-linux.so.2"),
            (b"bin/circle", 0o120_777, b"circle"),
        ];
        let entry = |(name, mode, data)| Entry {
            ino: 0,
            mode,
            uid: 0,
            gid: 0,
            nlink: 1,
            mtime: 0,
            dev: (0, 0),
            rdev: (0, 0),
            name,
            data,
        };
        let tree = rows.into_iter().map(|row| (row.0, entry(row))).collect();
        for path in ["/lib/ld-linux.so.2", "usr/lib/i386/ld-2.36.so", "/bin/back", "/bin/whole"] {
            assert_eq!(resolve(&tree, path.as_bytes()), Some(&b"the linker"[..]), "{path}");
        }
        for path in ["/bin/circle", "/lib", "/usr", "/bin/none", "/lib/ld-linux.so.2/x", ""] {
            assert_eq!(resolve(&tree, path.as_bytes()), None, "{path}");
        }
    }
}
