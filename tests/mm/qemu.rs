//! The same kernel image under QEMU: what memory management does there is what it does here.

use std::fs;

use libtest_mimic::Trial;

use super::{compaction, memory, races, reclaim, remote};
use crate::support::{
    Need,
    boot::{Boot, QEMU},
    guest::{row, workload},
    image::{ext2_of, swap_area},
    trial,
};

pub fn trials() -> Vec<Trial> {
    let [qemu, timeout] = QEMU;
    let native = [qemu, timeout, Need::NativeI386];
    let disk = [qemu, timeout, Need::Program("mke2fs")];
    let both = [qemu, timeout, Need::NativeI386, Need::Program("mke2fs")];
    vec![
        trial("mm::qemu::programs_larger_than_memory_run_in_swap", &native, swap),
        trial("mm::qemu::a_shared_file_mapping_larger_than_memory_needs_no_swap", &both, shared_file),
        trial("mm::qemu::fork_of_64_mib_copies_what_is_written", &native, fork_copies),
        trial("mm::qemu::huge_pages_come_from_their_pool", &QEMU, huge_pages),
        trial("mm::qemu::a_higher_min_free_kbytes_wakes_kswapd", &QEMU, min_free_kbytes),
        trial("mm::qemu::with_swap_full_the_largest_process_is_killed", &QEMU, out_of_memory),
        trial("mm::qemu::a_full_tmpfs_gives_enospc_and_sigbus", &QEMU, full_tmpfs),
        trial("mm::qemu::a_disk_that_fails_gives_eio_and_sigbus", &QEMU, failing_disk),
        trial("mm::qemu::text_comes_when_it_is_called_and_goes_without_swap", &disk, text_on_demand),
        trial("mm::qemu::fragmented_memory_gives_large_blocks", &QEMU, compaction),
        trial("mm::qemu::pages_on_their_way_from_swap_are_not_lost", &QEMU, races),
        trial("mm::qemu::swapoff_that_a_signal_ends_leaves_the_area_in_use", &QEMU, swapoff),
    ]
}

/// What programs print in a script, in a machine without a disk.
fn plain(memory_mib: u32, script: &str) -> String {
    Boot::of_script(script).in_qemu(memory_mib).printed()
}

/// The log of a script in a machine that swaps to `/dev/sda`; some sectors of it fail.
fn with_swap(memory_mib: u32, swap_mib: u32, unreadable: &[u32], script: &str) -> crate::support::boot::Ended {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("swap");
    swap_area(&image, swap_mib);
    Boot::of_script(script).append("swap=/dev/sda").disk_that_fails(&image, unreadable).in_qemu(memory_mib)
}

fn swap() {
    let script = "workload anonymous 98304; workload cow 8192; workload storm 3\n\
        grep pswp /proc/vmstat | grep -c ' 0$'; echo 1 >/proc/sys/vm/verify && echo verified";
    let want = [&["anonymous", "98304"][..], &["cow", "8192"], &["storm", "3"]].map(workload).concat();
    assert_eq!(with_swap(32, 128, &[], script).printed(), want + "0\nverified\n");
}

fn shared_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    ext2_of(&image, 128, None);
    let script = "mkdir /mnt; mount -t ext2 /dev/sda /mnt; WORKLOAD_FILE=/mnt/f workload mapped 98304\n\
        echo ==; cat /proc/vmstat; umount /mnt";
    let text = Boot::of_script(script).disk(&image).in_qemu(32).printed();
    let (sum, vmstat) = text.split_once("==\n").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(sum, workload(&["mapped", "98304"]));
    assert!(row(vmstat, "pswpout") == 0 && row(vmstat, "nr_written") > 24576, "{vmstat}");
}

fn fork_copies() {
    assert_eq!(plain(128, "workload cow 65536"), workload(&["cow", "65536"]));
}

fn huge_pages() {
    assert_eq!(plain(64, "mmprobe hugetlb"), memory::HUGETLB);
}

fn min_free_kbytes() {
    reclaim::kswapd_was_woken(&plain(64, reclaim::MIN_FREE));
}

fn out_of_memory() {
    let log = with_swap(32, 8, &[], memory::OOM).log;
    let (_, printed) = log.split_once(" as init process\n").unwrap_or_else(|| panic!("{log}"));
    memory::largest_is_killed(printed);
}

fn full_tmpfs() {
    assert_eq!(plain(32, memory::TMPFS), memory::TMPFS_FULL);
}

fn failing_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    fs::write(&image, vec![7; 1 << 20]).expect("an image");
    let boot = Boot::of_script(memory::DISK).disk_that_fails(&image, &[memory::BAD_SECTOR]);
    assert_eq!(boot.in_qemu(32).printed(), memory::DISK_FAILS);
    let unreadable: Vec<u32> = (1000..2000).step_by(80).collect();
    assert_eq!(with_swap(32, 64, &unreadable, memory::SWAP).printed(), memory::SWAP_FAILS);
}

fn text_on_demand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = remote::image_of_bigtext(folder.path());
    remote::text_came_and_went(&Boot::of_script(remote::BIGTEXT).disk(&image).in_qemu(32).printed());
}

fn compaction() {
    // What is in use just then, and cannot be moved, depends on how fast QEMU is at the moment.
    compaction::is_compacted(&plain(compaction::MEMORY_MIB, compaction::SCRIPT), 4);
}

fn races() {
    let script: String = races::ACTS.iter().map(|act| races::script(act) + "swapon /dev/sda\n").collect();
    let want: String = races::ACTS.map(races::answer).concat();
    assert_eq!(with_swap(32, 16, &[], &script).printed(), want);
}

fn swapoff() {
    assert_eq!(with_swap(48, 32, &[], races::SWAPOFF).printed(), races::SWAPPED_OFF);
}
