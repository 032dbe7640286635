//! The fault explainer: what `run` says of faults that were staged, against text that is checked in.

mod shape;
mod stage;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Output,
};

use libtest_mimic::Trial;
use serde_json::Value;

use self::{
    shape::shape,
    stage::{Code, PAGE, Reg, jump, kernel, paged, paged_pae, program},
};
use crate::support::{pagewalk, program, root, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let staged = STAGED.iter().map(|&(name, stage)| {
        let words = name.replace(' ', "_");
        trial(&format!("why::{words}"), &[], move || compare(name, &stage()))
    });
    let others = [
        trial("why::a_program_that_handles_its_faults_hears_nothing_of_them", &[], handled),
        trial("why::a_saved_machine_still_explains_its_last_fault", &[], saved),
        trial("why::of_many_faults_only_the_first_are_told_in_full", &[], many),
        trial("why::there_is_nothing_to_explain_where_nothing_failed", &[], nothing),
        trial("why::every_fault_that_is_staged_has_its_text", &[], all_are_known),
    ];
    staged.chain(others).collect()
}

/// Faults by the name of their text.
type Stage = fn() -> String;
const STAGED: [(&str, Stage); 14] = [
    ("a directory entry that is not present", || of_program(Code::default().load(0x5000_0000))),
    ("a table entry that is not present", || of_program(Code::default().load(0x0806_0000))),
    ("a write to a page that is read only", || of_program(Code::default().store(0x0804_8000, 1))),
    ("a program in the kernels part", || of_program(Code::default().load(0xc000_0010))),
    ("a call of nothing", || of_program(Code::default().set(Reg::Eax, 0).raw(&[0xff, 0xd0]))),
    ("a stack that grows too near another area", || of_program(stack_guard())),
    ("a page behind the end of a file", || of_program(behind_the_end())),
    ("a stale translation", stale),
    ("an instruction in a page with NX", || of_kernel(jump(paged_pae(1 << 31), PAGE), &[])),
    ("a reserved bit", || of_kernel(paged_pae(1 << 20).load(PAGE), &[])),
    ("SMEP", || of_kernel(jump(paged(stage::USER, 1 << 20), PAGE), &["--cpu-model", "max"])),
    ("SMAP", || of_kernel(paged(stage::USER, 1 << 21).load(PAGE), &["--cpu-model", "max"])),
    ("a triple fault at boot", || of_kernel(stage::paged_without_tables(), &[])),
    ("a null pointer in the kernel", oops),
];

/// Where the texts are: a name after `== `, then the lines.
fn texts() -> PathBuf {
    root().join("tests/why/faults.txt")
}

/// The checked-in text of this name.
fn text_of(name: &str) -> Option<String> {
    let all = fs::read_to_string(texts()).unwrap_or_default();
    let mut parts = all.split("== ").map(|part| part.split_once('\n').unwrap_or_default());
    parts.find(|(of, _)| *of == name).map(|(_, text)| text.trim_end().to_owned())
}

/// Compares; with `PAGEWALK_NEW_TEXTS` naming a folder, leaves what was seen there, a file a fault.
fn compare(name: &str, report: &str) {
    let seen = shape(report);
    if let Some(folder) = env::var_os("PAGEWALK_NEW_TEXTS") {
        fs::write(Path::new(&folder).join(name), format!("== {name}\n{seen}\n\n")).expect("write the text");
    }
    let want = text_of(name).unwrap_or_default();
    assert!(seen == want, "{name}: seen\n{seen}\n\nchecked in\n{want}\n\nthe report\n{report}");
}

/// What `run` says of faults, out of all that it says.
fn reports(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut reports = Vec::<String>::new();
    let mut inside = false;
    for line in stderr.lines() {
        if line.starts_with("pagewalk: CPU ") {
            reports.push(format!("{line}\n"));
            inside = true;
        } else if inside && line.starts_with("  ") {
            *reports.last_mut().expect("one has begun") += &format!("{line}\n");
        } else {
            inside = false;
        }
    }
    reports
}

fn one(output: &Output) -> String {
    match &reports(output)[..] {
        [report] => report.clone(),
        _ => panic!("not one report: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn run(options: &[&str], path: &Path) -> Output {
    pagewalk().args(["run", "--follow-tables"]).args(options).arg(path).output().expect("it runs")
}

fn of_program(code: Code) -> String {
    let (_folder, path) = program::alone("crash", &program(code));
    one(&run(&[], &path))
}

fn of_kernel(code: Code, options: &[&str]) -> String {
    let (_folder, path) = program::alone("kernel", &kernel(code));
    let output = run(&[options, &["--memory", "64M", "--kernel"]].concat(), &path);
    assert_eq!(output.status.code(), Some(134), "{}", String::from_utf8_lossy(&output.stderr));
    one(&output)
}

/// mmap2 with MAP_PRIVATE, MAP_ANONYMOUS and, at an address, MAP_FIXED.
const MMAP2: u32 = 192;
const ANONYMOUS: u32 = 0x22;
const FIXED: u32 = 0x10;
const READ: u32 = 1;
const READ_WRITE: u32 = 3;
const EXIT: u32 = 1;

/// A page is mapped 2 MiB below the stack; then the program touches what is half a MiB above it.
fn stack_guard() -> Code {
    let place = |code: Code| code.raw(&[0x89, 0xe3, 0x81, 0xe3]).raw(&0xfff0_0000u32.to_le_bytes()); // mov ebx, esp; and
    let below = |code: Code, bytes: u32| place(code).raw(&[0x81, 0xeb]).raw(&bytes.to_le_bytes()); // sub ebx, bytes
    let code = Code::default()
        .set(Reg::Ecx, 0x1000)
        .set(Reg::Edx, READ_WRITE)
        .set(Reg::Esi, ANONYMOUS | FIXED)
        .set(Reg::Edi, !0)
        .set(Reg::Ebp, 0);
    let code = below(code, 0x20_0000).set(Reg::Eax, MMAP2).raw(&[0xcd, 0x80]);
    below(code, 0x18_0000).raw(&[0x89, 0x03]) // mov [ebx], eax
}

/// The program maps two pages of itself, which is shorter than one, and reads the second.
fn behind_the_end() -> Code {
    const OPEN: u32 = 5;
    let name = b"/bin/crash\0";
    // jmp over the name; its address is behind the jump
    let code = Code::default().raw(&[0xeb, name.len() as u8]).raw(name);
    let code = code.call(OPEN, &[stage::PROGRAM + 2, 0, 0]).raw(&[0x89, 0xc7]); // mov edi, eax
    let code = code.set(Reg::Ebx, 0x2000_0000).set(Reg::Ecx, 0x2000).set(Reg::Edx, READ).set(Reg::Esi, 2 | FIXED);
    code.set(Reg::Ebp, 0).set(Reg::Eax, MMAP2).raw(&[0xcd, 0x80]).load(0x2000_1000)
}

/// One thread reads a page; another takes it away while the kernel forgets to tell the first one's CPU, which
/// then writes: the entry that it holds refuses, though the tables have none.
fn stale() -> String {
    const CLONE: u32 = 120;
    const MUNMAP: u32 = 91;
    /// VM, FS, FILES, SIGHAND, THREAD.
    const THREAD: u32 = 0x1_0f00;
    const DATA: u32 = 0x2000_0000;
    const FLAGS: u32 = 0x3000_0000;
    let code = Code::default()
        .call(MMAP2, &[DATA, 0x1000, READ, ANONYMOUS | FIXED, !0, 0])
        .call(MMAP2, &[FLAGS, 0x2000, READ_WRITE, ANONYMOUS | FIXED, !0, 0])
        .store(FLAGS, 0)
        .store(FLAGS + 0x1ffc, 0)
        .call(CLONE, &[THREAD, FLAGS + 0x2000, 0, 0, 0]);
    let child = Code::default().load(DATA).store(FLAGS, 1).wait_for(FLAGS + 4).store(DATA, 1);
    // test eax, eax; jnz over the child
    let code = code.raw(&[0x85, 0xc0, 0x75, child.len() as u8]).append(child);
    let code = code.wait_for(FLAGS).call(MUNMAP, &[DATA, 0x1000]).store(FLAGS + 4, 1);
    let (_folder, path) = program::alone("crash", &program(code.wait_for(FLAGS + 8).call(EXIT, &[0])));
    one(&run(&["--cpus", "2", "--append", "tlb=noipi"], &path))
}

fn oops() -> String {
    let script = "cd /lib/modules/6.1.0-pagewalk; insmod sample_ioports.ko; insmod sample_oops.ko\n";
    let output = with_input(pagewalk().args(["run", "--follow-tables"]), script);
    assert_eq!(output.status.code(), Some(134), "{}", String::from_utf8_lossy(&output.stderr));
    one(&output)
}

/// A program that faults at address 16 with a handler that ends it with status 7.
fn with_handler() -> Vec<u8> {
    const RT_SIGACTION: u32 = 174;
    // jmp over handler and action
    let handler = Code::default().call(EXIT, &[7]);
    let at = stage::PROGRAM + 2;
    let action = [at, 0, 0, 0, 0]; // handler, flags, restorer, mask
    let place = at + handler.len();
    let skip = handler.len() as u8 + 20;
    let bytes: Vec<u8> = action.iter().flat_map(|word| word.to_le_bytes()).collect();
    let code = Code::default().raw(&[0xeb, skip]).append(handler).raw(&bytes);
    program(code.call(RT_SIGACTION, &[11, place, 0, 8]).load(0x10))
}

fn handled() {
    let (folder, path) = program::alone("crash", &with_handler());
    let saved = folder.path().join("saved");
    let saved = saved.to_str().expect("a plain path");
    let output = run(&["--save", saved], &path);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = look(saved, &["why"]);
    assert!(told.contains("SIGSEGV, for which it has a handler\n"), "{told}");
    assert!(told.contains("\n  access   read of 0x00000010 in ring 3"), "{told}");
}

fn look(saved: &str, words: &[&str]) -> String {
    let output = pagewalk().args(words).args(["--snapshot", saved]).output().expect("it looks");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn saved() {
    let (folder, path) = program::alone("crash", &program(Code::default().store(0x0804_8000, 1)));
    let saved = folder.path().join("saved");
    let saved = saved.to_str().expect("a plain path");
    let output = run(&["--save", saved], &path);
    assert_eq!(format!("pagewalk: {}", look(saved, &["why"])), one(&output));
    let told: Value = serde_json::from_str(&look(saved, &["why", "--json"])).expect("JSON");
    let want: [(&str, Value); 7] = [
        ("verdict", "signal".into()),
        ("signal", 11.into()),
        ("handled", false.into()),
        ("address", 0x0804_8000u32.into()),
        ("access", "write".into()),
        ("ring", 3.into()),
        ("error_code", 7.into()),
    ];
    for (key, value) in want {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    assert_eq!(told["refused"]["by"], "pte", "{told}");
    assert_eq!(told["refused"]["bit"], "R/W = 0", "{told}");
    assert_eq!(told["vma"]["area"]["perms"], "r-xp", "{told}");
    assert_eq!(told["by"]["text"], "mov dword ptr [8048000h], 1", "{told}");
    assert_eq!(told["by"]["memory"][0]["linear"], 0x0804_8000, "{told}");
    assert_eq!(told["process"]["name"], "crash", "{told}");
    assert!(told["changed"]["by"]["symbol"].is_string(), "{told}");
    // A machine that goes on from there keeps it, until there is another.
    let again = pagewalk().args(["run", "--snapshot", saved, "--save", saved]).output().expect("it runs");
    assert!(reports(&again).is_empty(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(format!("pagewalk: {}", look(saved, &["why"])), one(&output));
}

fn many() {
    let (_folder, path) = program::alone("crash", &program(Code::default().load(0x10)));
    let file = format!("{}=/bin/crash", path.display());
    let script = "i=0; while [ $i -lt 12 ]; do crash; i=$((i+1)); done\n";
    let output = with_input(pagewalk().args(["run", "--file", &file]), script);
    let reports = reports(&output);
    let full = reports.iter().filter(|report| report.contains("\n  PTE ") || report.contains("\n  PDE ")).count();
    assert_eq!((reports.len(), full), (12, 8), "{}", String::from_utf8_lossy(&output.stderr));
}

fn nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let saved = folder.path().join("saved");
    let output = with_input(pagewalk().args(["run", "--save"]).arg(&saved), "true\n");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = pagewalk().args(["why", "--snapshot"]).arg(&saved).output().expect("it looks");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "pagewalk: no fault of this machine is known that was not resolved\n");
}

fn all_are_known() {
    let all = fs::read_to_string(texts()).expect("the texts");
    let names: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("== ")).collect();
    assert_eq!(names, STAGED.map(|(name, _)| name));
}
