//! What each CPU of the guest has of its own: page lists and slab arrays, interrupts of devices, its
//! place in `/sys`; and the kernel's pre-emption.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    boot::{Boot, QEMU},
    guest::guest,
    pagewalk, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("percpu::each_cpu_has_page_lists_and_slab_arrays_of_its_own", &[], lists_and_arrays),
        trial("percpu::draining_brings_every_free_page_back", &[], || {
            [1, 2, 4].into_iter().for_each(|cpus| drained(&settled(cpus)));
        }),
        trial("percpu::it_does_so_in_qemu", &QEMU, || {
            let ended = Boot::of_script(&format!("{DRAIN}\nexit 0")).cpus(4).in_qemu(128);
            assert_eq!(ended.status, Some(0), "{}", ended.log);
            drained(&ended.printed());
        }),
        trial("percpu::a_line_interrupts_the_cpu_that_it_is_sent_to", &[], lines),
        trial("percpu::sets_of_cpus_that_no_line_can_have_are_refused", &[], refused),
        trial("percpu::programs_count_the_cpus_in_sys", &[], counted),
        trial("percpu::a_long_system_call_is_seen_half_done_on_one_cpu", &[], || {
            for options in [&["--memory", "128M"][..], &["--memory", "128M", "--cpus", "4"]] {
                assert_eq!(guest(options, "preempt"), "preempt: a read of 32 MiB was seen half done\n", "{options:?}");
            }
        }),
    ]
}

const FOUR: [&str; 4] = ["--memory", "128M", "--cpus", "4"];

/// Programs come and go on all CPUs.
const STORM: &str =
    "storm() { for n in 1 2 3 4; do (for m in 1 2 3; do ls -l /proc /bin | sort >/dev/null; done) & done
    smp-storm --rounds 4 >/dev/null; wait; }";

fn lists_and_arrays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    let path = file.to_str().expect("a plain path");
    let script = format!("{STORM}\nstorm; echo 1 >/proc/sys/vm/verify && echo verified; cat /proc/zoneinfo");
    let printed = guest(&["--memory", "128M", "--cpus", "4", "--save", path], &script);
    let zoneinfo = printed.strip_prefix("verified\n").unwrap_or_else(|| panic!("{printed}"));
    let normal = &zoneinfo[zoneinfo.find("zone   Normal").expect("a zone")..];
    let rows = |name: &str| -> Vec<u32> {
        let of_name = |line: &str| line.trim().strip_prefix(name)?.trim().parse().ok();
        normal.lines().filter_map(of_name).take(4).collect()
    };
    assert_eq!(rows("cpu:"), [0, 1, 2, 3], "{normal}");
    assert!(rows("count:").iter().filter(|&&count| count > 0).count() >= 2, "{normal}");
    let high = rows("high:")[0];
    assert!(rows("high:").iter().all(|&other| other == high) && rows("count:").iter().all(|&n| n <= high), "{normal}");
    let look = |lens: &str| -> Value {
        let output = pagewalk().args([lens, "--json", "--snapshot", path]).output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let report = look("verify");
    assert_eq!(report["errors"], Value::Array(Vec::new()), "{report:#}");
    assert!(report["in_cpu_arrays"].as_u64().is_some_and(|objects| objects > 0), "{report:#}");
    let zones = look("zoneinfo");
    let zones = zones.as_array().expect("zones");
    let lists = |zone: &Value| -> u64 {
        let counts = zone["cpu_lists"].as_array().expect("a count a CPU");
        assert_eq!(counts.len(), 4, "{zone:#}");
        counts.iter().filter_map(Value::as_u64).sum()
    };
    assert_eq!(Some(zones.iter().map(lists).sum::<u64>()), report["in_cpu_lists"].as_u64(), "{report:#}");
}

/// The pages of the zones before and after storms, once the lists and arrays of all CPUs have been emptied. The
/// first storm fills the caches of what stays.
const DRAIN: &str =
    "storm() { for n in 1 2 3 4; do (for m in 1 2 3; do ls -l /proc /bin | sort >/dev/null; done) & done
    smp-storm --rounds 3 >/dev/null; wait; }
    settle() { sleep 1; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; cat /proc/zoneinfo; }
    storm; settle >/dev/null; storm; settle; echo ==; storm; settle; echo ==
    echo 1 >/proc/sys/vm/verify && echo verified";

fn settled(cpus: u32) -> String {
    guest(&["--memory", "128M", "--cpus", &cpus.to_string()], DRAIN)
}

/// Who prints the pages takes some for itself, from a list of its CPU, and objects of slabs: those of one look are
/// told at one instant, and not one may be missing.
fn drained(printed: &str) {
    let looks: Vec<&str> = printed.split("==\n").collect();
    let [before, after, "verified\n"] = looks[..] else { panic!("{printed}") };
    let pages = |look: &str| -> u32 {
        let kinds = ["pages free", "count:", "nr_slab_reclaimable", "nr_slab_unreclaimable"];
        let number = |line: &str| kinds.iter().find_map(|kind| line.trim().strip_prefix(kind)?.trim().parse().ok());
        let numbers: Vec<u32> = look.lines().filter_map(number).collect();
        assert!(numbers.len() > 4, "{look}");
        numbers.iter().sum()
    };
    assert_eq!(pages(before), pages(after), "{printed}");
}

/// The line by which the program's input comes, at CPU 0, then at CPU 2.
const LINES: &str = "cd /proc/irq; cat default_smp_affinity 3/smp_affinity 3/smp_affinity_list 3/effective_affinity
    grep ' 3-' /proc/interrupts; echo 4 >3/smp_affinity; cat 3/smp_affinity_list 3/effective_affinity
    sleep 1; seq 1 40 | wc -l; grep ' 3-' /proc/interrupts
    echo 1,3 >3/smp_affinity_list; cat 3/smp_affinity 3/effective_affinity_list";

fn lines() {
    let printed = guest(&FOUR, LINES);
    let rows: Vec<&str> = printed.lines().collect();
    assert_eq!(rows.len(), 11, "{printed}");
    let counts = |row: &str| -> Vec<u32> {
        let numbers = row.split_once(": ").map_or("", |(_, rest)| rest);
        numbers.split_whitespace().take(4).map(|word| word.parse().expect("a count")).collect()
    };
    assert_eq!((&rows[..4], &rows[5..7]), (&["f", "f", "0-3", "1"][..], &["2", "4"][..]), "{printed}");
    let (before, after) = (counts(rows[4]), counts(rows[8]));
    assert!(before[0] > 0 && before[1..].iter().all(|&count| count == 0), "{printed}");
    assert!(after[2] > 0 && after[1] == 0 && after[3] == 0, "{printed}");
    assert_eq!(rows[9..], ["a", "1"], "{printed}");
}

fn refused() {
    let script = "cd /proc/irq; for set in 0 10 x ''; do echo \"$set\" >4/smp_affinity || echo no; done
        echo 4-1 >4/smp_affinity_list || echo no; cat 4/smp_affinity; echo 1 >4/effective_affinity || echo no
        ls 4 | tr '\\n' ' '; cat 2/smp_affinity";
    let printed = guest(&FOUR, script);
    let want = "no\nno\nno\nno\nno\nf\nno\n\
                effective_affinity effective_affinity_list smp_affinity smp_affinity_list f\n";
    assert_eq!(printed, want);
    let alone =
        guest(&["--append", "nosmp"], "echo 1 >/proc/irq/4/smp_affinity || echo no; cat /proc/irq/4/smp_affinity");
    assert_eq!(alone, "no\n1\n");
}

fn counted() {
    let script = "cd /sys/devices/system/cpu; for f in possible present online offline kernel_max; do cat $f; done
        ls | tr '\\n' ' '; echo; cd cpu1/topology; cat physical_package_id core_id thread_siblings core_siblings_list
        grep ' /sys ' /proc/mounts; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat";
    let want = "0-3\n0-3\n0-3\n\n7\ncpu0 cpu1 cpu2 cpu3 kernel_max offline online possible present \n\
                1\n0\n2\n1\nsysfs /sys sysfs rw,relatime 0 0\n4\n4\n";
    assert_eq!(guest(&FOUR, script), want);
    let fewer = ["--cpus", "4", "--append", "maxcpus=2"];
    let some = "cd /sys/devices/system/cpu; for f in possible present online offline; do cat $f; done; ls cpu1 cpu2";
    assert_eq!(guest(&fewer, some), "0-3\n0-3\n0-1\n2-3\ncpu1:\ntopology\n\ncpu2:\n");
    assert_eq!(guest(&[], "cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible"), "0\n0\n");
}
