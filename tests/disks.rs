//! Disks: images of the host behind the guest's `/dev/sda`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{pagewalk, trial};

const SECTOR: usize = 512;

pub fn trials() -> Vec<Trial> {
    vec![
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
    command.args(["run", "--memory", "64M", "--timeout", "120"]);
    arrange(&mut command);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start pagewalk");
    // One that ends at once does not read its input.
    let _ = child.stdin.take().expect("its input").write_all(script.as_bytes());
    child.wait_with_output().expect("its end")
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
