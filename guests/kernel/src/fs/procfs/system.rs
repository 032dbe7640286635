//! Files about the whole system.

use abi::{
    books::ZoneRecord,
    out,
    out::Out,
    proc::{
        cpuinfo::{self, CpuInfo},
        interrupts,
        meminfo::{self, MemInfo},
        resources, slabinfo,
        system::{self, CpuTimes, Stat},
        vmstat::{self as vmstat_rows, NODE_ROWS, ROWS},
        zones,
    },
};

use crate::{
    arch::cpu::{self, feature},
    drivers::{
        irq,
        resource::{self, Space},
    },
    fs::super_block::MOUNTS,
    lib::cmdline,
    mm::{
        page_alloc::{ZONE_HIGHMEM, totals, with_zones},
        slab,
        vmstat::{self, Item},
        watermark::EMPTY_HIGHMEM_MIN,
    },
    task::{pid, sched},
    time::{getnstimeofday, ktime_get_ns, tsc_khz},
};

/// A file: its name, its mode and what writes it.
pub struct Entry {
    /// Name.
    pub name: &'static [u8],
    /// Rights.
    pub mode: u32,
    /// Writes the text.
    pub show: fn(&mut dyn Out),
}

const fn entry(name: &'static [u8], show: fn(&mut dyn Out)) -> Entry {
    Entry { name, mode: 0o444, show }
}

static ENTRIES: &[Entry] = &[
    entry(b"buddyinfo", buddyinfo),
    entry(b"cmdline", |out| out!(out, "{}\n", cmdline::command_line())),
    entry(b"cpuinfo", show_cpuinfo),
    entry(b"devices", devices),
    entry(b"filesystems", filesystems),
    entry(b"interrupts", show_interrupts),
    entry(b"iomem", |out| show_resources(out, Space::Memory)),
    entry(b"ioports", |out| show_resources(out, Space::Io)),
    entry(b"loadavg", loadavg),
    entry(b"meminfo", show_meminfo),
    entry(b"modules", |_| {}),
    Entry { name: b"slabinfo", mode: 0o400, show: show_slabinfo },
    entry(b"stat", stat),
    entry(b"swaps", system::swaps_head),
    entry(b"uptime", |out| system::uptime(out, ktime_get_ns(), sched::idle_ns())),
    entry(b"version", system::version),
    entry(b"vmstat", |out| vmstat_rows::write(out, counter)),
    entry(b"zoneinfo", zoneinfo),
];

/// All files.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter()
}

/// The file with a name.
pub fn find(name: &[u8]) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name)
}

/// Its place in the list.
pub fn index(entry: &Entry) -> u32 {
    ENTRIES.iter().position(|e| e.name == entry.name).unwrap_or(0) as u32
}

fn buddyinfo(out: &mut dyn Out) {
    with_zones(|all, _| all.iter().filter(|z| z.present_pages > 0).for_each(|z| zones::buddyinfo_line(out, z)));
}

/// A counter of the node by its name, as far as this kernel has it.
fn counter(name: &str) -> Option<u32> {
    let read = vmstat::read;
    let file = || read(Item::nr_file_pages);
    Some(match name {
        "nr_free_pages" => totals().free,
        "nr_zone_active_anon" | "nr_active_anon" | "nr_anon_pages" => read(Item::nr_anon_pages),
        "nr_zone_inactive_anon" | "nr_inactive_anon" | "nr_shmem" => read(Item::nr_shmem),
        "nr_zone_active_file" | "nr_active_file" => file() - read(Item::nr_shmem).min(file()),
        "nr_mapped" => read(Item::nr_mapped),
        "nr_file_pages" => file(),
        "nr_slab_unreclaimable" => slab::slab_pages(),
        "nr_zone_write_pending" | "nr_dirty" => read(Item::nr_dirty),
        "nr_kernel_stack" => pid::counts().0 * 8,
        "nr_page_table_pages" => read(Item::nr_page_table_pages),
        "pgalloc_dma" => read(Item::pgalloc_dma),
        "pgalloc_normal" => read(Item::pgalloc_normal),
        "pgalloc_high" => read(Item::pgalloc_high),
        "pgfree" => read(Item::pgfree),
        "pgfault" => read(Item::pgfault),
        "pgmajfault" => read(Item::pgmajfault),
        "pgreuse" => read(Item::pgreuse),
        "oom_kill" => read(Item::oom_kill),
        _ => return None,
    })
}

fn zoneinfo(out: &mut dyn Out) {
    // Before the zones' lock: some counters take it.
    const NAMES: &[&str] = ROWS.split_at(NODE_ROWS.end).0.split_at(NODE_ROWS.start).1;
    let mut node = [0; NAMES.len()];
    node.iter_mut().zip(NAMES).for_each(|(value, name)| *value = counter(name).unwrap_or(0));
    let of_node = |name: &str| NAMES.iter().position(|row| *row == name).map(|at| node[at]);
    with_zones(|all, reserve| {
        for (n, zone) in all.iter().enumerate() {
            let node_rows: Option<zones::Counter<'_>> = if n == 0 { Some(&of_node) } else { None };
            let [dma, normal, high] = reserve[n];
            zones::zoneinfo_block(out, zone, node_rows, &|_| None, [dma, normal, high, high]);
        }
        zones::zoneinfo_block(out, &movable(all[ZONE_HIGHMEM]), None, &|_| None, [0; 4]);
    });
}

/// The zone of memory that can all be moved, which is empty unless a boot parameter fills it.
/// It lies in the highest zone with memory, and has the marks of an empty one of that kind.
fn movable(high: &ZoneRecord) -> ZoneRecord {
    let mark = if high.present_pages > 0 { EMPTY_HIGHMEM_MIN } else { 0 };
    let name = *b"Movable\0";
    ZoneRecord { name, watermark_min: mark, watermark_low: mark, watermark_high: mark, ..ZoneRecord::default() }
}

fn show_slabinfo(out: &mut dyn Out) {
    slabinfo::head(out);
    slab::for_each_cache(|record, name| slabinfo::line(out, name.as_bytes(), record));
}

fn show_resources(out: &mut dyn Out, space: Space) {
    let kind = if space == Space::Memory { resources::Space::Memory } else { resources::Space::Ports };
    resource::for_each(space, |depth, r, name| {
        resources::line(out, kind, depth as usize, r.start, r.end, name.as_bytes());
    });
}

fn show_meminfo(out: &mut dyn Out) {
    let t = totals();
    let (file, shmem) = (vmstat::read(Item::nr_file_pages), vmstat::read(Item::nr_shmem));
    let anon = vmstat::read(Item::nr_anon_pages);
    let info = MemInfo {
        total: t.managed,
        free: t.free,
        available: t.free.saturating_sub(t.watermark_low),
        cached: file,
        active_anon: anon,
        active_file: file - shmem.min(file),
        inactive_anon: shmem,
        high_total: t.managed_high,
        high_free: t.free_high,
        dirty: vmstat::read(Item::nr_dirty),
        anon_pages: anon,
        mapped: vmstat::read(Item::nr_mapped),
        shmem,
        slab_unreclaimable: slab::slab_pages(),
        kernel_stack_kb: pid::counts().0 * 8,
        page_tables: vmstat::read(Item::nr_page_table_pages),
        commit_limit: t.managed / 2,
        committed: anon + shmem,
        vmalloc_total_kb: 122_880,
        ..MemInfo::default()
    };
    meminfo::write(out, &info);
}

fn show_interrupts(out: &mut dyn Out) {
    interrupts::head(out, 1);
    for irq in 0..irq::NR_IRQS as u8 {
        if let Some((count, names)) = irq::statistics(irq) {
            let name = names.into_iter().flatten().next().unwrap_or("");
            interrupts::irq_line(out, irq.into(), &[count], "XT-PIC", irq.into(), name);
        }
    }
    for (name, words) in [
        ("NMI", "Non-maskable interrupts"),
        ("LOC", "Local timer interrupts"),
        ("RES", "Rescheduling interrupts"),
        ("CAL", "Function call interrupts"),
        ("TLB", "TLB shootdowns"),
    ] {
        interrupts::vector_line(out, name, &[0], words);
    }
}

fn stat(out: &mut dyn Out) {
    let mut total = CpuTimes { idle_ns: sched::idle_ns(), ..CpuTimes::default() };
    let (_, _, forks) = pid::counts();
    pid::for_each(|task| {
        let time = task.cpu_time();
        total.user_ns += time.user_ns;
        total.system_ns += time.system_ns;
    });
    let dead = sched::dead_time();
    total.user_ns += dead.user_ns;
    total.system_ns += dead.system_ns;
    let mut irqs = [0; 16];
    for (irq, count) in irqs.iter_mut().enumerate() {
        *count = irq::statistics(irq as u8).map_or(0, |(count, _)| count);
    }
    let btime = (getnstimeofday().saturating_sub(ktime_get_ns()) / 1_000_000_000) as u32;
    let stat = Stat {
        cpus: &[total],
        irqs,
        ctxt: sched::switches(),
        btime,
        processes: forks,
        procs_running: sched::nr_running(),
        procs_blocked: 0,
    };
    system::stat(out, &stat);
}

fn loadavg(out: &mut dyn Out) {
    let (averages, running, total, last) = sched::load::now();
    system::loadavg(out, averages, running, total, last);
}

fn filesystems(out: &mut dyn Out) {
    for name in ["tmpfs", "proc", "devtmpfs", "pipefs", "ramfs"] {
        system::filesystem_line(out, name);
    }
}

fn devices(out: &mut dyn Out) {
    out!(out, "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n240 rawS\n\nBlock devices:\n");
}

/// `/proc/PID/mounts`, the same for all.
pub fn mounts(out: &mut dyn Out) {
    for mount in MOUNTS.lock().iter() {
        let root = &mount.root;
        system::mount_head(out, &mount.source);
        root.write_path(&mut system::Escaped(out));
        system::mount_tail(out, root.inode().sb().fs_type, mount.options);
    }
}

fn show_cpuinfo(out: &mut dyn Out) {
    if !cpu::has_cpuid() {
        cpuinfo::block(out, &CpuInfo { vendor: "unknown", family: 4, model_name: "486", ..CpuInfo::default() });
        return;
    }
    let (id, one) = (cpu::cpuid(0, 0), cpu::cpuid(1, 0));
    let vendor = words([id.ebx, id.edx, id.ecx]);
    let mut brand = [0; 48];
    let has_brand = cpu::cpuid(0x8000_0000, 0).eax >= 0x8000_0004;
    if has_brand {
        for n in 0..3 {
            let r = cpu::cpuid(0x8000_0002 + n, 0);
            for (i, word) in [r.eax, r.ebx, r.ecx, r.edx].into_iter().enumerate() {
                brand[n as usize * 16 + i * 4..][..4].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    let brand_len = brand.iter().position(|&b| b == 0).unwrap_or(brand.len());
    let model_name = core::str::from_utf8(&brand[..brand_len]).unwrap_or("").trim();
    let signature = one.eax;
    let family = signature >> 8 & 15;
    let physical_bits = match cpu::cpuid(0x8000_0000, 0).eax {
        // The larger leaf is there: it says how many.
        0x8000_0008.. => cpu::cpuid(0x8000_0008, 0).eax & 0xff,
        _ if one.edx & (feature::PAE | feature::PSE36) != 0 => 36,
        _ => 32,
    };
    let info = CpuInfo {
        processor: 0,
        vendor: core::str::from_utf8(&vendor).unwrap_or(""),
        family: if family == 15 { family + (signature >> 20 & 0xff) } else { family },
        model: signature >> 4 & 15 | if family >= 6 { signature >> 12 & 0xf0 } else { 0 },
        model_name: if model_name.is_empty() { "unknown" } else { model_name },
        stepping: signature & 15,
        khz: tsc_khz(),
        cpuid_level: id.eax,
        has_cpuid: true,
        features: [one.edx, one.ecx],
        physical_bits,
    };
    cpuinfo::block(out, &info);
}

fn words(words: [u32; 3]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (i, word) in words.into_iter().enumerate() {
        bytes[i * 4..i * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
