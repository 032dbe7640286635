//! The arrows between crates point down only (ARCHITECTURE.md, "Code map").

use std::{collections::BTreeSet, fs};

use libtest_mimic::Trial;

use crate::support::{root, trial};

/// Every crate with those of our own that it may name. A crate that is not listed fails the test.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("crates/x86", &[]),
    ("crates/memory", &["x86"]),
    ("crates/cpu", &["x86", "memory"]),
    ("crates/devices", &[]),
    ("crates/machine", &["x86", "memory", "cpu", "devices"]),
    ("crates/inspect", &["x86", "memory", "cpu", "machine", "abi"]),
    ("crates/gdb", &["x86", "memory", "cpu", "machine", "inspect", "abi"]),
    ("guests/abi", &[]),
    ("guests/mm", &["x86", "abi"]),
    ("guests/images", &["abi"]),
    ("tools/bench", &["abi", "images"]),
    ("tools/pagewalk", &["x86", "machine", "inspect", "gdb", "abi", "images"]),
    ("tests/fuzz", &["x86", "memory", "cpu", "machine", "inspect", "gdb", "abi", "mm"]),
    ("tests/oracle", &["x86", "memory", "cpu"]),
    ("tests/privileged", &["x86", "memory", "cpu"]),
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("layering::arrows_between_crates_point_down_only", &[], arrows_point_down),
        trial("layering::the_kernel_sees_only_x86_abi_and_mm", &[], kernel_is_apart),
    ]
}

fn own_dependencies(manifest: &str) -> BTreeSet<String> {
    const OURS: [&str; 10] = ["x86", "memory", "cpu", "devices", "machine", "inspect", "gdb", "abi", "mm", "images"];
    let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect(manifest);
    let mut in_dependencies = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]" || line == "[build-dependencies]";
        } else if in_dependencies {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let name = name.strip_prefix("pagewalk-").unwrap_or(name);
            if OURS.contains(&name) {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

fn arrows_point_down() {
    for (manifest, allowed) in MAY_USE {
        for used in own_dependencies(manifest) {
            assert!(allowed.contains(&used.as_str()), "{manifest} uses {used}, which lies beside or above it");
        }
    }
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(manifest, _)| *manifest).collect();
    for entry in fs::read_dir(root().join("crates")).expect("crates/") {
        let name = format!("crates/{}", entry.expect("entry").file_name().to_string_lossy());
        assert!(listed.contains(name.as_str()), "{name} has no place in the order of crates");
    }
}

fn kernel_is_apart() {
    if !root().join("guests/kernel/Cargo.toml").exists() {
        return;
    }
    for used in own_dependencies("guests/kernel") {
        assert!(["x86", "abi", "mm"].contains(&used.as_str()), "the kernel uses {used}");
    }
}
