//! Memory that is short, shared or in uproar: what programs see of it, and what the guest's
//! own `/proc` and the host's lenses say.

use std::env;

use libtest_mimic::Trial;

use crate::support::{
    Need,
    guest::{guest, row, workload},
    trial,
};

/// How many seeds of the storm are tried; a long run sets this variable to more.
const STORMS: &str = "PAGEWALK_STORMS";

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    vec![
        trial("mm::reclaim::fork_copies_as_many_pages_as_are_written", &native, fork_copies),
        trial("mm::reclaim::a_storm_of_mappings_and_forks_keeps_every_page", &native, storm),
        trial("mm::reclaim::a_higher_min_free_kbytes_wakes_kswapd", &[], min_free_kbytes),
        trial("mm::reclaim::frames_tell_who_has_them", &[], frame_files),
    ]
}

/// The program reads its own `/proc/self/smaps` before and after it writes.
fn fork_copies() {
    let args = ["cow", "65536"];
    assert_eq!(guest(&["--memory", "128M"], "workload cow 65536\n"), workload(&args));
}

/// Storms by the seeds from 1 on, each with the machine's options and what runs beside it, after
/// which every frame is owned once and nothing is left that was not there before.
pub fn storms(options: &[&str], beside: &str, usual: u32) {
    let seeds: u32 = env::var(STORMS).ok().map_or(usual, |text| text.parse().expect("a number of seeds"));
    let storms: String = (1..=seeds).map(|seed| format!("{beside}workload storm {seed}; wait\n")).collect();
    let state = "sleep 1; echo ==; cat /proc/vmstat /proc/slabinfo /proc/swaps; echo ==\n";
    // What is made once and kept is there after the first time.
    let first = format!("{beside}workload storm 1 >/dev/null; wait\n");
    let script = format!("{first}{state}{storms}{state}echo 1 >/proc/sys/vm/verify && echo verified\n");
    let text = guest(options, &script);
    let parts: Vec<&str> = text.split("==\n").collect();
    let want: String = (1..=seeds).map(|seed| workload(&["storm", &seed.to_string()])).collect();
    assert_eq!((parts[2], parts[4]), (want.as_str(), "verified\n"), "{text}");
    // What runs beside it may send a page of the shell's to swap.
    let rows = ["nr_page_table_pages", "nr_mlock", "nr_shmem", "nr_unevictable", "nr_anon_pages"];
    for name in &rows[..if beside.is_empty() { 5 } else { 4 }] {
        assert_eq!(row(parts[1], name), row(parts[3], name), "{name}: {text}");
    }
    for cache in ["vm_area_struct", "mm_struct"] {
        assert_eq!(objects(parts[1], cache), objects(parts[3], cache), "{cache}: {text}");
    }
}

/// The objects in use of a row of `/proc/slabinfo`.
fn objects(text: &str, cache: &str) -> u32 {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = words.filter(|words| words.first() == Some(&cache));
    rows.next().and_then(|words| words[1].parse().ok()).unwrap_or_else(|| panic!("no {cache} in {text}"))
}

fn storm() {
    storms(&["--memory", "32M"], "", 6);
}

/// 64 MiB are enough for a shell, until more is to be kept free.
pub const MIN_FREE: &str = "cat /proc/vmstat\necho ==\n\
    echo 50000 > /proc/sys/vm/min_free_kbytes; sleep 1; cat /proc/sys/vm/min_free_kbytes\n\
    cat /proc/vmstat\n";

/// What that has printed.
pub fn kswapd_was_woken(text: &str) {
    let (before, after) = text.split_once("==\n").expect("two parts");
    assert!(after.starts_with("50000\n"), "{after}");
    let runs = |text| row(text, "pageoutrun");
    assert_eq!(runs(before), 0, "{before}");
    assert!(runs(after) > 0, "{after}");
}

fn min_free_kbytes() {
    kswapd_was_woken(&guest(&["--memory", "64M"], MIN_FREE));
}

/// The files of frames are for the superuser; frame 0 is reserved, by its bit 32.
fn frame_files() {
    let script = "ls -l /proc/kpagecount /proc/kpageflags /proc/self/pagemap\n\
        head -c 8 /proc/kpageflags | hexdump -C\n";
    let text = guest(&["--memory", "32M"], script);
    assert_eq!(text.lines().filter(|line| line.starts_with("-r--------")).count(), 3, "{text}");
    assert!(text.contains("00 00 00 00 01 00 00 00"), "{text}");
}
