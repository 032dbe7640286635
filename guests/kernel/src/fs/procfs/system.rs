//! Files about the whole system.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    books::VmStatRecord,
    out,
    out::{Out, render},
    proc::{
        counts::Counts,
        cpuinfo::{self, Place},
        interrupts::{self, Line},
        meminfo::{self, MemInfo},
        resources, slabinfo,
        system::{self, CpuTimes, Stat},
        vmallocinfo, vmstat as rows, zones,
    },
};

use super::{
    names::{file_records, irq_name, write_path},
    page::WordFile,
};
use crate::{
    arch::{self, smp},
    block,
    drivers::{
        irq,
        resource::{self, Space},
        tty,
    },
    fs::{FileOps, chrdev, super_block::MOUNTS},
    lib::{books, cmdline},
    mm::{
        page_alloc::{MAX_NR_ZONES, with_zones},
        slab, swapfile, vmalloc, vmstat,
    },
    module,
    task::{pid, sched},
    time::{boot_time_ns, ktime_get_ns},
};

/// A file: its name, its mode and what writes it.
pub struct Entry {
    /// Name.
    pub name: &'static [u8],
    /// Rights.
    pub mode: u32,
    /// Writes the text.
    pub show: fn(&mut dyn Out),
    /// Opens a file that is no text.
    pub words: Option<fn() -> Arc<dyn FileOps>>,
}

const fn entry(name: &'static [u8], show: fn(&mut dyn Out)) -> Entry {
    Entry { name, mode: 0o444, show, words: None }
}

/// A file of words about frames, for the superuser.
const fn frames(name: &'static [u8], words: fn() -> Arc<dyn FileOps>) -> Entry {
    Entry { name, mode: 0o400, show: |_| {}, words: Some(words) }
}

static ENTRIES: &[Entry] = &[
    entry(b"buddyinfo", buddyinfo),
    entry(b"cmdline", |out| out!(out, "{}\n", cmdline::command_line())),
    entry(b"cpuinfo", show_cpuinfo),
    entry(b"devices", devices),
    entry(b"diskstats", block::proc::diskstats),
    entry(b"filesystems", filesystems),
    entry(b"interrupts", show_interrupts),
    entry(b"iomem", |out| show_resources(out, Space::Memory)),
    entry(b"ioports", |out| show_resources(out, Space::Io)),
    frames(b"kpagecount", || Arc::new(WordFile::Count)),
    frames(b"kpageflags", || Arc::new(WordFile::Flags)),
    entry(b"loadavg", loadavg),
    entry(b"meminfo", |out| with_counts(|counts| meminfo::write(out, &MemInfo::of(counts)))),
    entry(b"modules", module::show),
    Entry { mode: 0o400, ..entry(b"pagetypeinfo", |out| with_zones(|all| zones::pagetypeinfo(out, all))) },
    Entry { mode: 0o400, ..entry(b"slabinfo", show_slabinfo) },
    entry(b"stat", stat),
    entry(b"partitions", block::proc::partitions),
    entry(b"swaps", swaps),
    entry(b"uptime", |out| system::uptime(out, ktime_get_ns(), sched::idle_ns())),
    entry(b"version", system::version),
    Entry { mode: 0o400, ..entry(b"vmallocinfo", show_vmallocinfo) },
    entry(b"vmstat", |out| with_counts(|counts| rows::write(out, |name| counts.by_name(name)))),
    entry(b"zoneinfo", |out| with_counts(|counts| zones::zoneinfo(out, counts))),
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
    with_zones(|all| all.iter().filter(|z| z.present_pages > 0).for_each(|z| zones::buddyinfo_line(out, z)));
}

/// Calls `show` with what the kernel counts.
fn with_counts(show: impl FnOnce(&Counts<'_>)) {
    // Memory is asked for before the lock is taken.
    let mut zones = Vec::with_capacity(MAX_NR_ZONES);
    with_zones(|all| zones.extend_from_slice(all));
    let mut vmstat = VmStatRecord::default();
    vmstat::snapshot(&mut vmstat);
    let (slab_pages, nr_tasks, nr_cpus) = (slab::slab_pages(), pid::counts().0, smp::num_online_cpus());
    show(&Counts { vmstat: &vmstat, zones: &zones, slab_pages, nr_tasks, nr_cpus });
}

fn show_slabinfo(out: &mut dyn Out) {
    slabinfo::head(out);
    slab::for_each_cache(|record, name| slabinfo::line(out, name.as_bytes(), record));
}

fn show_vmallocinfo(out: &mut dyn Out) {
    let cell = core::cell::RefCell::new(out);
    vmalloc::for_each_area(
        |area, caller| vmallocinfo::line(*cell.borrow_mut(), area, caller),
        |area| vmallocinfo::unpurged_line(*cell.borrow_mut(), area),
    );
}

fn show_resources(out: &mut dyn Out, space: Space) {
    let kind = if space == Space::Memory { resources::Space::Memory } else { resources::Space::Ports };
    resource::for_each(space, |depth, r, name| {
        resources::line(out, kind, depth as usize, r.start, r.end, name.as_bytes());
    });
}

fn show_cpuinfo(out: &mut dyn Out) {
    let nr_cpus = smp::num_online_cpus();
    for processor in smp::online() {
        let apic_id = books::cpu_record(processor).apic_id;
        cpuinfo::block(out, Place { processor, apic_id, nr_cpus }, &arch::cpuinfo::get(processor));
    }
}

fn show_interrupts(out: &mut dyn Out) {
    let lines = irq::snapshot();
    let used = (0..).zip(&lines).filter(|(_, line)| !line.name.is_null());
    let cpus: Vec<_> = smp::online().map(|number| books::cpu_record(number).vectors).collect();
    interrupts::write(out, used.map(|(irq, record)| Line { irq, record, name: irq_name(record) }), &cpus);
}

fn stat(out: &mut dyn Out) {
    let times = |number| {
        let record = books::cpu_record(number);
        CpuTimes {
            user_ns: record.user_ns.get(),
            system_ns: record.system_ns.get(),
            idle_ns: record.idle_ns.get(),
            ..CpuTimes::default()
        }
    };
    let cpus: Vec<_> = smp::online().map(times).collect();
    let (_, _, forks) = pid::counts();
    let stat = Stat {
        cpus: &cpus,
        irqs: irq::snapshot().map(|line| line.counts.iter().sum()),
        ctxt: sched::switches(),
        btime: (boot_time_ns() / 1_000_000_000) as u32,
        processes: forks,
        procs_running: sched::nr_running(),
        procs_blocked: 0,
    };
    system::stat(out, &stat);
}

fn swaps(out: &mut dyn Out) {
    system::swaps_head(out);
    for area in swapfile::records().iter().filter(|area| area.pages > 0) {
        let (dentry, _) = file_records(area.file);
        // A path is counted before it is padded.
        let path = render(|out| write_path(&dentry, out));
        system::swaps_line(out, area, &path);
    }
}

fn loadavg(out: &mut dyn Out) {
    let (averages, running, total, last) = sched::load::now();
    system::loadavg(out, averages, running, total, last);
}

fn filesystems(out: &mut dyn Out) {
    for name in ["sysfs", "tmpfs", "proc", "devtmpfs", "pipefs", "ramfs"] {
        system::filesystem_line(out, name);
    }
    // The one that wants a device.
    out!(out, "\text2\n");
}

fn devices(out: &mut dyn Out) {
    out!(out, "Character devices:\n");
    chrdev::for_each(|major, name| out!(out, "{major:3} {name}\n"));
    out!(out, "\nBlock devices:\n");
    if !block::devices().is_empty() {
        out!(out, "{:3} sd\n", block::SCSI_DISK0_MAJOR);
    }
}

/// `/proc/tty/drivers`.
pub fn tty_drivers(out: &mut dyn Out) {
    system::tty_driver(out, "/dev/tty", "tty", (tty::TTYAUX_MAJOR, 0), "system:/dev/tty");
    system::tty_driver(out, "/dev/console", "console", (tty::TTYAUX_MAJOR, 1), "system:console");
    system::tty_driver(out, "serial", "ttyS", (tty::TTY_MAJOR, 64), "serial");
}

/// `/proc/PID/mountinfo`, the same for all.
pub fn mountinfo(out: &mut dyn Out) {
    let mounts = MOUNTS.lock();
    for mount in mounts.iter() {
        let sb = mount.root.inode().sb();
        out!(out, "{} {} {}:{} / ", mount.id, mount.parent_id(&mounts), sb.dev.0, sb.dev.1);
        mount.root.write_path(&mut system::Escaped(out));
        let access = mount.options.split(',').next().unwrap_or_default();
        out!(out, " {} - {} {} {access}\n", mount.options, sb.fs_type, mount.source);
    }
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
