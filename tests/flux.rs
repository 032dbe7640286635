//! Lenses on a machine that stands in the middle of a change of its kernel's books.

use std::process::Stdio;

use inspect::{Books, KernelImage, Request, Target, in_flux, settle};
use libtest_mimic::Trial;
use machine::{Detached, Machine, RunLimit, Stop};
use x86::PhysAddr;

use crate::{
    lenses::{machine, target},
    support::{pagewalk, trial},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("flux::a_lens_shows_whole_books_though_a_zone_is_half_changed", &[], half_changed_zone),
        trial("flux::each_lock_is_seen_where_it_is_held", &[], each_lock),
        trial("flux::a_lock_that_is_never_released_is_said", &[], held_for_ever),
        trial("flux::the_note_of_a_saved_machine_goes_to_standard_error", &[], saved),
    ]
}

/// Forks, files and mappings enough to find every lock held at some instruction.
const SCRIPT: &str = "for i in 1 2 3; do ls / | cat; cat /proc/self/maps; cat /proc/iomem; done";

fn run(machine: &mut Machine, instructions: u64) {
    let retired = Some(machine.retired() + instructions);
    let stop = machine.run(RunLimit { retired, pass_breakpoint: true }, &mut Detached);
    assert_eq!(stop, Stop::Limit, "the guest has come to its end at {} instructions", machine.retired());
}

/// Runs on until `found`, looking every `step` instructions.
fn run_until(machine: &mut Machine, step: u64, found: impl Fn(&Machine) -> bool) {
    while !found(machine) {
        run(machine, step);
    }
}

fn books_whole(target: &Target<'_>) -> bool {
    let zones = Books::of(target).and_then(|books| books.zones()).expect("zones");
    zones.iter().all(|zone| {
        let free: u32 = zone.nr_free.iter().enumerate().map(|(order, blocks)| blocks << order).sum();
        free == zone.free_pages
    })
}

/// A machine that stands where the blocks of a zone do not add up to its free pages.
fn machine_in_half_changed_zone(kernel: &KernelImage) -> Machine {
    let mut machine = machine(SCRIPT);
    let held = |machine: &Machine| in_flux(&target(machine, kernel), &Request::Buddyinfo).is_some();
    run_until(&mut machine, 101, held);
    run_until(&mut machine, 1, |machine| held(machine) && !books_whole(&target(machine, kernel)));
    machine
}

fn half_changed_zone() {
    let kernel = KernelImage::parse(images::KERNEL);
    let machine = machine_in_half_changed_zone(&kernel);
    let before = (machine.state_hash(), machine.cpu(0).tlb.tlb_hash(), machine.now_ns());
    let settled = settle(&machine, Some(&kernel), &Request::Buddyinfo).expect("a copy");
    let note = settled.note.as_deref().expect("a note");
    assert!(note.starts_with("the lock of the zones is held: shown as of "), "{note}");
    let copy = settled.copy.as_ref().expect("a copy");
    assert!(copy.retired() > machine.retired() && copy.retired() < machine.retired() + 10_000, "{note}");
    assert!(books_whole(&target(copy, &kernel)));
    assert_eq!((machine.state_hash(), machine.cpu(0).tlb.tlb_hash(), machine.now_ns()), before);
    // What the copy did is what the machine will do.
    let mut machine = machine;
    let ahead = copy.retired() - machine.retired();
    run(&mut machine, ahead);
    assert_eq!(machine.state_hash(), copy.state_hash());
}

fn each_lock() {
    let kernel = KernelImage::parse(images::KERNEL);
    for (line, why) in [
        ("maps 2", "the lock of the process's address space is held"),
        ("slabinfo", "the lock of the slab caches is held"),
        ("iomem", "the lock of the resource trees is held"),
        ("ps", "the kernel's lists are being changed"),
    ] {
        let request = Request::from_words(&line.split(' ').collect::<Vec<_>>()).expect(line);
        let mut machine = machine(SCRIPT);
        run_until(&mut machine, 17, |machine| in_flux(&target(machine, &kernel), &request) == Some(why));
        let before = machine.state_hash();
        let settled = settle(&machine, Some(&kernel), &request).expect("a copy");
        assert!(settled.note.as_deref().is_some_and(|note| note.starts_with(why)), "{line}: {:?}", settled.note);
        let copy = settled.copy.expect("a copy");
        assert_eq!(in_flux(&target(&copy, &kernel), &request), None, "{line}");
        assert!(inspect::look(&target(&copy, &kernel), &request).is_ok(), "{line}");
        assert_eq!(machine.state_hash(), before, "{line}");
    }
    // The machine's own wiring is under nobody's lock.
    let wired = Request::Iomem { machine: true };
    assert_eq!(in_flux(&target(&machine_in_half_changed_zone(&kernel), &kernel), &wired), None);
}

fn held_for_ever() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = machine_in_half_changed_zone(&kernel);
    let request = Request::Buddyinfo;
    run_until(&mut machine, 1, |machine| in_flux(&target(machine, &kernel), &request).is_none());
    let books = Books::of(&target(&machine, &kernel)).expect("the kernel's books");
    let lock = books.reader().translate(x86::LinearAddr(books.root().zone_lock.0)).expect("the lock");
    machine.change_memory(PhysAddr(lock.0), &[1]);
    let settled = settle(&machine, Some(&kernel), &request).expect("a copy");
    assert!(settled.copy.is_none());
    let note = settled.note.expect("a note");
    assert!(
        note.starts_with("the lock of the zones is held, and still after ") && note.ends_with("half changed"),
        "{note}"
    );
    assert!(inspect::look(&target(&machine, &kernel), &request).is_ok(), "what can be shown is shown");
}

fn saved() {
    let kernel = KernelImage::parse(images::KERNEL);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    machine_in_half_changed_zone(&kernel).save(&file).expect("saved");
    let look = |words: &[&str]| {
        let output = pagewalk().args(words).arg("--snapshot").arg(&file).stdin(Stdio::null()).output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"))
    };
    let [text, note] = look(&["buddyinfo"]);
    assert!(text.starts_with("Node 0, zone      DMA "), "{text}");
    assert!(note.starts_with("pagewalk: note: the lock of the zones is held: shown as of "), "{note}");
    let [json, note_of_json] = look(&["buddyinfo", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok_and(|json| json.is_array()), "{json}");
    assert_eq!(note_of_json, note);
    let [_, none] = look(&["regs"]);
    assert_eq!(none, "");
}
