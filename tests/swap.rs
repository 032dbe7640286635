//! Programs that need more memory than the machine has: swap, files that are mapped, code
//! that is dropped and read again; and what happens when there is no room anywhere.

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::{
    reclaim::{guest, natively, row},
    support::{Need, trial},
};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    let disk = [Need::NativeI386, Need::Program("mke2fs")];
    let mke2fs = [Need::Program("mke2fs")];
    vec![
        trial("swap::three_times_the_memory_ends_with_the_right_checksum", &native, through_swap),
        trial("swap::a_shared_file_mapping_needs_no_swap", &disk, through_a_file),
        trial("swap::code_is_dropped_without_swap_and_read_again", &mke2fs, code),
        trial("swap::without_room_the_largest_is_killed_with_a_report", &[], no_room),
        trial("swap::swapoff_brings_everything_back", &native, swapoff),
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
    assert_eq!(parts[0], natively(&["anonymous", "98304"]));
    assert!(row(parts[1], "pswpin") > 0 && row(parts[1], "pswpout") > 16384, "{}", parts[1]);
    assert_eq!(parts[2].lines().count(), 2, "{}", parts[2]);
    assert!(parts[2].contains("\tpartition\t131068\t\t"), "{}", parts[2]);
}

/// An ext2 image of `mib` MiB with the files of a folder.
fn ext2(folder: &TempDir, mib: u32, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir(&tree).expect("a folder");
    for (name, bytes) in files {
        fs::write(tree.join(name), bytes).expect("write a file");
    }
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-t", "ext2", "-b", "4096", "-d"]).args([&tree, &image]).arg(format!("{mib}M"));
    let output = command.output().expect("mke2fs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image
}

fn through_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = ext2(&folder, 128, &[]);
    let script = "mkdir /mnt\nmount -t ext2 /dev/sda /mnt\nWORKLOAD_FILE=/mnt/f workload mapped 98304\n\
        echo ==\ncat /proc/vmstat\numount /mnt\n";
    let image = image.to_str().expect("a path of ASCII");
    let text = guest(&["--memory", "32M", "--snapshot-disk", "--disk", image], script);
    let parts = parts(&text);
    assert_eq!(parts[0], natively(&["mapped", "98304"]));
    assert_eq!((row(parts[1], "pswpin"), row(parts[1], "pswpout")), (0, 0));
    assert!(row(parts[1], "pgsteal_file") > 16384 && row(parts[1], "nr_written") > 24576, "{}", parts[1]);
}

/// Pages of code in the program below.
const CODE_PAGES: u32 = 2048;
const BASE: u32 = 0x0804_8000;

/// A program with 8 MiB of code, each page a function: it waits two seconds, calls all,
/// waits twenty, calls all again, waits five and ends.
fn program() -> Vec<u8> {
    let mut code = Vec::new();
    let seconds = [2u32, 20, 5];
    let times = BASE + 0x200;
    let sleep = |code: &mut Vec<u8>, n: u32| {
        // mov eax, nanosleep; mov ebx, time; xor ecx, ecx; int 0x80
        code.extend([0xb8, 162, 0, 0, 0, 0xbb]);
        code.extend((times + n * 8).to_le_bytes());
        code.extend([0x31, 0xc9, 0xcd, 0x80]);
    };
    let call_all = |code: &mut Vec<u8>| {
        // mov ecx, pages; mov ebx, first; 1: call ebx; add ebx, 4096; dec ecx; jnz 1b
        code.push(0xb9);
        code.extend(CODE_PAGES.to_le_bytes());
        code.push(0xbb);
        code.extend((BASE + 4096).to_le_bytes());
        code.extend([0xff, 0xd3, 0x81, 0xc3, 0, 0x10, 0, 0, 0x49, 0x75, 0xf5]);
    };
    sleep(&mut code, 0);
    call_all(&mut code);
    sleep(&mut code, 1);
    call_all(&mut code);
    sleep(&mut code, 2);
    // mov eax, exit; xor ebx, ebx; int 0x80
    code.extend([0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80]);

    let len = (CODE_PAGES + 1) * 4096;
    let mut file = vec![0xc3; len as usize];
    file[..0x1000].fill(0);
    let words = |file: &mut [u8], at: usize, words: &[u32]| {
        words.iter().enumerate().for_each(|(n, word)| file[at + n * 4..][..4].copy_from_slice(&word.to_le_bytes()));
    };
    file[..16].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    // Executable, i386; entry, headers at 52, none of sections; sizes and counts.
    words(&mut file, 16, &[0x0003_0002, 1, BASE + 0x100, 52, 0, 0, 0x0020_0034, 0x0028_0001, 0]);
    // Load all of it, to be read and executed.
    words(&mut file, 52, &[1, 0, BASE, BASE, len, len, 5, 4096]);
    file[0x100..0x100 + code.len()].copy_from_slice(&code);
    for (n, seconds) in seconds.into_iter().enumerate() {
        words(&mut file, 0x200 + n * 8, &[seconds, 0]);
    }
    file
}

fn code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = ext2(&folder, 32, &[("code", program())]);
    let script = "mkdir /mnt\nmount -t ext2 /dev/sda /mnt\ncp /mnt/code /dev/null; chmod 755 /mnt/code 2>/dev/null\n\
        echo 1 > /proc/sys/vm/drop_caches\n/mnt/code &\n\
        sleep 1; grep VmRSS /proc/$!/status; sleep 3; grep VmRSS /proc/$!/status; cut -d ' ' -f 12 /proc/$!/stat\n\
        workload anonymous 24576; grep VmRSS /proc/$!/status; grep pswpout /proc/vmstat\n\
        sleep 19; grep VmRSS /proc/$!/status; cut -d ' ' -f 12 /proc/$!/stat; wait\n";
    let image = image.to_str().expect("a path of ASCII");
    let text = guest(&["--memory", "32M", "--snapshot-disk", "--disk", image], script);
    let numbers: Vec<u32> = text
        .lines()
        .map(|line| {
            let digits = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
            line.split_whitespace().find(digits).and_then(|word| word.parse().ok()).unwrap_or(0)
        })
        .collect();
    let [before, called, faults, _, dropped, swapped, again, more_faults] = numbers[..] else { panic!("{text}") };
    assert!(before < 1024, "{before} kB before a call: {text}");
    assert!(called > 8192 && again > 8192, "{text}");
    assert!(dropped < 4096, "{dropped} kB are left under pressure: {text}");
    assert_eq!(swapped, 0, "{text}");
    assert!(more_faults > faults + 64, "{text}");
}

fn no_room() {
    let script = "workload anonymous 65536; echo $?; dmesg\n";
    let text = guest(&["--memory", "32M", "--swap", "8M"], script);
    assert!(text.starts_with("137\n"), "{text}");
    for line in [
        "workload invoked oom-killer: gfp_mask=",
        "Mem-Info:\n",
        "Free swap  = 0kB\n",
        "Total swap = 8188kB\n",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n",
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=workload,pid=",
        "Out of memory: Killed process ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

fn swapoff() {
    let script = "workload storm 5\ncat /proc/swaps | cut -c 1-8\n";
    let text = guest(&["--memory", "16M", "--swap", "16M"], script);
    assert_eq!(text, natively(&["storm", "5"]) + "Filename\n/dev/sda\n");
}
