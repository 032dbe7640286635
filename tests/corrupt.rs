//! A guest whose books are damaged: every lens ends, names what is wrong and where, and shows
//! the rest.

use abi::Ptr32;
use abi::books::{
    DentryRecord, FileRecord, KernelBooks, KmemCacheRecord, MmRecord, ModuleRecord, PageRecord, ResourceRecord,
    SwapRecord, TaskRecord, VmStructRecord, VmaRecord, ZoneRecord,
};
use inspect::{Books, KernelImage, Record, Request, look, parse_address};
use libtest_mimic::Trial;
use machine::{DiskConfig, Machine, MachineConfig, RunLimit, Stop};
use std::mem::offset_of;
use x86::PhysAddr;

use crate::{
    lenses::{Heard, machine_with, target},
    support::trial,
};

pub fn trials() -> Vec<Trial> {
    vec![trial("corrupt::every_lens_ends_names_the_damage_and_shows_the_rest", &[], planted)]
}

/// An address to which nothing leads.
const NOWHERE: u32 = 0xf7ff_f000;
const PAGE_OFFSET: u32 = 0xc000_0000;

/// A machine with modules and swap, in the middle of a program.
pub fn base(kernel: &KernelImage) -> Machine {
    let script = "insmod /.pagewalk/lib/modules/sample_kmalloc.ko; insmod /.pagewalk/lib/modules/sample_vmalloc.ko; \
                  cat /proc/self/maps";
    let disks = vec![DiskConfig::swap(16 << 20).expect("a swap disk")];
    let mut machine = machine_with(script, MachineConfig { disks, ..MachineConfig::default() }, "swap=/dev/sda");
    let begin = parse_address(&target(&machine, kernel), 0, "proc_gather_begin").expect("the gather point").linear;
    machine.add_breakpoint(begin);
    loop {
        let limit = RunLimit { retired: Some(2_000_000_000), pass_breakpoint: true };
        let stop = machine.run(limit, &mut Heard::default());
        assert!(matches!(stop, Stop::Breakpoint { .. }), "{stop}");
        let target = target(&machine, kernel);
        let books = Books::of(&target).expect("books");
        if inspect::comm(&books.current(0).expect("a task")) == "cat" {
            return machine;
        }
    }
}

/// One planted corruption.
struct Plant {
    name: &'static str,
    /// Where, as a linear address of the direct map.
    at: u32,
    bytes: Vec<u8>,
    lens: String,
    /// What must be said.
    finding: &'static str,
    /// What must still be shown.
    rest: &'static str,
}

/// Reads a record of the guest.
fn read<T: Record>(machine: &Machine, at: Ptr32<T>) -> T {
    let mut bytes = vec![0; T::SIZE];
    machine.memory().read(PhysAddr(u64::from(at.0 - PAGE_OFFSET)), &mut bytes);
    T::decode(&bytes).expect("as many bytes as it has")
}

/// A word of a record.
macro_rules! field {
    ($at:expr, $record:ident.$field:ident) => {
        $at.0 + offset_of!($record, $field) as u32
    };
}

fn plants(machine: &Machine, kernel: &KernelImage) -> Vec<Plant> {
    let root_at: Ptr32<KernelBooks> = kernel.note().expect("a note").books;
    let root: KernelBooks = read(machine, root_at);
    let init = root.tasks;
    let second = read(machine, init).next;
    let mm = read(machine, init).mm;
    let first_area = read(machine, mm).mmap;
    let second_area = read(machine, first_area).next;
    let file = read(machine, first_area).file;
    let dentry = read(machine, file).dentry;
    let inode = read(machine, file).inode;
    let cache = root.caches;
    let second_cache = read(machine, cache).next;
    let resource = read(machine, root.iomem).child;
    let port = read(machine, root.ioports).child;
    let vmap = root.vmap_areas;
    let second_vmap = read(machine, vmap).next;
    let module = root.modules;
    let older = read(machine, module).next;
    let init_pid = read(machine, init).pid;
    let word = |word: u32| word.to_le_bytes().to_vec();
    let plant =
        |name, at, bytes, lens: &str, finding, rest| Plant { name, at, bytes, lens: lens.into(), finding, rest };
    let own = |lens: &str| format!("{lens} {init_pid}");
    vec![
        plant(
            "the tasks' list loops",
            field!(second, TaskRecord.next),
            word(init.0),
            "ps",
            "list of tasks comes back to",
            "init",
        ),
        plant(
            "a task leads nowhere",
            field!(init, TaskRecord.next),
            word(NOWHERE),
            "ps",
            "tasks at 0xf7fff000 cannot be read",
            "init",
        ),
        plant("a task's number lies", field!(second, TaskRecord.pid), word(1), "ps", "task 1 follows task 1", "init"),
        plant(
            "a task's name is torn",
            field!(init, TaskRecord.comm),
            vec![0xff; 16],
            "ps",
            "the name of task 1 is torn",
            "PID TTY",
        ),
        plant(
            "a task's state is none",
            field!(init, TaskRecord.state),
            word(7),
            "ps",
            "task 1 is in no state that there is",
            "init",
        ),
        plant(
            "an mm leads nowhere",
            field!(init, TaskRecord.mm),
            word(NOWHERE),
            "ps",
            "mm at 0xf7fff000 cannot be read",
            "init",
        ),
        plant(
            "a task's places lead nowhere",
            field!(init, TaskRecord.places),
            word(NOWHERE),
            &own("status"),
            "task's places at 0xf7fff000 cannot be read",
            "Name:\tinit",
        ),
        plant(
            "a count of pages lies",
            field!(mm, MmRecord.total_vm),
            word(!0),
            &own("status"),
            "total_vm of 4294967295 pages",
            "Name:\tinit",
        ),
        plant(
            "a page directory is not in memory",
            field!(mm, MmRecord.pgd),
            word(0xffff_f000),
            &own("smaps"),
            "its page directory at 0xfffff000 is not in memory",
            "VmFlags",
        ),
        plant(
            "the areas' list loops",
            field!(second_area, VmaRecord.next),
            word(first_area.0),
            &own("maps"),
            "list of areas comes back to",
            "/.pagewalk/init",
        ),
        plant(
            "an area leads nowhere",
            field!(first_area, VmaRecord.next),
            word(NOWHERE),
            &own("maps"),
            "areas at 0xf7fff000 cannot be read",
            "/.pagewalk/init",
        ),
        plant(
            "a count of areas lies",
            field!(mm, MmRecord.map_count),
            word(99),
            &own("maps"),
            "map_count is 99",
            "[stack]",
        ),
        plant(
            "an area ends before it begins",
            field!(first_area, VmaRecord.end),
            word(1),
            &own("smaps"),
            "is no range",
            "[stack]",
        ),
        plant(
            "an area lies over another",
            field!(second_area, VmaRecord.start),
            word(0x1000),
            &own("pmap"),
            "where the one before ends",
            "stack",
        ),
        plant(
            "an area's file leads nowhere",
            field!(first_area, VmaRecord.file),
            word(NOWHERE),
            &own("maps"),
            "file at 0xf7fff000 cannot be read",
            "[stack]",
        ),
        plant(
            "a file's dentry leads nowhere",
            field!(file, FileRecord.dentry),
            word(NOWHERE),
            &own("maps"),
            "dentry at 0xf7fff000 cannot be read",
            "[stack]",
        ),
        plant(
            "a file's inode leads nowhere",
            field!(file, FileRecord.inode),
            word(NOWHERE),
            &own("maps"),
            "inode at 0xf7fff000 cannot be read",
            "[stack]",
        ),
        plant(
            "a path's folders loop",
            field!(dentry, DentryRecord.parent),
            word(dentry.0),
            &own("maps"),
            "a path's folders comes back to",
            "[stack]",
        ),
        plant(
            "a name's length lies",
            field!(dentry, DentryRecord.name_len),
            word(0x7fff_ffff),
            &own("maps"),
            "2147483647 bytes are too many",
            "[stack]",
        ),
        plant(
            "a name leads nowhere",
            field!(dentry, DentryRecord.name),
            word(NOWHERE),
            &own("maps"),
            "dentry's name at 0xf7fff000 cannot be read",
            "[stack]",
        ),
        plant(
            "the count of zones lies",
            field!(root_at, KernelBooks.nr_zones),
            word(!0),
            "buddyinfo",
            "the books count 4294967295",
            "zone   Normal",
        ),
        plant(
            "a zone's free pages lie",
            field!(root.zones, ZoneRecord.free_pages),
            word(5),
            "zoneinfo",
            "5 pages are free, and ",
            "Node 0, zone",
        ),
        plant(
            "a zone's lists lie",
            field!(root.zones, ZoneRecord.free_lists),
            word(77),
            "pagetypeinfo",
            "blocks of order 0 are free, and ",
            "Unmovable",
        ),
        plant(
            "a zone's name is torn",
            root.zones.0 + ZoneRecord::SIZE as u32,
            vec![0xff; 8],
            "buddyinfo",
            "its name is torn",
            "DMA",
        ),
        plant(
            "the caches' list loops",
            field!(second_cache, KmemCacheRecord.next),
            word(cache.0),
            "slabinfo",
            "list of caches comes back to",
            "slabinfo - version: 2.1",
        ),
        plant(
            "a cache's objects lie",
            field!(cache, KmemCacheRecord.active_objs),
            word(!0),
            "slabinfo",
            "objects are in use",
            "kmalloc-32",
        ),
        plant(
            "a cache's name leads nowhere",
            field!(cache, KmemCacheRecord.name),
            word(NOWHERE),
            "slabinfo",
            "cache's name at 0xf7fff000 cannot be read",
            "kmalloc-32",
        ),
        plant(
            "the resources loop",
            field!(resource, ResourceRecord.sibling),
            word(resource.0),
            "iomem",
            "list of resources comes back to",
            "00000000-",
        ),
        plant(
            "a resource lies outside its parent",
            field!(port, ResourceRecord.end),
            word(0xffff_0000),
            "ioports",
            "is not inside",
            "pic1",
        ),
        plant(
            "a resource's name is torn",
            field!(resource, ResourceRecord.name_len),
            word(!0),
            "iomem",
            "4294967295 bytes are too many",
            "System RAM",
        ),
        plant(
            "vmalloc's list loops",
            field!(second_vmap, VmStructRecord.next),
            word(vmap.0),
            "vmallocinfo",
            "list of areas of vmalloc comes back to",
            "ioremap",
        ),
        plant(
            "an area of vmalloc lies",
            field!(vmap, VmStructRecord.size),
            word(!0),
            "vmallocinfo",
            "4294967295 bytes at",
            "vmalloc",
        ),
        plant(
            "the modules' list loops",
            field!(older, ModuleRecord.next),
            word(module.0),
            "modules",
            "list of modules comes back to",
            "sample_kmalloc",
        ),
        plant(
            "a module's name is torn",
            field!(module, ModuleRecord.name),
            vec![0xff; 32],
            "modules",
            "its name is torn",
            "sample_kmalloc",
        ),
        plant(
            "a module's uses lie",
            field!(module, ModuleRecord.nr_uses),
            word(!0),
            "modules",
            "it uses 4294967295 others",
            "sample_kmalloc",
        ),
        plant(
            "swap's use lies",
            field!(root.swaps, SwapRecord.in_use),
            word(!0),
            "swaps",
            "4294967295 of ",
            "/dev/sda",
        ),
        plant(
            "swap's file leads nowhere",
            field!(root.swaps, SwapRecord.file),
            word(NOWHERE),
            "swaps",
            "file at 0xf7fff000 cannot be read",
            "partition",
        ),
        plant(
            "an interrupt's name leads nowhere",
            root.irqs.0 + 40,
            word(NOWHERE),
            "interrupts",
            "handler's name at 0xf7fff000 cannot be read",
            "LOC:",
        ),
        plant(
            "the counters lead nowhere",
            field!(root_at, KernelBooks.vmstat),
            word(NOWHERE),
            "meminfo",
            "counters at 0xf7fff000 cannot be read",
            "MemTotal:",
        ),
        plant(
            "the CPUs lie",
            field!(root_at, KernelBooks.nr_cpus),
            word(4000),
            "cpuinfo",
            "4000 CPUs can't be",
            "processor\t: 0",
        ),
        plant(
            "the descriptors lead nowhere",
            field!(root_at, KernelBooks.mem_map),
            word(NOWHERE),
            &own("smaps"),
            "page descriptor at 0x",
            "VmFlags",
        ),
        plant("an inode is not read beyond memory", inode.0, word(!0), &own("maps"), "", "4294967295 "),
    ]
}

fn planted() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = base(&kernel);
    assert_eq!(PageRecord::SIZE, 32);
    for lens in
        ["ps", "maps 1", "smaps 1", "status 1", "buddyinfo", "zoneinfo", "slabinfo", "iomem", "modules", "swaps"]
    {
        let request = Request::from_words(&lens.split(' ').collect::<Vec<_>>()).expect(lens);
        assert_eq!(look(&target(&machine, &kernel), &request).expect(lens).note, None, "whole books: {lens}");
    }
    let plants = plants(&machine, &kernel);
    assert!(plants.len() >= 20);
    for Plant { name, at, bytes, lens, finding, rest } in plants {
        let place = PhysAddr(u64::from(at - PAGE_OFFSET));
        let mut before = vec![0; bytes.len()];
        machine.memory().read(place, &mut before);
        machine.change_memory(place, &bytes);
        let words = lens.split(' ').collect::<Vec<_>>();
        let answer = look(&target(&machine, &kernel), &Request::from_words(&words).expect("a lens"));
        let answer = answer.unwrap_or_else(|why| panic!("{name}: {lens}: {why}"));
        let (text, note) = (String::from_utf8_lossy(&answer.text).into_owned(), answer.note.unwrap_or_default());
        assert!(note.contains(finding), "{name}: {lens}: {finding:?} is not in {note:?}");
        assert!(finding.is_empty() || note.contains("0x"), "{name}: {lens}: where? {note}");
        assert!(text.contains(rest), "{name}: {lens}: {rest:?} is not in {text}");
        // Nobody else stumbles over it.
        for (usage, _) in inspect::HELP {
            let line =
                usage.replace("NAME|ADDR", "0").replace("ADDR", "c0100000").replace("PID", "1").replace("PFN", "1");
            let words: Vec<&str> = line.split_whitespace().filter(|word| !word.contains(['[', ']'])).collect();
            let _ = look(&target(&machine, &kernel), &Request::from_words(&words).expect("a lens"));
        }
        let top = look(&target(&machine, &kernel), &Request::Top { since_ns: 0 }).expect("what hardware tells");
        assert_eq!(top.json["cpus"].as_array().map(Vec::len), Some(1), "{name}");
        if ["ps", "zoneinfo"].contains(&lens.as_str()) {
            assert!(top.json["notes"].to_string().contains(finding), "{name}: {}", top.json["notes"]);
        }
        machine.change_memory(place, &before);
    }
}
