//! Saved machines: what goes on from one ends as if it had never stopped, and what is damaged is refused.

use std::{
    fs,
    io::BufRead,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use machine::{EngineConfig, Machine};

use crate::{
    control::{Place, Running},
    support::{Need, pagewalk, private_mounts, trial, with_input},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("snapshots::a_storm_on_four_cpus_goes_on_in_a_new_process_as_if_it_had_never_stopped", &[], storm),
        trial(
            "snapshots::a_machine_saved_from_outside_in_a_storm_ends_as_the_one_that_went_on",
            &[],
            storm_from_outside,
        ),
        trial("snapshots::a_file_that_is_cut_or_altered_is_refused_with_the_reason", &[], damaged),
        trial("snapshots::samples_are_taken_kept_and_gone_on_with", &[], samples),
        trial("snapshots::a_full_disk_leaves_the_older_file_and_is_one_line", &[Need::PrivateMounts], full_disk),
        trial("snapshots::what_a_killed_save_left_goes_with_the_next_one", &[], killed),
        trial("snapshots::a_running_machine_is_restored_with_its_disk", &[], with_disk),
        trial("snapshots::memory_that_is_zero_or_never_touched_costs_nothing", &[], small),
    ]
}

/// Four CPUs that fork, map, unmap and shoot down; their turns are drawn.
const STORM: [&str; 5] = ["--cpus", "4", "--schedule-seed", "11", "--stats"];
const SCRIPT: &str = "smp-storm --seed 3 --processes 2 --threads 2 --rounds 3; echo over\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rows(output: &Output, names: &[&str]) -> Vec<String> {
    let said = text(&output.stderr);
    let row = |name: &&str| {
        let found = said.lines().find(|line| line.split(':').next() == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in {said}")).to_owned()
    };
    names.iter().map(row).collect()
}

/// What must be the same, however often the machine was saved on its way.
fn end(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
    rows(output, &["instructions", "state_hash", "virtual_ns"])
}

fn restored(file: &Path, options: &[&str]) -> Output {
    let mut command = pagewalk();
    command.args(["run", "--timeout", "600", "--stats", "--snapshot"]).arg(file).args(options);
    command.stdin(Stdio::null()).output().expect("run pagewalk")
}

fn storm() {
    let place = Place::new();
    let run =
        |options: &[&str]| with_input(pagewalk().args(["run", "--timeout", "600"]).args(STORM).args(options), SCRIPT);
    let whole = run(&[]);
    let at_end = end(&whole);
    assert!(text(&whole.stdout).ends_with("over\n"));
    let total: u64 = at_end[0].rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    // In the midst of it, and again a little further.
    let (first, second) = (place.file("first.pw"), place.file("second.pw"));
    let [at, further] = [total * 6 / 10, total * 8 / 10].map(|count| count.to_string());
    let begun = run(&["--save", first.to_str().expect("text"), "--save-at", &at]);
    assert_eq!(rows(&begun, &["instructions"]), [format!("instructions: {at}")]);
    let between = restored(&first, &["--save", second.to_str().expect("text"), "--save-at", &further]);
    assert_eq!(rows(&between, &["instructions"]), [format!("instructions: {further}")]);
    let [from_first, from_second] = [restored(&first, &[]), restored(&second, &[])];
    assert_eq!(end(&from_first), at_end);
    assert_eq!(end(&from_second), at_end);
    let printed = [&begun.stdout[..], &between.stdout, &from_second.stdout].concat();
    assert_eq!(text(&printed), text(&whole.stdout));
}

fn storm_from_outside() {
    let place = Place::new();
    let mut vm = place.start("vm", &STORM);
    place.text(&["pause"]);
    vm.type_line(SCRIPT.trim_end());
    drop(vm.stdin.take());
    let begun = place.json(&["step", "3000000"]);
    let state = place.text(&["stats", "--json"]);
    place.text(&["save", "storm.pw"]);
    assert_eq!(place.text(&["stats", "--json"]), state, "saving changes nothing");
    let ps = place.text(&["ps"]);
    assert!(ps.matches("smp-storm").count() >= 2, "in the midst of it: {ps}");
    assert_eq!(place.text(&["ps", "--snapshot", "storm.pw"]), ps);
    place.text(&["resume"]);
    let (status, said) = vm.end();
    assert_eq!(status, Some(0), "{said}");
    let went_on = Output { status: Default::default(), stdout: Vec::new(), stderr: said.into_bytes() };
    let again = restored(&place.file("storm.pw"), &[]);
    assert_eq!(end(&again), end(&went_on), "from {begun}");
}

/// Why the file is not restored.
fn refusal(path: &Path) -> Option<String> {
    let why = Machine::restore(path, EngineConfig::default()).err()?.to_string();
    Some(why.replace(&format!("{}: ", path.display()), ""))
}

fn damaged() {
    let place = Place::new();
    let good = place.file("good.pw");
    let saved = with_input(
        pagewalk().args(["run", "--memory", "16M", "--save-at", "6000000", "--save"]).arg(&good),
        "echo saved\n",
    );
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let whole = fs::read(&good).expect("the file");
    assert_eq!(refusal(&good), None);
    let bad = place.file("bad.pw");
    let len = whole.len();
    for cut in (0..64).chain((0..120).map(|n| n * len / 120)).chain(len - 8..len) {
        fs::write(&bad, &whole[..cut]).expect("write");
        let expected = match cut {
            0..8 => "not a snapshot".to_owned(),
            8..40 => format!("cut short: {cut} bytes of 40"),
            _ => format!("cut short: {cut} bytes of {len}"),
        };
        assert_eq!(refusal(&bad), Some(expected), "cut at {cut}");
    }
    let mut altered = whole.clone();
    for at in (0..64).chain((1..120).map(|n| n * len / 120)).chain(len - 8..len) {
        altered[at] ^= 1 << (at % 8);
        fs::write(&bad, &altered).expect("write");
        altered[at] = whole[at];
        let why = refusal(&bad).unwrap_or_else(|| panic!("byte {at} is not noticed"));
        let expected = match at {
            0..8 => "not a snapshot",
            8..12 => "a snapshot of format version",
            12..40 => "corrupt: the checksum of its header is wrong",
            _ => "corrupt: its checksum is wrong",
        };
        assert!(why.starts_with(expected), "byte {at}: {why}");
    }
    // The same at the command line: one line, no panic.
    fs::write(&bad, &whole[..len / 2]).expect("write");
    let run = |args: &[&str]| -> Output {
        let mut command: Command = place.command(args);
        command.stdin(Stdio::null()).output().expect("run pagewalk")
    };
    for (args, status) in [
        (&["regs", "--snapshot", "bad.pw"][..], 1),
        (&["run", "--snapshot", "bad.pw"], 125),
        (&["restore", "bad.pw"], 125),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        assert_eq!(text(&output.stderr), format!("pagewalk: bad.pw: cut short: {} bytes of {len}\n", len / 2));
    }
    let output = run(&["restore", "good.pw"]);
    assert_eq!(output.status.code(), Some(0), "without --vm it runs: {}", text(&output.stderr));
}

fn samples() {
    let place = Place::new();
    let run = |options: &[&str]| {
        with_input(
            place.command(&["run", "--stats", "--timeout", "600"]).args(options),
            "ls /bin >/dev/null; workload cow 64\n",
        )
    };
    let plain = run(&[]);
    let sampled = run(&["--sample", "250000", "--save", "m.pw"]);
    assert_eq!(end(&sampled), end(&plain), "sampling changes nothing");
    let machine = Machine::restore(&place.file("m.pw"), EngineConfig::default()).expect("a machine");
    let all = machine.samples().all();
    assert!(all.len() as u64 >= machine.retired() / 250_000, "{}", all.len());
    assert!(
        all[..all.len() - 1].iter().zip(1..).all(|(sample, n)| sample.retired == n * 250_000),
        "at equal distances"
    );
    let last = all.last().expect("one");
    assert_eq!(last.retired, machine.retired(), "and at the end");
    assert!(all.is_sorted_by_key(|sample| (sample.minor_faults, sample.tlb_misses, sample.tlb_flushes)));
    assert!(last.minor_faults > 100 && last.tlb_misses > 1000 && last.tlb_flushes > 10, "{last:?}");
    let free: u32 = last.free.iter().flat_map(|zone| (0..).zip(zone)).map(|(order, blocks)| blocks << order).sum();
    assert_eq!(free, last.free_pages);
    assert!(last.free_pages > 40_000 && last.page_cache > 100 && last.anonymous > 0, "{last:?}");
    // A run that goes on adds to them; one that does not sample keeps what there is.
    let first = run(&["--sample", "250000", "--save", "first.pw", "--save-at", "1000000"]);
    assert!(first.status.success());
    let on = restored(
        &place.file("first.pw"),
        &["--sample", "250000", "--save", place.file("on.pw").to_str().expect("text")],
    );
    assert!(on.status.success(), "{}", text(&on.stderr));
    let on = Machine::restore(&place.file("on.pw"), EngineConfig::default()).expect("a machine");
    assert_eq!(on.samples().all()[..4], all[..4]);
    assert!(on.samples().all().len() > 4);
}

fn small() {
    let place = Place::new();
    let size = |memory: &str, file: &str| {
        let saved = with_input(&mut place.command(&["run", "--memory", memory, "--save", file]), "exit\n");
        assert!(saved.status.success(), "{}", text(&saved.stderr));
        fs::metadata(place.file(file)).expect("the file").len()
    };
    let (little, much) = (size("32M", "little.pw"), size("1024M", "much.pw"));
    // The kernel's descriptors of a thirty-two times larger memory are more, but not its pages.
    assert!(much < little + (8 << 20), "{little} and {much} bytes");
}

/// A file system of 64 kB, on which a machine is saved beside an older file.
fn full_disk() {
    let place = Place::new();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && cd \"$1\" && echo older >m.pw && \
        \"$2\" run --timeout 600 --save m.pw; echo status $?; cat m.pw; ls -A";
    let mut unshare = private_mounts().expect("was there before");
    unshare.args(["sh", "-c", script, "sh"]).arg(place.file("")).arg(pagewalk().get_program());
    let output = with_input(&mut unshare, "exit\n");
    assert_eq!(text(&output.stdout), "status 125\nolder\nm.pw\n", "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.starts_with("pagewalk: ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("m.pw: No space left on device"), "{said}");
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.file("")).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// A file beyond its limit kills who writes it, in the midst of it.
fn killed() {
    let place = Place::new();
    fs::write(place.file("m.pw"), "older").expect("a file");
    let mut shell = Command::new("sh");
    shell.current_dir(place.file("")).arg("-c").arg("ulimit -c 0; ulimit -f 200; exec \"$0\" run --save m.pw");
    let output = with_input(shell.arg(pagewalk().get_program()), "exit\n");
    assert_eq!(output.status.signal(), Some(25), "SIGXFSZ: {}", text(&output.stderr));
    assert_eq!(fs::read_to_string(place.file("m.pw")).expect("it is there"), "older");
    let left = names(&place);
    assert!(left.len() == 2 && left[0].starts_with(".m.pw") && left[0].ends_with(".part"), "{left:?}");
    let saved = with_input(&mut place.command(&["run", "--save", "m.pw"]), "exit\n");
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    assert_eq!(names(&place), ["m.pw"]);
    assert_eq!(refusal(&place.file("m.pw")), None);
}

fn with_disk() {
    const SECTORS: usize = 16 * 512;
    let place = Place::new();
    let image = place.file("image");
    fs::write(&image, [7; SECTORS]).expect("an image");
    let mut vm = place.start("vm", &["--disk", image.to_str().expect("a path")]);
    let said = |vm: &mut Running, line: &str| {
        vm.type_line(line);
        let mut answer = String::new();
        vm.printed.read_line(&mut answer).expect("it prints");
        answer
    };
    // What is on its way to the disk is saved, too.
    assert_eq!(said(&mut vm, "printf first >/dev/sda; sync; head -c 5 /dev/sda; echo"), "first\n");
    place.text(&["pause"]);
    place.text(&["save", "first.pw"]);
    place.text(&["resume"]);
    assert_eq!(said(&mut vm, "head -c 5 /dev/sda; echo"), "first\n");
    place.text(&["restore", "first.pw", "--vm", "vm"]);
    assert_eq!(said(&mut vm, "head -c 5 /dev/sda; echo"), "first\n");
    // Beyond what the snapshot knows: the image has other bytes now.
    assert_eq!(said(&mut vm, "printf other >/dev/sda; sync; head -c 5 /dev/sda; echo"), "other\n");
    let refused = place.command(&["restore", "first.pw", "--vm", "vm"]).output().expect("run pagewalk");
    let why = text(&refused.stderr);
    assert!(!refused.status.success() && why.lines().count() == 1, "{why}");
    assert!(why.contains("image") && why.contains("is not as the machine left it"), "{why}");
    assert_eq!(said(&mut vm, "head -c 5 /dev/sda; echo"), "other\n", "and goes on");
    vm.type_line("exit 4");
    let (status, said) = vm.end();
    assert_eq!(status, Some(4), "{said}");
    assert!(fs::read(&image).expect("the image").starts_with(b"other"));
}
