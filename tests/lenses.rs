//! The lenses on a real guest: what they show is what the guest itself reads.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Output, Stdio},
};

use abi::{page_flags, runfile::RunFile};
use inspect::{Books, KernelImage, Request, Target, look, parse_address, process_of_directory};
use libtest_mimic::Trial;
use machine::{Boot, Host, Image, Machine, MachineConfig, Outlet, RunLimit, SerialInput, Stop};

use crate::support::{
    asked,
    lenses::{OF_ALL, of_books},
    pagewalk, trial, with_input,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("lenses::a_frame_names_its_block_its_flags_and_who_maps_it", &[], frames_by_number),
        trial("lenses::looking_changes_nothing", &[], looking_changes_nothing),
        trial("lenses::a_running_machine_is_seen_by_its_name_and_goes_on", &[], running_machine),
        trial("lenses::a_saved_machine_shows_what_the_guest_had_read", &[], saved_machine),
        trial("lenses::a_machine_that_is_not_there_is_one_clear_line", &[], no_machine),
    ]
}

/// Keeps what the guest's program prints.
#[derive(Default)]
pub struct Heard(pub Vec<u8>);

impl Host for Heard {
    fn output(&mut self, outlet: Outlet, bytes: &[u8]) {
        if outlet == Outlet::Serial(1) {
            self.0.extend_from_slice(bytes);
        }
    }
}

/// A machine whose shell runs `script`.
pub fn machine(script: &str) -> Machine {
    machine_of(script, MachineConfig::default().memory_bytes)
}

/// The same with so much memory.
pub fn machine_of(script: &str, memory_bytes: u64) -> Machine {
    let cpus = asked::cpus();
    machine_with(script, MachineConfig { memory_bytes, cpus, ..MachineConfig::default() }, "selftest=vmalloc")
}

/// A machine of this kind whose shell runs `script`, and whose kernel is told `more`.
pub fn machine_with(script: &str, config: MachineConfig, more: &str) -> Machine {
    let mut tree = images::Initramfs::new();
    tree.link_userland_into_bin();
    tree.set_run_file(&RunFile {
        args: vec![b"sh".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()],
        env: vec![b"PATH=/bin".to_vec()],
        stdin: b"/dev/rawS1".to_vec(),
        stdout: b"/dev/rawS1".to_vec(),
        stderr: b"/dev/rawS2".to_vec(),
        ..RunFile::new("/bin/sh")
    })
    .expect("a run file");
    let initramfs = Image { name: "initramfs".into(), bytes: tree.build().expect("an initramfs") };
    let boot = Boot::Multiboot {
        kernel: Image { name: "kernel".into(), bytes: images::KERNEL.to_vec() },
        command_line: format!("console=ttyS0 rdinit=/.pagewalk/init panic=-1 {more}"),
        modules: vec![(initramfs, "initramfs".into())],
    };
    let quiet = Some(SerialInput::None);
    let config = MachineConfig { schedule_seed: asked::schedule_seed(), serial: [quiet, quiet, quiet, None], ..config };
    let mut machine = Machine::new(config, boot, machine::EngineConfig::default()).expect("a machine");
    if asked::checks_tlb() {
        // What is found interrupts the run, which no test expects.
        machine.check_tlb();
    }
    machine
}

/// What the lenses need of a machine that boots our kernel.
pub fn target<'a>(machine: &'a Machine, kernel: &'a KernelImage) -> Target<'a> {
    let cpus = (0..machine.cpu_count()).map(|number| machine.cpu(number)).collect();
    let now_ns = Some(machine.now_ns());
    Target { kernel: Some(kernel), current: machine.current_cpu(), now_ns, ..Target::new(cpus, machine.memory()) }
}

fn frames_by_number() {
    let mut machine = machine("cat /proc/self/maps");
    let kernel = KernelImage::parse(images::KERNEL);
    let begin = parse_address(&target(&machine, &kernel), 0, "proc_gather_begin").expect("the gather point").linear;
    machine.add_breakpoint(begin);
    let stop = machine.run(RunLimit { retired: Some(2_000_000_000), pass_breakpoint: false }, &mut Heard::default());
    assert!(matches!(stop, Stop::Breakpoint { .. }), "{stop}");
    let target = target(&machine, &kernel);
    let books = Books::of(&target).expect("the kernel's books");
    let (task, mm) = process_of_directory(&books, machine.cpu(0).cr3).expect("tasks").expect("a process");
    let show = |pfn: u32| {
        let answer = look(&target, &Request::Page { pfn }).expect("the lens shows");
        (String::from_utf8(answer.text).expect("text"), answer.json)
    };
    // A page of the program, by a walk through its tables.
    let area = books.vmas(&mm).expect("areas").first().expect("an area").start;
    let walk = Request::Walk { addr: format!("{area:x}"), cpu: 0, pid: Some(task.pid) };
    let physical = look(&target, &walk).expect("a walk").json["physical"].as_u64().expect("mapped");
    let (text, json) = show((physical >> 12) as u32);
    assert!(text.contains(&format!("mapped    process {} (cat) at {area:#010x}  ", task.pid)), "{text}");
    assert!(text.contains("owner     page cache of the file at 0x"), "{text}");
    assert!(json["flag_names"].as_array().expect("flags").iter().any(|name| name == "uptodate"), "{text}");
    assert_eq!(json["mapped"].as_array().map(Vec::len).map(|n| n as u64), json["mapcount"].as_u64(), "{text}");
    let (text, _) = show(mm.pgd >> 12);
    assert!(text.contains("owner     page tables\n"), "{text}");
    let with = |bit: u32| {
        let has = |pfn: &u32| books.page(*pfn).is_some_and(|page| page.flags & bit != 0);
        show((0x1000..books.root().max_pfn).find(has).expect("such a frame"))
    };
    let (text, json) = with(page_flags::BUDDY);
    assert!(text.contains(", free, on the list of type ") && json["refcount"] == 0, "{text}");
    assert_eq!(json["block"]["free"], true);
    let (text, _) = with(page_flags::SLAB);
    assert!(text.contains("owner     slab cache ") && !text.contains("cache ?"), "{text}");
    let last = books.root().max_pfn;
    let error = look(&target, &Request::Page { pfn: last }).expect_err("no such frame").to_string();
    assert_eq!(error, format!("page: frame {last:#x} has no descriptor: there are {last:#x}"));
}

fn looking_changes_nothing() {
    let mut machine = machine("ls / >/dev/null; cat /proc/self/maps");
    let kernel = KernelImage::parse(images::KERNEL);
    let more =
        ["pmap -x 1", "walk $eip", "walk 0", "walk gs:0", "pagetable --pid 1", "disas $eip 4", "sym start_kernel"];
    let lenses: Vec<&str> = of_books().chain(OF_ALL).chain(more).collect();
    let mut seen = 0;
    let mut retired = 0;
    loop {
        retired += 1_500_000;
        let limit = RunLimit { retired: Some(retired), pass_breakpoint: false };
        match machine.run(limit, &mut Heard::default()) {
            Stop::Limit => {}
            Stop::PowerOff { .. } => break,
            other => panic!("{other}"),
        }
        let before = (machine.state_hash(), machine.cpu(0).tlb.tlb_hash());
        for line in &lenses {
            let request = Request::from_words(&line.split(' ').collect::<Vec<_>>()).expect(line);
            seen += usize::from(look(&target(&machine, &kernel), &request).is_ok());
        }
        assert_eq!((machine.state_hash(), machine.cpu(0).tlb.tlb_hash()), before);
    }
    assert!(seen > 3 * lenses.len(), "only {seen} looks showed something");
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("run pagewalk")
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A shell that has read one line and waits for the next is process 2.
fn running_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = |args: &[&str]| {
        let mut command = pagewalk();
        command.env("XDG_RUNTIME_DIR", folder.path()).args(args);
        command
    };
    let mut child = command(&["run", "--name", "seen"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start pagewalk");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(b"echo started\n").expect("type");
    let mut printed = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    printed.read_line(&mut line).expect("it prints");
    assert_eq!(line, "started\n");
    let ps = stdout(run(&mut command(&["ps", "--vm", "seen"])));
    assert!(ps.contains("      2 "), "{ps}");
    assert!(ps.starts_with("    PID TTY          TIME CMD\n"), "{ps}");
    // The only machine that runs needs no name.
    let maps = stdout(run(&mut command(&["maps", "2"])));
    assert!(maps.contains("[stack]\n"), "{maps}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(run(&mut command(&["maps", "2", "--json"])))).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(maps.lines().count()));
    let twice = run(&mut command(&["run", "--name", "seen"]));
    assert_eq!(twice.status.code(), Some(125), "a name is taken only once");
    stdin.write_all(b"echo and goes on\nexit 3\n").expect("type");
    drop(stdin);
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("it prints");
    assert_eq!(rest, "and goes on\n");
    assert_eq!(child.wait().expect("its end").code(), Some(3));
    assert!(!run(&mut command(&["ps", "--vm", "seen"])).status.success(), "the socket is gone with the machine");
}

fn saved_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    let script = "cat /proc/iomem\necho ==\ncat /proc/ioports\n";
    let printed = stdout(with_input(pagewalk().args(["run", "--save"]).arg(&file), script));
    let (iomem, ioports) = printed.split_once("==\n").expect("two files");
    let lens = |words: &[&str]| stdout(run(pagewalk().args(words).arg("--snapshot").arg(&file)));
    assert_eq!(lens(&["iomem"]), iomem);
    assert_eq!(lens(&["ioports"]), ioports);
    assert!(lens(&["ps"]).contains("init\n"));
    assert!(lens(&["regs"]).starts_with("CPU 0: "));
    assert!(lens(&["walk", "c0100000"]).contains("PDE "));
    assert!(lens(&["iomem", "--machine"]).contains("System RAM"));
}

fn no_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for args in [&["maps", "1", "--vm", "nobody"][..], &["ps"], &["regs", "--snapshot", "/nonexistent"]] {
        let output = run(pagewalk().env("XDG_RUNTIME_DIR", folder.path()).args(args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.lines().count() == 1, "{args:?}: {stderr}");
        assert!(stderr.starts_with("pagewalk: "), "{stderr}");
    }
}
