//! Disks: images of the host behind the guest's `/dev/sda`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, boot::Boot, image, pagewalk, trial, with_input};

const SECTOR: usize = 512;

pub fn trials() -> Vec<Trial> {
    let tools = [Need::Program("mke2fs"), Need::Program("e2fsck")];
    let attributes = [Need::Program("mke2fs"), Need::Program("e2fsck"), Need::Program("debugfs")];
    let qemu = [Need::Program("mke2fs"), Need::Program("e2fsck"), Need::Program("qemu-system-i386")];
    vec![
        trial("disks::a_device_is_read_and_written_as_a_file", &[], device_file),
        trial("disks::an_image_stays_as_it_is_with_snapshot_disk", &[], untouched),
        trial("disks::a_saved_machine_goes_on_with_its_disk", &[], saved),
        trial("disks::ext2_is_read_as_the_host_made_it", &tools, ext2_read),
        trial("disks::ext2_is_consistent_after_the_guest_wrote", &tools, ext2_write),
        trial("disks::ext2_keeps_apart_attributes_and_what_stands_in_the_inode", &attributes, ext2_attributes),
        trial("disks::a_file_without_a_name_keeps_its_file_system_mounted", &tools, ext2_unlinked),
        trial("disks::a_full_ext2_says_so_and_stays_consistent", &tools, ext2_full),
        trial("disks::a_damaged_ext2_never_hurts_the_kernel", &tools, ext2_damaged),
        trial("disks::a_failing_disk_gives_eio_and_loses_nothing_that_was_synced", &tools, ext2_failing),
        trial("disks::a_cut_through_a_page_that_cannot_be_read_changes_nothing", &tools, uncut),
        trial("disks::qemu_runs_the_same_kernel_on_its_own_disk", &qemu, in_qemu),
        trial("disks::qemu_gives_the_same_errors_of_a_failing_disk", &qemu, failing_in_qemu),
        trial("disks::partitions_of_an_image_are_found_and_the_ports_claimed", &[], partitions),
        trial("disks::a_damaged_partition_table_gives_what_it_can", &[], damaged_tables),
        trial("disks::an_image_that_is_none_ends_with_125_and_one_line", &[], bad_images),
        trial("disks::options_that_cannot_be_are_wrong_usage", &[], bad_options),
        trial("disks::a_sector_that_fails_is_told_as_linux_does", &[], failing_sector),
    ]
}

/// A folder with images.
struct Images(TempDir);

impl Images {
    fn new() -> Self {
        Images(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("write an image");
        path
    }
}

/// An image of so many sectors with entries (type, first sector, sectors) in its partition table.
fn partitioned(sectors: usize, entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut image = vec![0; sectors * SECTOR];
    put_table(&mut image, 0, entries);
    image
}

fn put_table(image: &mut [u8], sector: usize, entries: &[(u8, u32, u32)]) {
    let table = &mut image[sector * SECTOR..][..SECTOR];
    for (entry, &(kind, start, sectors)) in table[446..510].chunks_exact_mut(16).zip(entries) {
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    }
    table[510..].copy_from_slice(&[0x55, 0xaa]);
}

/// Runs a script in the guest's shell.
fn run(script: &str, arrange: impl FnOnce(&mut Command)) -> Output {
    let mut command = pagewalk();
    command.args(["run", "--timeout", "120"]);
    arrange(&mut command);
    with_input(&mut command, script)
}

/// What a script printed, which must succeed.
fn printed(script: &str, arrange: impl FnOnce(&mut Command)) -> String {
    let output = run(script, arrange);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

fn disk(path: &Path) -> impl FnOnce(&mut Command) + '_ {
    move |command| {
        command.arg("--disk").arg(path);
    }
}

fn partitions() {
    let images = Images::new();
    let mut image = partitioned(8192, &[(0x83, 64, 1000), (0x05, 2048, 4096), (0, 0, 0), (0x82, 7000, 9999)]);
    put_table(&mut image, 2048, &[(0x83, 2, 500), (0x05, 1000, 2000)]);
    put_table(&mut image, 3048, &[(0x83, 2, 300)]);
    let first = images.write("first", &image);
    let second = images.write("second", &[0; 100 * SECTOR]);
    let script = "cat /proc/partitions; ls -l /dev/sd*; grep sd /proc/devices; grep ata /proc/ioports; \
        grep -c ata_piix /proc/interrupts; wc -l </proc/diskstats";
    let printed = printed(script, |command| {
        command.arg("--disk").arg(&first).arg("--disk").arg(&second).args(["--swap", "1M"]);
    });
    let rows: Vec<String> = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let table = [
        "major minor #blocks name",
        "",
        "8 0 4096 sda",
        "8 1 500 sda1",
        "8 2 1 sda2",
        "8 4 596 sda4",
        "8 5 250 sda5",
        "8 6 150 sda6",
        "8 16 50 sdb",
        "8 32 1024 sdc",
    ];
    assert_eq!(rows[..table.len()], table, "{printed}");
    let nodes: Vec<&String> = rows.iter().filter(|row| row.contains("/dev/sd")).collect();
    assert_eq!(nodes.len(), 8, "{printed}");
    assert!(nodes.iter().all(|row| row.starts_with("brw-rw----")), "{printed}");
    let rest: Vec<&str> =
        rows.iter().map(String::as_str).filter(|row| !row.contains("/dev/sd")).skip(table.len()).collect();
    assert_eq!(
        rest,
        [
            "8 sd",
            "0170-0177 : ata_piix",
            "01f0-01f7 : ata_piix",
            "0376-0376 : ata_piix",
            "03f6-03f6 : ata_piix",
            "2",
            "8"
        ],
        "{printed}"
    );
}

fn damaged_tables() {
    let images = Images::new();
    let shown = |image: Vec<u8>| {
        let path = images.write("image", &image);
        let printed = printed("cat /proc/partitions", disk(&path));
        printed.lines().skip(2).filter_map(|row| row.split_whitespace().last().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut looping = partitioned(4096, &[(0x05, 100, 3000)]);
    put_table(&mut looping, 100, &[(0x83, 1, 10), (0x05, 0, 3000)]);
    let names = shown(looping);
    assert_eq!(names.first().map(String::as_str), Some("sda"));
    assert!(names.len() <= 16, "a chain that loops ends: {names:?}");
    let beyond = partitioned(4096, &[(0x83, 5000, 10), (0x83, 10, 0xffff_fff0)]);
    assert_eq!(shown(beyond), ["sda", "sda2"]);
    let mut boot_sector = partitioned(4096, &[(0x83, 10, 10)]);
    boot_sector[446] = 0x12;
    assert_eq!(shown(boot_sector), ["sda"], "a boot sector of a file system is no table");
}

fn bad_images() {
    let images = Images::new();
    let refusal = |path: &Path| {
        let output = run("", disk(path));
        assert_eq!(output.status.code(), Some(125));
        let line = String::from_utf8(output.stderr).expect("text");
        assert_eq!(line.lines().count(), 1, "{line}");
        line.trim_end().replace(&images.0.path().display().to_string(), "")
    };
    assert_eq!(refusal(&images.0.path().join("none")), "pagewalk: /none: No such file or directory (os error 2)");
    assert_eq!(
        refusal(&images.write("odd", &[0; 700])),
        "pagewalk: /odd: has 700 bytes, which is no whole number of 512-byte sectors"
    );
    assert!(refusal(&images.write("empty", &[])).contains("is empty"));
    assert!(refusal(images.0.path()).contains("is not a file"));
    let pipe = images.0.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("run mkfifo").success());
    assert!(refusal(&pipe).contains("is not a file"));
    let image = images.write("image", &[0; 1024]);
    let twice = run("", |command| {
        command.arg("--disk").arg(&image).arg("--disk").arg(&image);
    });
    assert_eq!(twice.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("is in use"));
}

fn bad_options() {
    let images = Images::new();
    let image = images.write("image", &[0; 1024]);
    for (wrong, status) in [
        (&["--snapshot-disk"][..], 2),
        (&["--swap", "x"], 2),
        (&["--swap", "1K"], 125),
        (&["--swap", "1M", "--disk-error", "sdb:1"], 2),
        (&["--swap", "1M", "--disk-error", "sda:9-1"], 2),
    ] {
        let output = run("", |command| {
            command.args(wrong);
        });
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), line.lines().count()), (Some(status), 1), "{wrong:?}: {line}");
    }
    let many = run("", |command| {
        for _ in 0..5 {
            command.arg("--disk").arg(&image);
        }
        command.arg("--snapshot-disk");
    });
    assert_eq!(many.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&many.stderr).contains("5 disks: a machine takes 4"));
}

fn failing_sector() {
    let images = Images::new();
    let image = images.write("image", &[0; 8 * SECTOR]);
    let printed = printed("dmesg", |command| {
        disk(&image)(command);
        command.args(["--disk-error", "sda:0:read"]);
    });
    for line in [
        "ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x0",
        "ata1.00: failed command: READ SECTOR(S)",
        "ata1.00: status: { DRDY ERR }",
        "ata1.00: error: { UNC }",
        "I/O error, dev sda, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        " sda: unable to read partition table",
    ] {
        assert!(printed.lines().any(|row| row.ends_with(line)), "`{line}` is not in\n{printed}");
    }
}

fn device_file() {
    let images = Images::new();
    let image = images.write("image", &partitioned(64, &[(0x83, 8, 16)]));
    let script = "printf hello >/dev/sda1; head -c 5 /dev/sda1; echo; cat /dev/sda | wc -c; cat /dev/sda1 | wc -c\n\
        echo x >>/dev/null; sync; printf 12 >/dev/nosuch/x; cat /dev/sdb; head -c 5 /dev/sda1";
    let shown = run(script, disk(&image));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(text, "hello\n32768\n8192\nhello");
    let bytes = fs::read(&image).expect("the image");
    assert_eq!(&bytes[8 * SECTOR..8 * SECTOR + 6], b"hello\0");
    assert_eq!(bytes[510..512], [0x55, 0xaa], "nothing else is changed");
}

fn untouched() {
    let images = Images::new();
    let image = images.write("image", &[7; 16 * SECTOR]);
    let shown = printed("printf hello >/dev/sda; sync; head -c 5 /dev/sda", |command| {
        disk(&image)(command);
        command.arg("--snapshot-disk");
    });
    assert_eq!(shown, "hello");
    assert_eq!(fs::read(&image).expect("the image"), [7; 16 * SECTOR]);
}

fn saved() {
    let images = Images::new();
    let image = images.write("image", &[7; 16 * SECTOR]);
    let vm = images.0.path().join("vm");
    let go_on = || {
        let mut command = pagewalk();
        command.args(["run", "--timeout", "120", "--snapshot"]).arg(&vm);
        command.stdin(Stdio::null()).output().expect("run pagewalk")
    };
    // Long before the script's end, and after it began.
    run(
        "printf hello >/dev/sda; sync; n=0; while [ $n -lt 3000 ]; do n=$((n+1)); done; head -c 5 /dev/sda",
        |command| {
            disk(&image)(command);
            command.arg("--save").arg(&vm).args(["--save-at", "100000000"]);
        },
    );
    let image_then = fs::read(&image).expect("the image");
    let first = go_on();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(String::from_utf8_lossy(&first.stdout), "hello");
    fs::write(&image, [8; 16 * SECTOR]).expect("change the image");
    let changed = go_on();
    assert_eq!(changed.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&changed.stderr).contains("is not as the machine left it"));
    fs::write(&image, image_then).expect("put the image back");
    assert!(go_on().status.success());
}

/// An ext2 image of `blocks` blocks with the contents of a folder.
fn ext2(images: &Images, name: &str, block_size: u32, blocks: u32, tree: Option<&Path>) -> PathBuf {
    let path = images.0.path().join(name);
    image::ext2(&path, block_size, blocks, tree);
    path
}

/// Asserts that `e2fsck` finds nothing wrong.
fn assert_clean(image: &Path) {
    let checked = Command::new("e2fsck").args(["-fn"]).arg(image).output().expect("run e2fsck");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(0), "{said}");
}

/// Bytes that tell where they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn ext2_read() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(tree.join("deep/er/still")).expect("folders");
    fs::write(tree.join("small"), "a few bytes\n").expect("a file");
    fs::write(tree.join("deep/er/still/large"), pattern(700_000)).expect("a file");
    for n in 0..300 {
        fs::write(tree.join(format!("deep/file with a name of some length {n}")), format!("{n}")).expect("a file");
    }
    std::os::unix::fs::symlink("deep/er", tree.join("short")).expect("a link");
    std::os::unix::fs::symlink(format!("{}small", "./".repeat(60)), tree.join("long")).expect("a link");
    // Behind all blocks that one and two levels of pointers reach, where blocks have 1 KiB.
    let sparse = fs::File::create(tree.join("sparse")).expect("a file");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"the end", 70 << 20).expect("its end");
    for block_size in [1024, 2048, 4096] {
        let image = ext2(&images, "image", block_size, (8 << 20) / block_size, Some(&tree));
        let script = "mkdir /m; mount -t ext2 -r /dev/sda /m; cat /m/small; ls /m/deep | wc -l; cat /m/short/still/large | wc -c\n\
            cat /m/long; tail -c 7 /m/sparse; echo; cat '/m/deep/file with a name of some length 123'; echo\n\
            grep /m /proc/mounts; touch /m/x || echo refused; ls -l /m | grep -c sparse; umount /m; mount | grep -c ext2";
        let shown = run(script, disk(&image));
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let want =
            "a few bytes\n301\n700000\na few bytes\nthe end\n123\n/dev/sda /m ext2 ro,relatime 0 0\nrefused\n1\n0\n";
        assert_eq!(text, want, "{}", String::from_utf8_lossy(&shown.stderr));
        let large = run("mkdir /m; mount -r /dev/sda /m; cat /m/deep/er/still/large", disk(&image));
        assert!(large.stdout == pattern(700_000), "the large file of {block_size}-byte blocks");
        assert_clean(&image);
    }
}

/// A script that does with names and files what can be done.
const WRITES: &str = "mkdir /m; mount /dev/sda /m; cd /m; mkdir -p a/b/c d; seq 1 20000 >numbers; cp numbers a/b/copy\n\
    ln numbers hard; ln -s numbers soft; ln -s /a/target/that/is/longer/than/sixty/bytes/so/that/it/needs/a/block/of/its/own long\n\
    n=0; while [ $n -lt 120 ]; do echo $n >d/a-file-with-a-rather-long-name-$n; n=$((n+1)); done\n\
    n=0; while [ $n -lt 120 ]; do rm d/a-file-with-a-rather-long-name-$n; n=$((n+3)); done\n\
    mv a/b/c d/moved; mv a/b/copy numbers2; mkdir gone; rm -r gone; echo more >>numbers2; echo short >hard; rm soft\n\
    seq 1 50000 >big; mv big d/big; echo over >big; mv big d/big; touch d/empty; sync\n\
    cat numbers; wc -c <numbers2; tail -n 1 numbers2; ls d | wc -l; cat d/big; ls -l long | grep -c needs/a/block\n\
    cd /; umount /m && echo unmounted";

const WRITTEN: &str = "short\n108899\nmore\n83\nover\n1\nunmounted\n";

fn ext2_write() {
    let images = Images::new();
    for block_size in [1024, 4096] {
        let image = ext2(&images, "image", block_size, (8 << 20) / block_size, None);
        let output = run(WRITES, disk(&image));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, WRITTEN, "{}", String::from_utf8_lossy(&output.stderr));
        assert_clean(&image);
        let again = "mkdir /m; mount -r /dev/sda /m; cat /m/hard; seq 1 20000 >n; echo more >>n; cat n | wc -c; cat /m/numbers2 | wc -c\n\
            ls /m/d/moved | wc -l; cat /m/d/a-file-with-a-rather-long-name-119";
        assert_eq!(printed(again, disk(&image)), "short\n108899\n108899\n0\n119\n");
    }
}

/// Extended attributes in a block of their own: such an inode has a block, and still no pointers.
fn ext2_attributes() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(&tree).expect("a folder");
    fs::write(tree.join("file"), pattern(5000)).expect("a file");
    std::os::unix::fs::symlink("file", tree.join("link")).expect("a link");
    let image = images.0.path().join("image");
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext2", "-b", "1024", "-I", "128", "-d"]).args([&tree, &image]).arg("1024");
    assert!(command.status().expect("run mke2fs").success());
    let commands = images.write(
        "commands",
        b"mknod device c 12 34\nea_set /link trusted.a one\nea_set /device trusted.a two\nea_set /file trusted.a three\n",
    );
    let mut debugfs = Command::new("debugfs");
    let made = debugfs.arg("-w").arg("-f").arg(commands).arg(&image).output().expect("run debugfs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_clean(&image);
    let script = "mkdir /m; mount /dev/sda /m; ls -l /m/link | grep -c 'link -> file'; cat /m/link | wc -c; ls -l /m/device | grep -c '12, *34'\n\
        rm /m/link /m/device /m/file; ls /m; umount /m && echo unmounted";
    assert_eq!(printed(script, disk(&image)), "1\n5000\n1\nlost+found\nunmounted\n");
    assert_clean(&image);
}

fn ext2_unlinked() {
    let images = Images::new();
    let image = ext2(&images, "image", 1024, 1024, None);
    let script = "mkdir /m; mount /dev/sda /m; echo text >/m/f; exec 3</m/f; rm /m/f; umount /m || echo busy; cat <&3\n\
        exec 3<&-; umount /m && echo unmounted";
    assert_eq!(printed(script, disk(&image)), "busy\ntext\nunmounted\n");
    assert_clean(&image);
}

fn ext2_full() {
    let images = Images::new();
    let image = ext2(&images, "image", 1024, 512, None);
    let script = "mkdir /m; mount /dev/sda /m; seq 1 200000 >/m/too-big || echo full; rm /m/too-big; echo ok >/m/small; cat /m/small\n\
        n=0; while mkdir /m/d$n 2>/dev/null; do n=$((n+1)); done; [ $n -gt 20 ] && echo no more; umount /m && echo unmounted";
    let output = run(script, disk(&image));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "full\nok\nno more\nunmounted\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_clean(&image);
}

fn ext2_damaged() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(tree.join("d/e")).expect("folders");
    fs::write(tree.join("d/file"), pattern(100_000)).expect("a file");
    fs::write(tree.join("d/e/other"), pattern(5000)).expect("a file");
    let good = fs::read(ext2(&images, "image", 1024, 512, Some(&tree))).expect("the image");
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut draw = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    // Where the metadata is: superblock, descriptors, bitmaps, inodes, first directories.
    let metadata = 90 << 10;
    for round in 0..12 {
        let mut bad = good.clone();
        for _ in 0..1 + draw(40) {
            let at = if round % 3 == 0 { 1024 + draw(2048) } else { 1024 + draw(metadata) };
            bad[at] = draw(256) as u8;
        }
        let image = images.write("bad", &bad);
        let script = "mkdir /m; mount /dev/sda /m; ls -lR /m; cat /m/d/file /m/d/e/other; echo x >/m/new; mkdir /m/n; rm -r /m/d\n\
            umount /m; sync; echo alive";
        let output = run(script, disk(&image));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.ends_with("alive\n"), "round {round}: {}: {errors}", output.status);
    }
}

/// The block of an image that has the hundredth KiB of a file of [`pattern`]. It lies behind the
/// metadata; the last sectors of the disk are free.
fn hundredth_block(image: &Path) -> u32 {
    let bytes = fs::read(image).expect("the image");
    let want = &pattern(200_000)[100 << 10..101 << 10];
    bytes.chunks(1024).position(|block| block == want).expect("the block") as u32
}

fn ext2_failing() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(&tree).expect("a folder");
    fs::write(tree.join("file"), pattern(200_000)).expect("a file");
    let image = ext2(&images, "image", 1024, 2048, Some(&tree));
    let at = hundredth_block(&image);
    let script = "mkdir /m; mount /dev/sda /m; echo kept >/m/kept; sync; cat /m/file >/dev/null || echo unreadable; cat /m/kept\n\
        seq 1 200000 >/m/lost && sync /m/lost || echo unwritable; dmesg | grep -c 'error: { UNC }'; umount /m; sync; echo alive";
    let output = run(script, |command| {
        disk(&image)(command);
        command.args(["--disk-error", &format!("sda:{}:read", 2 * at + 1), "--disk-error", "sda:2400-4095:write"]);
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["unreadable", "kept", "unwritable"], "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lines[3].parse::<u32>().is_ok_and(|count| count > 0), "{text}");
    assert_eq!(lines.last(), Some(&"alive"));
    assert_eq!(printed("mkdir /m; mount -r /dev/sda /m; cat /m/kept", disk(&image)), "kept\n");
}

fn uncut() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(&tree).expect("a folder");
    fs::write(tree.join("file"), pattern(200_000)).expect("a file");
    let image = ext2(&images, "image", 1024, 2048, Some(&tree));
    let script = "mkdir /m; mount /dev/sda /m; mmprobe cut /m/file 103000; ls -l /m/file | grep -c ' 200000 '\n\
        mmprobe cut /m/file 150000; umount /m && echo unmounted";
    let printed = printed(script, |command| {
        disk(&image)(command);
        command.args(["--disk-error", &format!("sda:{}:read", 2 * hundredth_block(&image) + 1)]);
    });
    assert_eq!(printed, "EIO, 200000 bytes\n1\nok, 150000 bytes\nunmounted\n");
    assert_clean(&image);
}

fn in_qemu() {
    let images = Images::new();
    let image = ext2(&images, "image", 1024, 8192, None);
    let log = Boot::of_script(WRITES).disk(&image).in_qemu(64).log;
    assert!(log.contains("] ata1.00: ") || log.contains("ata1.00: ATA-"), "{log}");
    assert!(log.contains(WRITTEN), "{log}");
    assert_clean(&image);
}

/// One sector of a file cannot be read.
fn failing_in_qemu() {
    let images = Images::new();
    let tree = images.0.path().join("tree");
    fs::create_dir_all(&tree).expect("a folder");
    fs::write(tree.join("file"), pattern(200_000)).expect("a file");
    let image = ext2(&images, "image", 1024, 2048, Some(&tree));
    let script = "mkdir /m; mount /dev/sda /m; echo kept >/m/kept; sync; cat /m/file >/dev/null 2>&1 || echo unreadable\n\
        cat /m/kept; umount /m; sync; echo alive";
    let boot = Boot::of_script(script).disk_that_fails(&image, &[2 * hundredth_block(&image) + 1]);
    assert_eq!(boot.in_qemu(64).printed(), "unreadable\nkept\nalive\n");
    assert_clean(&image);
}
