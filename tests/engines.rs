//! Every way of running gives the same run: blocks or slow functions, kept or translated anew,
//! entered for one instruction or for many; and with a bounded TLB too.

use abi::runfile::RunFile;
use images::Initramfs;
use libtest_mimic::Trial;
use machine::{
    Boot, Detached, DiskConfig, EngineConfig, Image, Machine, MachineConfig, RunLimit, SerialInput, Stop, TlbGeometry,
};

use crate::support::{pagewalk, trial, with_input};

/// Instructions between two looks.
const INTERVAL: u64 = 100_000;

/// How far the runs are compared; `PAGEWALK_LONG` in the environment says in millions how much further.
fn length() -> u64 {
    let millions = std::env::var("PAGEWALK_LONG").ok().and_then(|text| text.parse::<u64>().ok());
    millions.unwrap_or(4) * 1_000_000
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("engines::every_engine_agrees_at_every_look", &[], || all_agree(TlbGeometry::Unlimited)),
        trial("engines::every_engine_agrees_with_a_bounded_tlb", &[], || all_agree(bounded())),
        trial("engines::every_engine_agrees_about_a_disk", &[], about_a_disk),
        trial("engines::a_bounded_tlb_changes_no_result", &[], bounded_boot),
    ]
}

fn bounded() -> TlbGeometry {
    TlbGeometry::Bounded { entries: 16, ways: 2 }
}

/// A machine about to boot our kernel, which runs the tour, or what the file system's run file says.
fn machine_with(mut tree: Initramfs, disks: Vec<DiskConfig>, tlb: TlbGeometry, engine: EngineConfig) -> Machine {
    tree.link_userland_into_bin();
    let image = |name: &str, bytes| Image { name: name.to_owned(), bytes };
    let initramfs = tree.build().expect("an initramfs");
    let boot = Boot::Multiboot {
        kernel: image("kernel", images::KERNEL.to_vec()),
        command_line: "console=ttyS0 rdinit=/.pagewalk/init panic=-1".to_owned(),
        modules: vec![(image("initramfs", initramfs), "initramfs".to_owned())],
    };
    let config = MachineConfig {
        memory_bytes: 32 << 20,
        serial: [Some(SerialInput::None), None, None, None],
        disks,
        tlb,
        ..MachineConfig::default()
    };
    Machine::new(config, boot, engine).expect("a machine")
}

/// One that runs the tour.
fn machine(tlb: TlbGeometry, engine: EngineConfig) -> Machine {
    machine_with(Initramfs::new(), Vec::new(), tlb, engine)
}

/// One that reads a disk, and writes it over.
fn machine_with_disk(engine: EngineConfig) -> Machine {
    const SCRIPT: &[u8] = b"seq 1 30000 >/dev/sda; cat /dev/sda >/tmp/disk; cat /tmp/disk /tmp/disk >/dev/sda; sync";
    let mut tree = Initramfs::new();
    tree.set_run_file(&RunFile {
        args: vec![b"sh".to_vec(), b"-c".to_vec(), SCRIPT.to_vec()],
        env: vec![b"PATH=/bin".to_vec()],
        ..RunFile::new("/bin/sh")
    })
    .expect("a run file");
    let disk = DiskConfig::swap(256 << 10).expect("a disk");
    machine_with(tree, vec![disk], TlbGeometry::Unlimited, engine)
}

/// The state after every [`INTERVAL`] instructions, run in pieces of at most `piece`.
fn looks(tlb: TlbGeometry, engine: EngineConfig, piece: u64) -> Vec<(u64, u64)> {
    let mut machine = machine(tlb, engine);
    let mut looks = Vec::new();
    while machine.retired() < length() {
        let now = machine.retired();
        let next_look = (now / INTERVAL + 1) * INTERVAL;
        let limit = RunLimit { retired: Some(next_look.min(now.saturating_add(piece))), pass_breakpoint: false };
        let stop = machine.run(limit, &mut Detached);
        if stop != Stop::Limit || machine.retired() == next_look {
            looks.push((machine.state_hash(), machine.cpu(0).tlb.tlb_hash()));
        }
        if stop != Stop::Limit {
            break;
        }
    }
    looks
}

fn all_agree(tlb: TlbGeometry) {
    let blocks = EngineConfig::default();
    let want = looks(tlb, blocks.clone(), u64::MAX);
    assert!(want.len() as u64 >= length() / INTERVAL / 2, "the run is long enough: {} looks", want.len());
    note(tlb, &want);
    let others = [
        ("pieces of 10,000", blocks.clone(), 10_000),
        ("pieces of 1", blocks, 1),
        ("slow functions", EngineConfig { single_step: true, ..EngineConfig::default() }, u64::MAX),
        ("all kept at once", EngineConfig { eager: true, ..EngineConfig::default() }, u64::MAX),
        ("no cache", EngineConfig { uncached: true, ..EngineConfig::default() }, u64::MAX),
    ];
    for (name, engine, piece) in others {
        let got = looks(tlb, engine, piece);
        let differs = want.iter().zip(&got).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name}: look of the first difference, one every {INTERVAL} instructions");
        assert_eq!(got.len(), want.len(), "{name}");
    }
}

/// A program that reads a disk and writes it: some of it at once, or all of it word by word.
fn about_a_disk() {
    let ends = |engine: EngineConfig, piece: u64| {
        let mut machine = machine_with_disk(engine);
        loop {
            let limit = RunLimit { retired: Some(machine.retired() + piece), pass_breakpoint: false };
            match machine.run(limit, &mut Detached) {
                Stop::Limit => {}
                stop => return (stop, machine.retired(), machine.stats().port_reads, machine.state_hash()),
            }
        }
    };
    let want = ends(EngineConfig::default(), u64::MAX >> 1);
    assert_eq!(want.0, Stop::PowerOff { status: 0 });
    assert!(want.2 > 100_000, "the disk was read: {want:?}");
    let step = EngineConfig { single_step: true, ..EngineConfig::default() };
    for (name, engine, piece) in [("pieces of 997", EngineConfig::default(), 997), ("slow functions", step, 1 << 40)] {
        assert_eq!(ends(engine, piece), want, "{name}");
    }
}

/// Keeps the looks in the folder that `PAGEWALK_LOOKS` names, for a comparison with another build: one
/// chains its handlers by tail calls, another runs them in a loop.
fn note(tlb: TlbGeometry, looks: &[(u64, u64)]) {
    if let Some(folder) = std::env::var_os("PAGEWALK_LOOKS") {
        let lines: String = looks.iter().map(|(state, tlb)| format!("{state:016x} {tlb:016x}\n")).collect();
        let name = if tlb == TlbGeometry::Unlimited { "unlimited" } else { "bounded" };
        std::fs::write(std::path::Path::new(&folder).join(name), lines).expect("the looks can be kept");
    }
}

/// The same script, booted with 16 entries of 2 ways and without a limit.
fn bounded_boot() {
    let output = |options: &[&str]| {
        let script = "x=6; echo $((x * 7)); ls /bin | wc -l; workload; exit 3\n";
        let output = with_input(pagewalk().arg("run").args(options), script);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let unlimited = output(&[]);
    assert_eq!(unlimited.0, Some(3), "{unlimited:?}");
    assert!(unlimited.1.starts_with("42\n") && unlimited.1.ends_with(include_str!("programs/workload.txt")));
    assert_eq!(output(&["--tlb", "16x2"]), unlimited);
}
