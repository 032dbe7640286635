//! Two saved machines side by side, and what is said of kernels that are not ours.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("diff::two_saved_machines_differ_in_what_a_program_did", &[], one_program),
        trial("diff::what_page_tables_cost_agrees_with_vmpte", &[], cost),
        trial("diff::hardware_alone_tells_of_a_kernel_that_is_not_ours", &[], foreign),
        trial("diff::a_file_that_is_no_machine_is_one_clear_line", &[], bad_files),
    ]
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("run pagewalk")
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn save(file: &Path, script: &str) {
    stdout(with_input(pagewalk().args(["run", "--save"]).arg(file), script));
}

fn one_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    save(&a, "true\n");
    save(
        &b,
        "insmod /.pagewalk/lib/modules/sample_kmalloc.ko; for n in 1 2 3 4 5; do cat /proc/self/maps >/tmp/$n; done\nsleep 100 &\n",
    );
    let diff = |more: &[&str]| stdout(run(pagewalk().arg("diff").args([&a, &b]).args(more)));
    let text = diff(&[]);
    for part in [
        "Pages that differ: ",
        "Free lists",
        "zone Normal",
        "Caches",
        "Counters: vmstat",
        "pgfault",
        "Counters: run",
        "instructions",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json: Value = serde_json::from_str(&diff(&["--json"])).expect("JSON");
    let pages = json["pages"].as_array().expect("rows");
    let sum: u64 = pages.iter().filter_map(|row| row["pages"].as_u64()).sum();
    assert_eq!(json["pages_changed"], sum);
    assert!(pages.iter().any(|row| row["owner"].as_str().is_some_and(|owner| owner.starts_with("slab cache "))));
    // What belongs to nobody is free: also the rest of a larger block has an owner.
    let kernel_stacks = pages.iter().find(|row| row["owner"] == "kernel stacks").expect("tasks came");
    assert!(kernel_stacks["pages"].as_u64() >= Some(2), "{kernel_stacks}");
    let free = pages.iter().filter(|row| row["owner"] == "nobody: free").flat_map(|row| row["frames"].as_array());
    for pfn in free.flatten().map(|range| range[0].to_string()) {
        let page = stdout(run(pagewalk().args(["page", &pfn, "--json", "--snapshot"]).arg(&b)));
        let page: Value = serde_json::from_str(&page).expect("JSON");
        let rest_of_block = page["block"]["order"] != 0 && page["block"]["free"] == false;
        assert!(page["refcount"] == 0 && !rest_of_block, "{page}");
    }
    assert!(json["counters_vmstat"]["pgfault"][1].as_u64() > json["counters_vmstat"]["pgfault"][0].as_u64());
    // Nothing differs from itself.
    assert_eq!(stdout(run(pagewalk().arg("diff").args([&a, &a]))), "nothing changed\n");
}

fn cost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    save(&file, "true\n");
    let cost =
        |more: &[&str]| stdout(run(pagewalk().args(["pagetable", "--cost", "--snapshot"]).arg(&file).args(more)));
    assert!(cost(&[]).starts_with("    PID  directory  tables       kB  one level  VmPTE  COMMAND\n"));
    let json: Value = serde_json::from_str(&cost(&["--json"])).expect("JSON");
    let rows = json["processes"].as_array().expect("rows");
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row["agrees"], true, "{row}");
        let tables = row["table_pages"].as_u64().expect("a count");
        assert!(tables > 0 && row["kb"] == 4 * (1 + tables) && row["one_level_kb"] == 4096, "{row}");
        let status = stdout(run(pagewalk().args(["status", &row["pid"].to_string(), "--snapshot"]).arg(&file)));
        let line = status.lines().find(|line| line.starts_with("VmPTE:")).expect("VmPTE");
        assert_eq!(line, format!("VmPTE:\t{:8} kB", 4 * tables));
    }
}

fn bad_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("x");
    std::fs::write(&file, "no machine").expect("write");
    for args in
        [vec!["diff", "/nonexistent", "/nonexistent"], vec!["diff", file.to_str().expect("text"), "/nonexistent"]]
    {
        let output = run(pagewalk().args(args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.lines().count() == 1 && stderr.starts_with("pagewalk: "),
            "{stderr}"
        );
    }
}

/// A ROM whose code counts for ever.
fn rom() -> Vec<u8> {
    let mut rom = vec![0x90; 0x1_0000];
    // inc ax; jmp to it; and at the reset vector a jump to F000:0000.
    rom[..3].copy_from_slice(&[0x40, 0xeb, 0xfd]);
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0x00, 0x00, 0x00, 0xf0]);
    rom
}

fn foreign() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (image, saved) = (folder.path().join("rom"), folder.path().join("saved"));
    std::fs::write(&image, rom()).expect("write");
    let output = run(pagewalk().args(["run", "--save-at", "1000", "--save"]).arg(&saved).arg("--bios").arg(&image));
    assert!(saved.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    for lens in [
        "walk 1000",
        "pagetable",
        "tlb",
        "regs",
        "bt",
        "iomem --machine",
        "ioports --machine",
        "stats",
        "page 0x10",
        "x 0 4",
        "disas $eip 2",
    ] {
        let look = |json: bool| {
            let mut command = pagewalk();
            command.args(lens.split(' ')).arg("--snapshot").arg(&saved);
            stdout(run(if json { command.arg("--json") } else { &mut command }))
        };
        assert!(!look(false).is_empty(), "{lens}");
        serde_json::from_str::<Value>(&look(true)).unwrap_or_else(|why| panic!("{lens}: {why}"));
    }
    for lens in ["ps", "maps 1", "smaps 1", "status 1", "meminfo", "buddyinfo", "iomem", "slabinfo", "pagetable --cost"]
    {
        let output = run(pagewalk().args(lens.split(' ')).arg("--snapshot").arg(&saved));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "pagewalk: the machine runs no kernel that this program knows\n", "{lens}");
        assert_eq!(output.status.code(), Some(1), "{lens}");
    }
}
