//! Lenses on a kernel that is not ours: a small Multiboot ELF with paging, an IDT and symbols, and no books.

use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    control::Place,
    support::{lenses::of_books, pagewalk, trial},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("foreign::hardware_and_symbols_tell_of_a_kernel_that_is_not_ours", &[], lenses),
        trial("foreign::what_only_books_tell_is_refused_in_one_line", &[], refused),
        trial("foreign::a_trace_names_its_functions_and_its_interrupt", &[], traced),
    ]
}

/// Where the image is loaded, and runs.
const BASE: u32 = 0x10_0000;
/// Offsets in it: code, a GDT, pointers to the tables, an IDT, the page directory, a page table.
const CODE: usize = 0x20;
const GDT: usize = 0x200;
const POINTERS: usize = 0x300;
const IDT: usize = 0x1000;
const DIRECTORY: usize = 0x2000;
const TABLE: usize = 0x3000;
const IMAGE_BYTES: usize = 0x4000;
/// The frames that the table maps at 3 GiB: one to write, one to read.
const FRAMES: [u32; 2] = [0x10_5000, 0x10_6000];
/// The vector that the kernel calls itself.
const VECTOR: usize = 0x30;

/// The functions in their order, each with its code.
const FUNCTIONS: &[(&str, &[u8])] = &[
    (
        "start",
        &[
            0xbc, 0x00, 0x00, 0x12, 0x00, // mov esp, 0x120000
            0x31, 0xed, // xor ebp, ebp
            0x0f, 0x01, 0x15, 0x00, 0x03, 0x10, 0x00, // lgdt [0x100300]
            0x0f, 0x01, 0x1d, 0x08, 0x03, 0x10, 0x00, // lidt [0x100308]
            0xb8, 0x10, 0x00, 0x00, 0x00, // mov eax, 0x10
            0x8e, 0xd0, // mov ss, ax
            0x8e, 0xd8, // mov ds, ax
            0x0f, 0x22, 0xe0, // mov cr4, eax (PSE is bit 4)
            0xb8, 0x00, 0x20, 0x10, 0x00, // mov eax, 0x102000
            0x0f, 0x22, 0xd8, // mov cr3, eax
            0x0f, 0x20, 0xc0, // mov eax, cr0
            0x0d, 0x00, 0x00, 0x01, 0x80, // or eax, 0x80010000 (PG, WP)
            0x0f, 0x22, 0xc0, // mov cr0, eax
            0xea, 0x5b, 0x00, 0x10, 0x00, 0x08, 0x00, // jmp 0x8:main
        ],
    ),
    (
        "main",
        &[
            0x55, // push ebp
            0x89, 0xe5, // mov ebp, esp
            0xe8, 0x00, 0x00, 0x00, 0x00, // call work
        ],
    ),
    (
        "work",
        &[
            0x55, // push ebp
            0x89, 0xe5, // mov ebp, esp
            0xc7, 0x05, 0x00, 0x00, 0x00, 0xc0, 0x2a, 0x00, 0x00, 0x00, // mov dword [0xc0000000], 42
            0xa1, 0x00, 0x10, 0x00, 0xc0, // mov eax, [0xc0001000]
            0xcd, 0x30, // int 0x30
            0xff, 0x05, 0x10, 0x00, 0x00, 0xc0, // again: inc dword [0xc0000010]
            0xeb, 0xf8, // jmp again
        ],
    ),
    ("handler", &[0xcf]), // iret
];

/// Offset and size of a function in the image.
fn function(wanted: &str) -> (usize, usize) {
    let mut at = CODE;
    for (name, code) in FUNCTIONS {
        if *name == wanted {
            return (at, code.len());
        }
        at += code.len();
    }
    panic!("no function {wanted}");
}

/// The address at which the loop begins.
fn again() -> u32 {
    let (at, size) = function("work");
    BASE + (at + size) as u32 - 8
}

fn put(bytes: &mut [u8], at: usize, words: &[u32]) {
    for (place, word) in bytes[at..].chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// What is loaded.
fn image() -> Vec<u8> {
    let mut image = vec![0; IMAGE_BYTES];
    let magic = 0x1bad_b002u32;
    put(&mut image, 0, &[magic, 0, magic.wrapping_neg()]);
    for (name, code) in FUNCTIONS {
        let (at, size) = function(name);
        image[at..at + size].copy_from_slice(code);
    }
    // Null, flat code, flat data.
    put(&mut image, GDT, &[0, 0, 0xffff, 0x00cf_9a00, 0xffff, 0x00cf_9200]);
    let pointer = |limit: u32, offset: usize| {
        let base = BASE + offset as u32;
        [limit | base << 16, base >> 16]
    };
    put(&mut image, POINTERS, &pointer(0x17, GDT));
    put(&mut image, POINTERS + 8, &pointer(0x7ff, IDT));
    let handler = BASE + function("handler").0 as u32;
    put(&mut image, IDT + VECTOR * 8, &[8 << 16 | handler & 0xffff, handler & 0xffff_0000 | 0x8e00]);
    // 4 MiB as they are, and two pages at 3 GiB.
    put(&mut image, DIRECTORY, &[0x83]);
    put(&mut image, DIRECTORY + 768 * 4, &[BASE + TABLE as u32 + 3]);
    put(&mut image, TABLE, &[FRAMES[0] + 3, FRAMES[1] + 1]);
    image
}

/// The ELF file: one segment, and symbols.
fn elf() -> Vec<u8> {
    const SEGMENT_AT: usize = 0x1000;
    let image = image();
    let (mut symbols, mut strings) = (vec![0u8; 16], vec![0u8]);
    for (name, _) in FUNCTIONS {
        let (at, size) = function(name);
        let mut symbol = [0; 16];
        // A global function of section 1.
        put(&mut symbol, 0, &[strings.len() as u32, BASE + at as u32, size as u32, 0x0001_0012]);
        symbols.extend(symbol);
        strings.extend(name.bytes().chain([0]));
    }
    let names = b"\0.text\0.symtab\0.strtab\0";
    let symbols_at = SEGMENT_AT + image.len();
    let strings_at = symbols_at + symbols.len();
    let names_at = strings_at + strings.len();
    let sections_at = (names_at + names.len()).next_multiple_of(4);
    let mut file = vec![0; sections_at + 5 * 40];
    file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    let entry = BASE + function("start").0 as u32;
    put(&mut file, 16, &[3 << 16 | 2, 1, entry, 52, sections_at as u32, 0, 32 << 16 | 52, 40 << 16 | 1, 4 << 16 | 5]);
    let bytes = image.len() as u32;
    put(&mut file, 52, &[1, SEGMENT_AT as u32, BASE, BASE, bytes, bytes, 7, 0x1000]);
    let sections = [
        [1, 1, 7, BASE, SEGMENT_AT as u32, bytes, 0, 0, 16, 0],
        [7, 2, 0, 0, symbols_at as u32, symbols.len() as u32, 3, 1, 4, 16],
        [15, 3, 0, 0, strings_at as u32, strings.len() as u32, 0, 0, 1, 0],
        [0, 3, 0, 0, names_at as u32, names.len() as u32, 0, 0, 1, 0],
    ];
    for (n, section) in sections.iter().enumerate() {
        put(&mut file, sections_at + (n + 1) * 40, section);
    }
    for (at, part) in [(SEGMENT_AT, &image[..]), (symbols_at, &symbols), (strings_at, &strings), (names_at, names)] {
        file[at..at + part.len()].copy_from_slice(part);
    }
    file
}

/// The kernel's file in a folder with its machines.
fn kernel(place: &Place) -> PathBuf {
    let path = place.file("kernel");
    fs::write(&path, elf()).expect("write the kernel");
    path
}

fn output(place: &Place, args: &[&str]) -> Output {
    place.command(args).stdin(Stdio::null()).output().expect("run pagewalk")
}

/// A saved machine in which the kernel has run so many instructions.
fn save(place: &Place, name: &str, instructions: &str) {
    let kernel = kernel(place);
    let output = output(
        place,
        &["run", "--memory", "16M", "--save", name, "--save-at", instructions, kernel.to_str().expect("a path")],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What each lens shows where the kernel is in its loop.
fn shown() -> Vec<(&'static str, Vec<String>)> {
    let work = BASE + function("work").0 as u32;
    let main = BASE + function("main").0 as u32;
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    vec![
        ("walk c0000010", lines(&["PDE ", "PTE ", "0x00105010"])),
        ("walk c0002000", lines(&["not present"])),
        ("pagetable", lines(&["c0000000", "00105000"])),
        ("tlb", lines(&["c0000000", "00105000"])),
        ("regs", lines(&["CPU 0: ", "cr3 00102000"])),
        ("bt", vec!["work+0x".into(), "main+0x8".into()]),
        ("iomem --machine", lines(&["System RAM", "Local APIC"])),
        ("ioports --machine", lines(&["pic1"])),
        ("stats", lines(&["instructions"])),
        ("page 0x105", lines(&["c0000000"])),
        ("x c0000000 1", lines(&["0000002a"])),
        ("disas work 4", vec!["<work>".into(), format!("{work:08x}"), "push ebp".into(), "[0C0000000h], 2Ah".into()]),
        ("sym work", vec![format!("{work:08x}")]),
        ("sym main", vec![format!("{main:08x}")]),
        ("sym 0x10005d", vec!["main+0x2".into()]),
        ("timeline", lines(&[])),
        ("screen", lines(&[])),
    ]
}

/// Compares every lens with what it must show; `how` says of which machine.
fn compare(place: &Place, how: &[&str]) {
    for (words, parts) in shown() {
        let words: Vec<&str> = words.split(' ').chain(how.iter().copied()).collect();
        let text = place.text(&words);
        for part in parts {
            assert!(text.contains(&part), "{words:?} lacks {part}:\n{text}");
        }
        let _: Value = place.json(&words);
    }
}

fn lenses() {
    let place = Place::new();
    save(&place, "a.pw", "5000");
    save(&place, "b.pw", "5002");
    compare(&place, &["--snapshot", "a.pw"]);
    let diff = place.text(&["diff", "a.pw", "b.pw"]);
    assert!(diff.contains("instructions") && diff.contains("Pages that differ: 1"), "{diff}");
    place.text(&["report", "a.pw", "-o", "a.html"]);
    assert!(fs::read_to_string(place.file("a.html")).expect("a page").contains("<html"));
    // The same of one that runs.
    let kernel = kernel(&place);
    let mut command = place.command(&["run", "--memory", "16M", "--name", "vm", "--timeout", "600"]);
    let child = command.arg(kernel).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("start pagewalk");
    while !output(&place, &["pause", "--vm", "vm"]).status.success() {
        assert_eq!(child.try_wait().expect("its state"), None, "the machine runs");
        std::thread::yield_now();
    }
    // Beyond its first instructions, wherever it was when it was paused.
    place.text(&["step", "100", "--vm", "vm"]);
    compare(&place, &["--vm", "vm"]);
    place.text(&["quit", "--vm", "vm"]);
    assert_eq!(child.wait().expect("its end").code(), Some(130));
}

fn refused() {
    let place = Place::new();
    save(&place, "a.pw", "5000");
    for lens in of_books().chain(["walk 0 --pid 1", "proc -o p"]) {
        let words: Vec<&str> = lens.split(' ').chain(["--snapshot", "a.pw"]).collect();
        let output = output(&place, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{lens}");
        assert!(
            said.lines().count() == 1 && said.contains("keeps no books that this program can read"),
            "{lens}: {said}"
        );
    }
}

fn traced() {
    let place = Place::new();
    let kernel = kernel(&place);
    let run = |what: &str| {
        let mut command = pagewalk();
        command.args(["run", "--memory", "16M", "--max-instructions", "100", "--trace", what]).arg(&kernel);
        let output = command.stdin(Stdio::null()).output().expect("run pagewalk");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = run("exec,int,mem");
    let loop_begins = format!("{:#010x} <work+0x", again());
    for part in [
        "<start",
        "<main",
        "executes INT 0x30",
        "<handler",
        "writes 4 at 0xc0000000 (physical 0x00105000)",
        &loop_begins,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
