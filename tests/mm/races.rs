//! What happens to memory while its pages come from swap.

use libtest_mimic::Trial;

use crate::support::{guest::guest, trial};

pub fn trials() -> Vec<Trial> {
    let race = |name: &'static str, act: &'static str| trial(name, &[], move || in_the_guest(act));
    vec![
        race("mm::races::a_page_on_its_way_from_swap_is_found_where_mremap_has_put_it", "mremap"),
        race("mm::races::a_page_on_its_way_from_swap_does_not_come_where_munmap_was", "munmap"),
        race("mm::races::a_page_on_its_way_from_swap_is_inherited_by_fork", "fork"),
        race("mm::races::a_page_on_its_way_from_swap_gets_the_rights_of_mprotect", "mprotect"),
        race("mm::races::a_page_on_its_way_from_swap_is_dropped_by_madvise", "madvise"),
        trial("mm::races::swapoff_that_a_signal_ends_leaves_the_area_in_use", &[], interrupted),
    ]
}

/// The acts that come while a page is on its way.
pub const ACTS: [&str; 5] = ["mremap", "munmap", "fork", "mprotect", "madvise"];

/// 64 pages come while the act is done, in a machine with 16 MiB of swap; then nothing is left.
pub fn script(act: &str) -> String {
    format!("mmprobe race {act} 256; swapoff /dev/sda && echo off; echo 1 >/proc/sys/vm/verify && echo verified\n")
}

/// What that prints.
pub fn answer(act: &str) -> String {
    format!("{act}: most in time, most from swap, 0 wrong\noff\nverified\n")
}

fn in_the_guest(act: &str) {
    assert_eq!(guest(&["--memory", "32M", "--swap", "16M"], &script(act)), answer(act));
}

/// 8 MiB are in swap when it is turned off.
pub const SWAPOFF: &str = "mmprobe swapoff /dev/sda 8192; wc -l </proc/swaps\n\
    echo 1 >/proc/sys/vm/verify && echo verified\n";

/// What that prints in 48 MiB with 32 MiB of swap.
pub const SWAPPED_OFF: &str = "while signals come: EINTR, in use: some\nused again: yes\nin peace: ok\n\
    contents right: true, the child's: true\n1\nverified\n";

fn interrupted() {
    assert_eq!(guest(&["--memory", "48M", "--swap", "32M"], SWAPOFF), SWAPPED_OFF);
}
