//! Every file of `/proc` that the host shows too, byte for byte, in five states of one machine:
//! fresh, after the tour, with modules, under memory pressure, with four CPUs in a storm.

use std::collections::BTreeMap;

use inspect::{Books, KernelImage, Request, Target, comm, in_flux, look, parse_address, process_file, system_file};
use libtest_mimic::Trial;
use machine::{DiskConfig, Machine, MachineConfig, RunLimit, Stop};

use crate::{
    lenses::{Heard, machine_with, target},
    support::{lenses::SYSTEM_FILES, trial},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("states::every_file_equals_the_guests_own_in_five_states", &[], five_states),
        trial("states::the_words_of_pagemap_equal_the_guests_own", &[], pagemap),
    ]
}

/// Files about the whole system that no lens has, but the folder of `proc -o`.
const OF_FOLDER: [&str; 3] = ["stat", "uptime", "loadavg"];
/// Files about the process that reads them.
const OWN: [&str; 7] = ["maps", "smaps", "smaps_rollup", "status", "stat", "statm", "limits"];

/// The states in their order, each with what brings the machine there.
const STATES: [(&str, &str); 5] = [
    ("fresh", ""),
    ("toured", "tour >/tmp/t 2>&1"),
    ("modules", "cd /.pagewalk/lib/modules; for m in kmalloc user vmalloc; do insmod sample_$m.ko; done; cd /"),
    ("pressed", "workload anonymous 40960 >/tmp/w & until grep -q '^pswpout [1-9]' /proc/vmstat; do :; done"),
    ("storm", "wait; smp-storm --seed 3 --processes 2 --threads 2 --rounds 20 >/tmp/c & shootdown 4 200 4 >/tmp/d &"),
];

/// What the guest prints before each file.
const MARK: &str = "== ";

fn script() -> String {
    let own = OWN.map(|name| format!("self/{name}"));
    let system = SYSTEM_FILES.into_iter().chain(OF_FOLDER).map(str::to_owned);
    let files = system.chain(own).collect::<Vec<_>>().join(" ");
    let mut script = String::new();
    for (state, act) in STATES {
        script += &format!(
            "{act}\nfor again in 1 2; do for f in {files}; do echo {MARK}{state} $f; cat /proc/$f; done; done\n"
        );
    }
    script + "wait; exit 0\n"
}

/// The task that runs on the CPU that has stopped.
fn current(target: &Target<'_>) -> inspect::Result<abi::books::TaskRecord> {
    Books::of(target).and_then(|books| books.current(target.current as u32))
}

/// What the host shows for a file of the process that runs, unless its books are being changed.
fn shown(machine: &Machine, kernel: &KernelImage, file: &str) -> Option<Vec<u8>> {
    let target = target(machine, kernel);
    let lens = SYSTEM_FILES.contains(&file).then(|| Request::from_words(&[file]).expect("a lens"));
    if in_flux(&target, lens.as_ref().unwrap_or(&Request::Ps)).is_some() {
        return None;
    }
    let text = match (&lens, file.strip_prefix("self/")) {
        (Some(lens), _) => Some(look(&target, lens).expect("the lens shows").text),
        (None, Some(name)) => process_file(&target, current(&target).expect("a task").pid, name).expect("books"),
        (None, None) => system_file(&target, file).expect("books"),
    };
    let text = text.expect("a file that the host has");
    let damage = target.damage.take();
    assert!(damage.is_empty(), "{file}: {damage:?}");
    Some(text)
}

/// Whether the CPU that has stopped runs the reader.
fn is_reader(machine: &Machine, kernel: &KernelImage) -> bool {
    current(&target(machine, kernel)).is_ok_and(|task| comm(&task) == "cat")
}

/// What the host showed for a file at both ends of the pass in which the guest made its text.
#[derive(Default)]
struct Pass {
    begin: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
}

fn five_states() {
    let config = MachineConfig {
        memory_bytes: 48 << 20,
        cpus: 4,
        disks: vec![DiskConfig::swap(64 << 20).expect("a swap disk")],
        ..MachineConfig::default()
    };
    let mut machine = machine_with(&script(), config, "swap=/dev/sda selftest=vmalloc");
    let kernel = KernelImage::parse(images::KERNEL);
    let place = |name| parse_address(&target(&machine, &kernel), 0, name).expect("a gather point").linear;
    let (begin, end) = (place("proc_gather_begin"), place("proc_gather_end"));
    assert_ne!(begin, end, "the two ends of a pass can be told apart");
    machine.add_breakpoint(begin);
    machine.add_breakpoint(end);
    let mut host = Heard::default();
    let mut passes: Vec<Pass> = Vec::new();
    let mut pass_breakpoint = false;
    loop {
        match machine.run(RunLimit { retired: Some(6_000_000_000), pass_breakpoint }, &mut host) {
            Stop::Breakpoint { .. } if is_reader(&machine, &kernel) => {
                let heard = String::from_utf8_lossy(&host.0);
                let marks: Vec<&str> = heard.lines().filter(|line| line.starts_with(MARK)).collect();
                let file = marks.last().and_then(|line| line.split(' ').nth(2)).expect("a mark before each file");
                passes.resize_with(marks.len(), Pass::default);
                let pass = passes.last_mut().expect("one for each mark");
                let text = shown(&machine, &kernel, file);
                match machine.cpu(machine.current_cpu()).eip == begin.0 {
                    true => *pass = Pass { begin: text, end: None },
                    false => pass.end = text,
                }
            }
            Stop::Breakpoint { .. } => {}
            Stop::PowerOff { status: 0 } => break,
            other => panic!("{other}: {}", String::from_utf8_lossy(&host.0)),
        }
        pass_breakpoint = true;
    }
    let printed = String::from_utf8(host.0).expect("text");
    let mut equal: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let read: Vec<(&str, &str)> = printed.split(MARK).skip(1).filter_map(|part| part.split_once('\n')).collect();
    assert_eq!(read.len(), passes.len(), "{printed}");
    for ((name, text), pass) in read.iter().zip(&passes) {
        let (state, file) = name.split_once(' ').expect("a state and a file");
        let shown = |side: &Option<Vec<u8>>| side.as_deref().map(String::from_utf8_lossy).map(String::from);
        let (begin, end) = (shown(&pass.begin), shown(&pass.end));
        let count = equal.entry((state, file)).or_default();
        if begin.as_deref() == Some(*text) {
            *count += 1;
        } else {
            // An interrupt or another CPU changed it in the pass itself, which both ends show.
            assert!(
                begin.is_none() || begin != end,
                "{state}: {file}:\n{}\nin the guest:\n{text}",
                begin.unwrap_or_default()
            );
        }
    }
    assert_eq!(equal.len(), STATES.len() * (SYSTEM_FILES.len() + OF_FOLDER.len() + OWN.len()), "{:?}", equal.keys());
    let never: Vec<_> = equal.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    assert!(never.is_empty(), "never equal: {never:?}");
    let text = |state: &str, file: &str| {
        let wanted = format!("{state} {file}");
        read.iter().find(|(name, _)| *name == wanted).expect("was read").1
    };
    let areas = text("fresh", "vmallocinfo");
    for kind in [
        "acpi_os_map_iomem+0x",
        "selftest::vmalloc::run+0x",
        " pages=3 vmalloc\n",
        " pages=2 vmap\n",
        " phys=0x000ff000 ioremap\n",
        " unpurged vm_area\n",
    ] {
        assert!(areas.contains(kind), "{kind} in {areas}");
    }
    let areas = text("modules", "vmallocinfo");
    assert!(areas.contains(" [sample_vmalloc] pages=16 vmalloc\n"), "the caller's module: {areas}");
    let modules = text("modules", "modules");
    assert!(modules.contains(" 1 sample_user, Live 0xf") && modules.lines().count() == 3, "{modules}");
    assert!(text("storm", "cpuinfo").matches("processor").count() == 4);
    let swapped =
        |state: &str| text(state, "swaps").lines().nth(1).map(|line| line.split('\t').nth(3).map(str::to_owned));
    assert_ne!(swapped("pressed"), swapped("fresh"), "the pressure reaches swap");
}

/// The words of a file as the guest's `hexdump` printed them: equal lines are `*`.
fn from_dump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut repeat = false;
    for line in text.lines() {
        if line == "*" || line.len() == 8 {
            let end = usize::from_str_radix(line, 16);
            if let (Ok(end), true) = (end, repeat) {
                let last = bytes[bytes.len() - 16..].to_vec();
                (bytes.len()..end).step_by(16).for_each(|_| bytes.extend_from_slice(&last));
            }
            repeat = true;
            continue;
        }
        let mut columns = line.split('|').next().unwrap_or_default().split_whitespace();
        let offset = usize::from_str_radix(columns.next().expect("an offset"), 16).expect("hex");
        if std::mem::take(&mut repeat) {
            let last = bytes[bytes.len() - 16..].to_vec();
            while bytes.len() < offset {
                bytes.extend_from_slice(&last);
            }
        }
        assert_eq!(bytes.len(), offset, "{line}");
        bytes.extend(columns.map(|byte| u8::from_str_radix(byte, 16).expect("hex")));
    }
    bytes
}

/// A part of a file that the guest reads in one call, as the host showed it when the call began.
const READ: &str = "<kernel::fs::procfs::page::WordFile as kernel::fs::file::FileOps>::read";

/// Of `init`, which sleeps.
fn pagemap() {
    let script = "cat /proc/1/pagemap >/tmp/words; hexdump -C /tmp/words";
    let mut machine = machine_with(script, MachineConfig::default(), "");
    let kernel = KernelImage::parse(images::KERNEL);
    let read = parse_address(&target(&machine, &kernel), 0, READ).expect("the kernel's function").linear;
    machine.add_breakpoint(read);
    let mut host = Heard::default();
    let mut shown = Vec::new();
    loop {
        let limit = RunLimit { retired: Some(4_000_000_000), pass_breakpoint: !shown.is_empty() };
        match machine.run(limit, &mut host) {
            Stop::Breakpoint { .. } => {
                let target = target(&machine, &kernel);
                shown.push(process_file(&target, 1, "pagemap").expect("books").expect("a file"));
            }
            Stop::PowerOff { status: 0 } => break,
            other => panic!("{other}"),
        }
    }
    let guest = from_dump(&String::from_utf8(host.0).expect("text"));
    // The last call finds the end.
    let whole = shown.pop().expect("calls");
    assert_eq!(guest.len(), whole.len());
    let part = guest.len().div_ceil(shown.len());
    let words = |bytes: &[u8]| {
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8"))).collect::<Vec<_>>()
    };
    let mapped = words(&guest).iter().filter(|word| **word != 0).count();
    assert!(mapped > 20, "{mapped} pages");
    for (n, (guest, shown)) in guest.chunks(part).zip(&shown).enumerate() {
        let (guest, ours) = (words(guest), words(&shown[n * part..][..guest.len()]));
        let wrong = guest.iter().zip(&ours).position(|(a, b)| a != b);
        assert_eq!(wrong.map(|at| (n * part / 8 + at, guest[at], ours[at])), None);
    }
}
