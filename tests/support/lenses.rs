//! Lenses by the words of their command lines.

/// Those that are files of `/proc` of the same name.
pub const SYSTEM_FILES: [&str; 13] = [
    "iomem",
    "ioports",
    "buddyinfo",
    "pagetypeinfo",
    "slabinfo",
    "vmallocinfo",
    "modules",
    "meminfo",
    "vmstat",
    "zoneinfo",
    "interrupts",
    "cpuinfo",
    "swaps",
];

/// Those that need the books of our kernel.
pub fn of_books() -> impl Iterator<Item = &'static str> {
    let processes = ["ps", "maps 1", "smaps 1", "pmap 1", "status 1"];
    processes.into_iter().chain(SYSTEM_FILES).chain(["verify", "pagetable --cost"])
}

/// Those of any machine that runs in protected mode with paging.
pub const OF_ALL: [&str; 10] =
    ["page 0x1000", "walk c0100000", "pagetable", "tlb", "regs", "disas $eip 2", "x $esp 2", "bt", "stats", "timeline"];
