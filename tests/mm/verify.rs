//! The host's own check of every frame: it agrees with the kernel's, and finds what is wrong.

use cpu::{Activity, CpuState};
use inspect::{Books, KernelImage, Request, look, settle};
use libtest_mimic::Trial;
use machine::{Detached, Machine, RunLimit, Stop};
use serde_json::Value;
use x86::{LinearAddr, PhysAddr};

use super::memory::process;
use crate::{
    lenses::{machine, target},
    support::{guest::guest, pagewalk, trial},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mm::verify::the_host_finds_every_frame_owned_once_in_the_midst_of_a_storm", &[], storm),
        trial("mm::verify::a_saved_machine_that_had_to_swap_is_whole", &[], saved),
        trial("mm::verify::what_is_wrong_is_found", &[], damage),
    ]
}

/// What the check says of a machine.
fn check(machine: &Machine, kernel: &KernelImage) -> Value {
    let settled = settle(machine, Some(kernel), &Request::Verify).expect("a copy");
    look(&target(settled.machine(machine), kernel), &Request::Verify).expect("the lens shows").json
}

fn run(machine: &mut Machine, instructions: u64) -> Stop {
    let retired = Some(machine.retired() + instructions);
    machine.run(RunLimit { retired, pass_breakpoint: true }, &mut Detached)
}

/// Whether a program runs, and no CPU the kernel: nothing of its work is half done then, unless it sleeps.
fn in_a_program(machine: &Machine) -> bool {
    let mut cpus = (0..machine.cpu_count()).map(|number| machine.cpu(number));
    let in_ring_3 = |cpu: &CpuState| cpu.selector(x86::SegReg::Cs).rpl() == 3;
    cpus.clone().any(in_ring_3) && cpus.all(|cpu| in_ring_3(cpu) || cpu.activity == Activity::Halted)
}

fn storm() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = machine("workload storm 1; workload storm 2; workload storm 3");
    let mut looks = 0;
    loop {
        match run(&mut machine, 10_007) {
            Stop::Limit => {}
            Stop::PowerOff { status: 0 } => break,
            other => panic!("{other}"),
        }
        let runs = process(&target(&machine, &kernel), "workload").is_some();
        if runs && in_a_program(&machine) {
            let report = check(&machine, &kernel);
            assert_eq!(report["error_count"], 0, "at {}: {report:#}", machine.retired());
            looks += 1;
        }
    }
    assert!(looks >= 10, "only {looks} looks");
}

fn saved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    let path = file.to_str().expect("a path of ASCII");
    let script = "exec mmprobe leaderless 16384 & sleep 1\nseq 1 50000 >/tmp/f; workload anonymous 24576 >/dev/null; sleep 1\n\
        echo 1 >/proc/sys/vm/verify && echo verified\n";
    assert_eq!(guest(&["--memory", "32M", "--swap", "64M", "--save", path], script), "written\nverified\n");
    let look = |words: &[&str]| {
        let output = pagewalk().args(words).arg("--snapshot").arg(&file).output().expect("run pagewalk");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let text = look(&["verify"]);
    assert!(text.ends_with(" entries\nverified\n"), "{text}");
    let json: Value = serde_json::from_str(&look(&["verify", "--json"])).expect("JSON");
    assert_eq!((&json["errors"], &json["in_hand"]), (&Value::Array(Vec::new()), &0.into()), "{text}");
    let swaps = look(&["swaps"]);
    let used = swaps.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u32>().ok());
    assert!(used.is_some_and(|kb| kb > 4096), "{swaps}");
}

/// Offsets in a frame's descriptor.
const REFCOUNT: u32 = 4;
const MAPCOUNT: u32 = 8;
const PRIVATE: u32 = 28;
const DESCRIPTOR_BYTES: u32 = 32;

fn damage() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = machine("while :; do :; done");
    while !(in_a_program(&machine) && process(&target(&machine, &kernel), "sh").is_some()) {
        assert_eq!(run(&mut machine, 100_003), Stop::Limit);
    }
    assert_eq!(check(&machine, &kernel)["error_count"], 0);
    let books = |machine: &Machine| *Books::of(&target(machine, &kernel)).expect("books").root();
    // A frame of the shell's, a free block, and where a word of memory is.
    let (pid, stack) = {
        let seen = target(&machine, &kernel);
        let (task, mm) = process(&seen, "sh").expect("the shell");
        (task.pid, mm.start_stack)
    };
    let walk = Request::from_words(&["walk", &format!("{stack:x}"), "--pid", &pid.to_string()]).expect("a lens");
    let physical = look(&target(&machine, &kernel), &walk).expect("mapped").json["physical"].as_u64().expect("mapped");
    let mapped = (physical >> 12) as u32;
    let free = {
        let seen = target(&machine, &kernel);
        let books = Books::of(&seen).expect("books");
        let is_free = |pfn: &u32| books.page(*pfn).is_some_and(|page| page.flags & abi::page_flags::BUDDY != 0);
        (0..books.root().max_pfn).find(is_free).expect("a free block")
    };
    let word = |machine: &Machine, addr: u32| {
        let seen = target(machine, &kernel);
        let reader = Books::of(&seen).expect("books").reader();
        (reader.translate(LinearAddr(addr)).expect("mapped"), reader.u32(LinearAddr(addr)).expect("readable"))
    };
    let descriptor = |pfn: u32, field: u32| books(&machine).mem_map.0 + pfn * DESCRIPTOR_BYTES + field;
    for (addr, change, says) in [
        (descriptor(mapped, MAPCOUNT), 1, "says 2 mappings and has 1"),
        (descriptor(mapped, REFCOUNT), u32::MAX, "(0 users, flags "),
        (descriptor(free, PRIVATE), 1, "zone "),
        (descriptor(free, REFCOUNT), 1, "is free and mapped 0 times"),
    ] {
        let (place, value): (PhysAddr, u32) = word(&machine, addr);
        let mut damaged = machine.duplicate().expect("a copy");
        damaged.change_memory(place, &value.wrapping_add(change).to_le_bytes());
        let report = check(&damaged, &kernel);
        let errors = report["errors"].as_array().expect("errors");
        let found = errors.iter().any(|error| error.as_str().is_some_and(|error| error.contains(says)));
        assert!(found, "`{says}` is not in {report:#}");
    }
}
