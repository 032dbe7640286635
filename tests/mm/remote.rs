//! Reaching into another process's memory: `process_vm_readv`, `process_vm_writev` and
//! `/proc/PID/mem`; and what becomes of a program's own text when memory is short.

use std::{
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;

use crate::support::{
    Need,
    guest::{guest, row},
    image::ext2_of,
    program::{self, natively},
    trial,
};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    let disk = [Need::Program("mke2fs")];
    vec![
        trial("mm::remote::another_process_is_read_and_written_as_on_linux", &[], in_the_guest),
        trial("mm::remote::the_cases_are_those_of_the_hosts_linux", &native, on_the_host),
        trial("mm::remote::pages_in_swap_come_back_for_who_looks_from_outside", &[], swapped_out),
        trial("mm::remote::text_comes_when_it_is_called_and_goes_without_swap", &disk, text_on_demand),
    ]
}

/// What `mmprobe remote` prints on i386.
const CASES: &str = include_str!("../programs/remote.txt");

fn in_the_guest() {
    let text = guest(&["--memory", "32M"], "mmprobe remote; echo 1 >/proc/sys/vm/verify && echo verified\n");
    assert_eq!(text, format!("{CASES}verified\n"));
}

/// What the host cannot show: a 64-bit kernel lends its 32-bit programs the kernel's addresses,
/// and only the superuser can become another user.
fn is_shown_by_the_host(line: &str, by_the_superuser: bool) -> bool {
    let of_users = ["another's", "of the same user", "its file: "];
    !line.starts_with("to the kernel: ") && (by_the_superuser || !of_users.iter().any(|start| line.starts_with(start)))
}

fn on_the_host() {
    let output = natively("mmprobe", &["remote"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let by_the_superuser = !text.contains("not the superuser");
    let lines = |text: &'static str| text.lines().filter(|line| is_shown_by_the_host(line, by_the_superuser));
    let printed: Vec<&str> = text.lines().filter(|line| is_shown_by_the_host(line, by_the_superuser)).collect();
    assert_eq!(printed, lines(CASES).collect::<Vec<_>>());
}

fn swapped_out() {
    let script = "mmprobe remote 40\necho ==\ncat /proc/vmstat\necho 1 >/proc/sys/vm/verify && echo verified\n";
    let text = guest(&["--memory", "32M", "--swap", "64M"], script);
    let (printed, vmstat) = text.split_once("==\n").expect("two parts");
    let round = |n: u32| format!("round {n}: 262144 bytes, in swap before: some\n");
    assert_eq!(printed, format!("{}{}0 wrong\n", round(0), round(1)));
    assert!(row(vmstat, "pswpin") >= 64 && vmstat.ends_with("verified\n"), "{vmstat}");
}

/// The numbers of a line that `bigtext` prints: resident kB of the process and of its code,
/// minor and major faults.
fn numbers(text: &str, when: &str) -> [u32; 4] {
    let line = text.lines().find_map(|line| line.strip_prefix(when)?.strip_prefix(": "));
    let line = line.unwrap_or_else(|| panic!("no `{when}` in {text}"));
    let words: Vec<u32> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    words.try_into().unwrap_or_else(|_| panic!("not four numbers: {line}"))
}

/// An image with `bigtext` in it.
pub fn image_of_bigtext(folder: &Path) -> PathBuf {
    let (tree, image) = (folder.join("tree"), folder.join("image"));
    fs::create_dir(&tree).expect("a folder");
    let program = tree.join("bigtext");
    program::write(&program, images::BIGTEXT);
    ext2_of(&image, 16, Some(&tree));
    image
}

/// Calls all text of a program of `/dev/sda` on a machine that has less memory than it needs then.
pub const BIGTEXT: &str = "mkdir /mnt; mount -r /dev/sda /mnt; echo 0 >/proc/sys/vm/swappiness\n\
    grep pswpout /proc/vmstat; /mnt/bigtext 20480; grep pswpout /proc/vmstat\n";

/// What [`BIGTEXT`] has printed in 32 MiB.
pub fn text_came_and_went(text: &str) {
    let swapped: Vec<&str> = text.lines().filter(|line| line.starts_with("pswpout ")).collect();
    assert_eq!(swapped, ["pswpout 0"; 2], "{text}");
    let [started, called, pressed, again] = ["started", "called", "pressed", "called again"].map(|w| numbers(text, w));
    assert!(started[0] < 1024 && started[1] < 512, "little is there before it is called: {text}");
    assert!(called[1] >= 8192 && called[0] >= 8192, "all is there when it has been called: {text}");
    assert!(called[3] > started[3], "it came from the disk: {text}");
    assert!(pressed[1] < 6144, "some went: {text}");
    assert!(again[1] > pressed[1] && again[3] > pressed[3], "and came back: {text}");
}

fn text_on_demand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = image_of_bigtext(folder.path());
    let image = image.to_str().expect("a path of ASCII");
    text_came_and_went(&guest(&["--memory", "32M", "--disk", image, "--snapshot-disk", "--swap", "32M"], BIGTEXT));
}
