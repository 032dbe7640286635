//! A machine as the lenses want to see it.

use abi::runfile;
use inspect::{KernelImage, Program, Symbols, Target, WiredRange, Wiring};
use machine::{Boot, Machine, Resource};

/// Runs `look` on `machine` with all that is known of it.
pub fn with_target<T>(machine: &Machine, look: impl FnOnce(&Target<'_>) -> T) -> T {
    let kernel = machine.boot_images().kernel().map(|image| KernelImage::parse(&image.bytes));
    let programs = programs(machine.boot_images());
    let wiring = Wiring { memory: wired(&machine.memory_resources()), ports: wired(&machine.port_resources()) };
    let counters = counters(machine);
    look(&Target {
        cpus: (0..machine.cpu_count()).map(|number| machine.cpu(number)).collect(),
        mem: machine.memory(),
        kernel: kernel.as_ref(),
        programs: &programs,
        wiring: Some(&wiring),
        counters: &counters,
    })
}

/// GUEST's symbols, from the initramfs that we made.
fn programs(boot: &Boot) -> Vec<Program> {
    let Boot::Multiboot { modules, .. } = boot else { return Vec::new() };
    let archives: Vec<&[u8]> = modules.iter().map(|(image, _)| image.bytes.as_slice()).collect();
    let file = |path: &[u8]| {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        archives
            .iter()
            .flat_map(|archive| abi::cpio::Archive::new(archive))
            .flatten()
            .find(|entry| entry.name == path)
            .map(|entry| entry.data)
    };
    let run = file(runfile::PATH.as_bytes()).and_then(|bytes| runfile::RunFile::parse(bytes).ok());
    let Some(run) = run else { return Vec::new() };
    file(&run.exe)
        .map(|bytes| Program { symbols: Symbols::of_bytes(bytes), path: run.exe.clone() })
        .into_iter()
        .collect()
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
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
