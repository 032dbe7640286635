//! The kernel's own checks of its frames, caches and areas (`selftest=` on its command
//! line), in our machine and in QEMU, and what it says of broken uses of them.

use libtest_mimic::Trial;

use crate::support::{
    boot::{Boot, QEMU},
    guest::guest,
    trial,
};

/// The checks that every machine passes.
const SELFTESTS: &str = "verify,buddy,compaction,highmem,reclaim,slab,vmalloc";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mm::frames::the_kernels_own_checks_pass", &[], || passes(&in_pagewalk(256, SELFTESTS))),
        trial("mm::frames::machines_of_all_sizes_pass_them", &[], || {
            [16, 2048, 3584].into_iter().for_each(|mib| passes(&in_pagewalk(mib, SELFTESTS)));
        }),
        trial("mm::frames::they_pass_with_every_object_watched", &[], || {
            passes(&in_pagewalk(256, &format!("{SELFTESTS} slab_debug")));
        }),
        trial("mm::frames::the_kernels_own_checks_pass_in_qemu", &QEMU, || passes(&in_qemu(256, SELFTESTS))),
        trial("mm::frames::every_frame_is_owned_once_after_programs_have_come_and_gone", &[], owned_once),
        trial("mm::frames::programs_go_on_while_their_pages_are_moved", &[], moved_under_programs),
        trial("mm::frames::the_marks_of_the_zones_can_be_set", &[], marks),
        trial("mm::frames::broken_uses_end_in_an_oops_that_names_them", &[], || broken_uses(in_pagewalk)),
        trial("mm::frames::they_do_so_in_qemu", &QEMU, || broken_uses(in_qemu)),
    ]
}

fn owned_once() {
    const WORK: &str = "for i in 1 2 3; do ls -l /proc /bin | cat >/tmp/$i; (cat /tmp/$i | sort >/tmp/s$i) & done; wait
        workload >/dev/null; mmprobe >/dev/null 2>&1; rm /tmp/1 /tmp/s2
        echo 1 >/proc/sys/vm/verify && echo verified; cat /proc/self/maps | sort >/dev/null
        echo 1 >/proc/sys/vm/verify && echo verified again";
    for memory in ["64M", "1536M"] {
        assert_eq!(guest(&["--memory", memory], WORK), "verified\nverified again\n", "{memory}");
    }
}

fn moved_under_programs() {
    const WORK: &str = "workload >/tmp/before
        (for i in 1 2 3 4 5 6; do echo 1 >/proc/sys/vm/compact_memory; done) & workload >/tmp/after; wait
        test \"$(cat /tmp/before)\" = \"$(cat /tmp/after)\" && echo same; echo 1 >/proc/sys/vm/verify && echo verified
        grep pgmigrate_success /proc/vmstat";
    let printed = guest(&["--memory", "64M"], WORK);
    let moved = printed.strip_prefix("same\nverified\npgmigrate_success ").unwrap_or_else(|| panic!("{printed}"));
    assert!(moved.trim().parse::<u32>().is_ok_and(|pages| pages > 0), "{printed}");
}

fn marks() {
    let printed = guest(
        &["--memory", "256M"],
        "cd /proc/sys/vm; grep 'min ' /proc/zoneinfo | head -n 2; echo 16384 >min_free_kbytes; cat min_free_kbytes
        grep 'min ' /proc/zoneinfo | head -n 2; cat lowmem_reserve_ratio",
    );
    let lines: Vec<&str> = printed.lines().collect();
    let mins: Vec<u32> =
        lines.iter().filter_map(|line| line.trim().strip_prefix("min ")?.trim().parse().ok()).collect();
    assert_eq!(mins.len(), 4, "{printed}");
    let after = mins[2] + mins[3];
    assert!((4094..=4096).contains(&after) && mins[0] + mins[1] < after, "16384 kB are 4096 pages: {printed}");
    assert_eq!((lines[2], lines[5]), ("16384", "256\t32\t0\t0"), "{printed}");
}

/// What the kernel says when its code does what it must not, and with which option.
const BROKEN: [(&str, &str, &str); 11] = [
    ("sleep_in_atomic", "", "] BUG: sleeping function called from invalid context at src/selftest/broken.rs:"),
    ("schedule_in_atomic", "", "] BUG: scheduling while atomic: init/1/0x00000001\n"),
    ("stack_overflow", "", "] Kernel panic - not syncing: corrupted stack end detected inside scheduler\n"),
    ("double_free_page", "", "] Kernel panic - not syncing: BUG: Bad page state: frame "),
    ("double_free", "", "] BUG kmalloc-64 (Not tainted): Object already free\n"),
    ("double_free", " slab_debug", "] BUG kmalloc-64 (Not tainted): Object already free\n"),
    ("foreign_free", "", "] cache_from_obj: Wrong slab cache. selftest but object is from kmalloc-64\n"),
    ("free_inside", "", "] BUG kmalloc-64 (Not tainted): Invalid object pointer 0x"),
    ("write_after_free", " slab_debug", "] BUG kmalloc-64 (Not tainted): Poison overwritten\n"),
    ("overrun", " slab_debug=Z", "] BUG kmalloc-64 (Not tainted): Right Redzone overwritten\n"),
    ("underrun", " slab_debug=ZU,kmalloc-64", "] BUG kmalloc-64 (Not tainted): Left Redzone overwritten\n"),
];

/// Boots once for each of them.
fn broken_uses(boot: impl Fn(u32, &str) -> String) {
    for (name, option, says) in BROKEN {
        let log = boot(64, &format!("{name}{option}"));
        assert!(log.contains(says), "{says} in {log}");
        assert!(log.contains(&format!(" kernel::selftest::broken::{name}+0x")), "the backtrace names it: {log}");
        if option.contains("slab_debug") && (option.ends_with("debug") || option.contains('U')) {
            assert!(log.contains("] Allocated in kernel::selftest::broken::"), "the track: {log}");
        }
        // What only might have slept is reported, and goes on.
        let ends = name != "sleep_in_atomic";
        assert_eq!(log.contains(&format!("{name}: ok")), !ends, "{log}");
        assert!(!ends || log.contains("] Kernel panic - not syncing: "), "{log}");
    }
}

/// The log of a boot in our machine with `selftest=NAMES` and the rest of `options`.
fn in_pagewalk(memory_mib: u32, options: &str) -> String {
    Boot::of_the_tour().append(&format!("selftest={options}")).in_pagewalk(memory_mib).log
}

/// The same in QEMU.
fn in_qemu(memory_mib: u32, options: &str) -> String {
    Boot::of_the_tour().append(&format!("selftest={options}")).in_qemu(memory_mib).log
}

/// Every check that was asked for has said that all is well, and the first program ran.
fn passes(log: &str) {
    for name in SELFTESTS.split(',') {
        assert!(log.contains(&format!("] selftest: {name}: ok\n")), "{name}: {log}");
    }
    assert!(log.contains(" as init process\n"), "{log}");
}
