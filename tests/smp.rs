//! The guest kernel on several CPUs, in our machine and in QEMU.

use libtest_mimic::Trial;

use crate::support::{
    boot::{Boot, Ended, QEMU},
    trial,
};

const MEMORY_MIB: u32 = 128;

/// Where a machine is booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Here,
    Qemu,
}

use Place::{Here, Qemu};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("smp::the_kernel_boots_on_1_2_4_and_8_cpus", &[], || counts(Here)),
        trial("smp::qemu_boots_the_kernel_on_1_2_4_and_8_cpus", &QEMU, || counts(Qemu)),
        trial("smp::parameters_keep_cpus_and_controllers_out", &[], || parameters(Here)),
        trial("smp::parameters_keep_cpus_and_controllers_out_in_qemu", &QEMU, || parameters(Qemu)),
        trial("smp::programs_on_all_cpus_compute_as_alone", &[], || side_by_side(Here)),
        trial("smp::programs_on_all_cpus_compute_as_alone_in_qemu", &QEMU, || side_by_side(Qemu)),
        trial("smp::processes_come_and_go_on_all_cpus", &[], || fork_storm(Here)),
        trial("smp::processes_come_and_go_on_all_cpus_in_qemu", &QEMU, || fork_storm(Qemu)),
        trial("smp::pipes_between_cpus_lose_nothing", &[], || pipes(Here)),
        trial("smp::pipes_between_cpus_lose_nothing_in_qemu", &QEMU, || pipes(Qemu)),
    ]
}

/// What a script printed on some CPUs.
fn run(place: Place, script: &str, cpus: u8, parameters: &str) -> String {
    let boot = Boot::of_script(script).cpus(cpus).append(parameters);
    let ended = if place == Here { boot.in_pagewalk(MEMORY_MIB) } else { boot.in_qemu(MEMORY_MIB) };
    let Ended { log, status } = &ended;
    assert_eq!(*status, Some(0), "{cpus} CPUs, {parameters}: {log}");
    ended.printed()
}

fn counts(place: Place) {
    let boot = "grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat; head -n 1 /proc/interrupts; \
                grep Cpus_allowed_list /proc/self/status; grep -c IO-APIC /proc/interrupts; \
                grep APIC /proc/iomem; exit 0";
    for (cpus, list) in [(1, "0"), (2, "0-1"), (4, "0-3"), (8, "0-7")] {
        let columns: String = (0..cpus).map(|cpu| format!("CPU{cpu}       ")).collect();
        let want = format!(
            "{cpus}\n{cpus}\n           {columns}\nCpus_allowed_list:\t{list}\n2\n\
             fec00000-fec003ff : IOAPIC 0\nfee00000-fee00fff : Local APIC\n"
        );
        assert_eq!(run(place, boot, cpus, ""), want, "{cpus} CPUs");
    }
}

fn parameters(place: Place) {
    let count = "grep -c ^processor /proc/cpuinfo; grep -c IO-APIC /proc/interrupts; grep -c ' 0    .*XT-PIC' /proc/interrupts; exit 0";
    for (parameters, cpus, io_apic) in [
        ("maxcpus=2", 2, true),
        ("maxcpus=0", 1, true),
        ("nosmp", 1, false),
        ("noapic", 1, false),
        ("nolapic", 1, false),
        ("tlb=flushall", 3, true),
    ] {
        let printed = run(place, count, 3, parameters);
        let rows: Vec<&str> = printed.lines().collect();
        assert_eq!(rows[0], cpus.to_string(), "{parameters}: {printed}");
        assert_eq!(rows[1] != "0", io_apic, "{parameters}: {printed}");
    }
}

fn side_by_side(place: Place) {
    let script = "for n in 1 2 3 4; do workload > /out$n & done; wait; cat /out1 /out2 /out3 /out4; exit 0";
    assert_eq!(run(place, script, 4, ""), include_str!("programs/workload.txt").repeat(4));
}

/// Each of four shells makes processes, which make processes.
fn fork_storm(place: Place) {
    let script = "for n in 1 2 3 4; do (for m in 1 2 3 4 5; do (/bin/true; /bin/cat /proc/self/stat > /dev/null; \
                  echo $n$m) & done; wait) & done | sort | tr '\\n' ' '; exit 0";
    let numbers: Vec<String> = (1..=4).flat_map(|n| (1..=5).map(move |m| format!("{n}{m}"))).collect();
    let printed = run(place, script, 4, "");
    let printed: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(printed, numbers);
}

fn pipes(place: Place) {
    let script = "seq 1 20000 | cat | cat | cat | wc -l; exit 0";
    assert_eq!(run(place, script, 4, "").trim(), "20000");
}
