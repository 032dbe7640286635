//! `run --trace fault`: page faults from the access to the retry.

use std::{fs, process::Output};

use libtest_mimic::Trial;

use crate::support::{pagewalk, root, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("trace::the_page_on_a_first_touch_shows_what_happens", &[], document),
        trial("trace::every_fault_of_a_shell_comes_to_an_end", &[], ends),
        trial("trace::a_fault_that_kills_says_that_nobody_came_back", &[], killed),
        trial("trace::tracing_changes_nothing_in_the_machine", &[], same_run),
    ]
}

/// The embedded shell with a script.
fn shell(script: &str, options: &[&str]) -> Output {
    with_input(pagewalk().arg("run").args(options), script)
}

/// The faults of a script, a block each.
fn faults(script: &str) -> Vec<String> {
    let output = shell(script, &["--trace", "fault"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.split("\n\n").filter(|block| block.starts_with("fault ")).map(str::to_owned).collect()
}

/// A block without its numbers: what is the same for every state of the kernel.
fn shape(block: &str) -> String {
    let mut words = Vec::new();
    for line in block.trim().lines() {
        let number =
            |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).starts_with(|c: char| c.is_ascii_digit());
        let plain = |word: &str| {
            let hex = !word.is_empty() && word.chars().all(|c| c.is_ascii_hexdigit() || "-,[]().:<>".contains(c));
            if let Some((call, _)) = word.split_once("(0x") {
                format!("{call}(N") // an address that a call is given
            } else if number(word) || (hex && word.len() > 6) {
                "N".to_owned()
            } else {
                word.to_owned()
            }
        };
        // The instruction and its symbol are the compiler's.
        let line = if line.starts_with("access") { line.split(" by ").next().unwrap_or(line) } else { line };
        let line = line.split(" <").next().unwrap_or(line);
        words.push(line.split_whitespace().map(plain).collect::<Vec<_>>().join(" "));
    }
    words.join("\n")
}

/// The blocks of docs/first-touch.md, made by the command that it names.
fn document() {
    let page = fs::read_to_string(root().join("docs/first-touch.md")).expect("the page");
    let blocks: Vec<&str> = page.split("```").filter(|part| part.starts_with("\nfault ")).collect();
    assert!(blocks.len() >= 3, "the page shows {} faults", blocks.len());
    let script = page.split('\'').nth(1).expect("the page has its script");
    let seen: Vec<String> = faults(&format!("{script}\n")).iter().map(|block| shape(block)).collect();
    for block in blocks {
        let want = shape(block);
        assert!(seen.contains(&want), "no fault has this shape any more; make docs/first-touch.md anew:\n{want}");
    }
}

fn ends() {
    let faults = faults("x=$(echo hi | tr h j); echo $x\n");
    assert!(faults.len() > 20, "{} faults", faults.len());
    for fault in &faults {
        let last = fault.lines().last().expect("a line");
        let done =
            last.starts_with("TLB       filled: 0x") || last == "retry     faults again" || last.starts_with("end");
        assert!(done, "{fault}");
    }
    let abandoned = faults.iter().filter(|fault| fault.contains("\nend ")).count();
    assert_eq!(abandoned, 0, "faults that never returned: {faults:#?}");
    let refused = faults.iter().find(|fault| fault.contains("the rights refuse it")).expect("a copy on write");
    assert!(refused.contains("error code 0x7 (present, write, user)"), "{refused}");
    let kernel = faults.iter().find(|fault| fault.contains("in ring 0")).expect("a fault of the kernel's own access");
    assert!(kernel.contains("supervisor"), "{kernel}");
}

fn killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("crash");
    fs::write(&program, crash()).expect("a file");
    let output = pagewalk().args(["run", "--trace", "fault"]).arg(&program).output().expect("it runs");
    assert_eq!(output.status.code(), Some(128 + 11));
    let text = String::from_utf8_lossy(&output.stderr);
    let fault = text.split("\n\n").find(|block| block.contains("CR2 0xc0000010")).expect("the fault is told");
    assert!(fault.contains("error code 0x5 (present, read, user)"), "{fault}");
    assert!(fault.contains("\nend       "), "{fault}");
}

/// A static program that reads from the kernel's part.
fn crash() -> Vec<u8> {
    let code = [0xa1u8, 0x10, 0x00, 0x00, 0xc0]; // mov eax, [0xc0000010]
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    half(&mut elf, &[2, 3]);
    word(&mut elf, &[1, 0x0804_8054, 52, 0, 0]);
    half(&mut elf, &[52, 32, 1, 0, 0, 0]);
    let size = 84 + code.len() as u32;
    word(&mut elf, &[1, 0, 0x0804_8000, 0x0804_8000, size, size, 5, 0x1000]);
    elf.extend_from_slice(&code);
    elf
}

fn same_run() {
    let script = "seq 100 | tail -n 3\n";
    let counted = |options: &[&str]| {
        let output = shell(script, options);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let rows = text.lines().filter(|line| line.starts_with("instructions:") || line.starts_with("state_hash:"));
        (output.stdout, rows.map(str::to_owned).collect::<Vec<_>>())
    };
    let plain = counted(&["--stats"]);
    assert_eq!(plain.1.len(), 2, "{plain:?}");
    assert_eq!(counted(&["--stats", "--trace", "fault"]), plain);
}
