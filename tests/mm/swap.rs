//! Programs that need more memory than the machine has: swap, and files that are mapped.

use libtest_mimic::Trial;

use super::reclaim::storms;
use crate::support::{
    Need,
    guest::{guest, row, workload},
    image::ext2_of,
    trial,
};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    let disk = [Need::NativeI386, Need::Program("mke2fs")];
    vec![
        trial("mm::swap::three_times_the_memory_ends_with_the_right_checksum", &native, through_swap),
        trial("mm::swap::a_shared_file_mapping_needs_no_swap", &disk, through_a_file),
        trial("mm::swap::a_storm_in_swap_keeps_every_page", &native, storm),
    ]
}

/// The parts of an output between lines of `==`.
fn parts(text: &str) -> Vec<&str> {
    text.split("==\n").collect()
}

fn through_swap() {
    let script = "workload anonymous 98304\necho ==\ncat /proc/vmstat\necho ==\ncat /proc/swaps\n";
    let text = guest(&["--memory", "32M", "--swap", "128M"], script);
    let parts = parts(&text);
    assert_eq!(parts[0], workload(&["anonymous", "98304"]));
    assert!(row(parts[1], "pswpin") > 0 && row(parts[1], "pswpout") > 16384, "{}", parts[1]);
    assert_eq!(parts[2].lines().count(), 2, "{}", parts[2]);
    assert!(parts[2].contains("partition\t131068\t\t"), "{}", parts[2]);
}

fn through_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    ext2_of(&image, 128, None);
    let script = "mkdir /mnt\nmount -t ext2 /dev/sda /mnt\nWORKLOAD_FILE=/mnt/f workload mapped 98304\n\
        echo ==\ncat /proc/vmstat\numount /mnt\n";
    let image = image.to_str().expect("a path of ASCII");
    let text = guest(&["--memory", "32M", "--snapshot-disk", "--disk", image], script);
    let parts = parts(&text);
    assert_eq!(parts[0], workload(&["mapped", "98304"]));
    assert_eq!((row(parts[1], "pswpin"), row(parts[1], "pswpout")), (0, 0));
    assert!(row(parts[1], "pgsteal_file") > 16384 && row(parts[1], "nr_written") > 24576, "{}", parts[1]);
}

fn storm() {
    storms(&["--memory", "16M", "--swap", "32M"], "workload anonymous 10240 >/dev/null & ", 2);
}
