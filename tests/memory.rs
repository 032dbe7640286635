//! What memory management does where memory, swap or a device gives out, and with pages of
//! 4 MiB; the same in QEMU.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use abi::{
    books::{MmRecord, TaskRecord, vm},
    runfile::RunFile,
};
use images::Initramfs;
use inspect::{Books, KernelImage, Request, Target, look, parse_address};
use libtest_mimic::Trial;
use machine::{Detached, Machine, RunLimit, Stop};
use tempfile::TempDir;
use x86::{PhysAddr, SegReg};

use crate::{
    lenses::{machine, target},
    reclaim::{guest, natively, row},
    support::{Need, trial},
};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    let disk = [Need::Program("mke2fs")];
    let qemu = [Need::NativeI386, Need::Program("qemu-system-i386"), Need::Program("timeout")];
    vec![
        trial("memory::huge_pages_come_from_their_pool_and_go_back_to_it", &[], huge_pages),
        trial("memory::a_pool_of_huge_pages_is_found_in_fragmented_memory", &[], fragmented_pool),
        trial("memory::calls_about_large_ranges_take_no_memory_of_the_kernel", &[], large_ranges),
        trial("memory::a_file_in_memory_stays_there_after_munlock", &[], unlocked),
        trial("memory::a_page_from_swap_without_other_owners_is_not_copied", &[], reused),
        trial("memory::swap_can_be_turned_off_under_a_process_without_its_first_thread", &native, leaderless),
        trial("memory::two_who_turn_one_device_on_get_it_once", &[], swapon_twice),
        trial("memory::write_back_goes_by_its_settings_at_once", &disk, write_back),
        trial("memory::with_swap_full_the_largest_process_is_killed_as_linux_tells_it", &[], out_of_memory),
        trial("memory::a_full_tmpfs_gives_enospc_and_sigbus", &[], full_tmpfs),
        trial("memory::a_disk_that_fails_gives_eio_and_sigbus", &[], failing_disk),
        trial("memory::gs_leads_to_a_threads_own_memory", &[], thread_local),
        trial("memory::a_frame_is_seen_before_and_after_it_was_moved", &[], moved_frames),
        trial("memory::lenses_show_huge_pages", &[], huge_pages_from_outside),
        trial("memory::qemu_runs_programs_larger_than_its_memory", &qemu, swap_in_qemu),
        trial("memory::qemu_gives_the_same_huge_pages", &qemu, huge_pages_in_qemu),
    ]
}

/// What `mmprobe hugetlb` prints.
const HUGETLB: &str = include_str!("programs/hugetlb.txt");

fn huge_pages() {
    assert_eq!(guest(&["--memory", "64M"], "mmprobe hugetlb\n"), HUGETLB);
}

/// Compaction makes blocks of 4 MiB where every free run is smaller.
fn fragmented_pool() {
    let script = "workload anonymous 40960 >/dev/null; cd /proc/sys/vm; for i in 1 2 3 4 5 6; do workload storm $i; \
        done >/dev/null; echo 10 >nr_hugepages; cat nr_hugepages; grep -c . /proc/meminfo; echo 1 >verify && echo verified\n\
        echo 0 >nr_hugepages; grep HugePages_Total /proc/meminfo; echo 1 >verify && echo verified\n";
    let text = guest(&["--memory", "64M"], script);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].parse::<u32>().is_ok_and(|pages| (8..=10).contains(&pages)), "{text}");
    assert_eq!(lines[2..], ["verified", "HugePages_Total:       0", "verified"], "{text}");
}

fn large_ranges() {
    let script = "mmprobe ranges; echo 1 >/proc/sys/vm/verify && echo verified\n";
    let want = "mincore: 16 of 262144\nMADV_WILLNEED: ok\nmincore without room: EFAULT\n\
        mincore over a hole: ENOMEM\npages told: 300\nverified\n";
    assert_eq!(guest(&["--memory", "16M"], script), want);
}

fn unlocked() {
    let script =
        "seq 1 60000 >/f; grep nr_unevictable /proc/vmstat; mmprobe unlocked /f; grep nr_unevictable /proc/vmstat\n";
    let text = guest(&["--memory", "32M"], script);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "mlock: ok, munlock: ok", "{text}");
    assert!(lines[0].starts_with("nr_unevictable ") && lines[0] == lines[2], "{text}");
}

fn reused() {
    let text = guest(&["--memory", "32M", "--swap", "32M"], "mmprobe refork 8192\n");
    assert_eq!(text, "frames for each page: 1.0, contents right: true\n");
}

fn leaderless() {
    let script = "exec mmprobe leaderless 8192 & sleep 1\nworkload anonymous 22528; cat /proc/swaps | wc -l\n\
        swapoff /dev/sda && echo off; cat /proc/swaps | wc -l; kill $!; wait $!; echo $?\n\
        echo 1 >/proc/sys/vm/verify && echo verified\n";
    let text = guest(&["--memory", "32M", "--swap", "64M"], script);
    assert_eq!(text, format!("written\n{}2\noff\n1\n143\nverified\n", natively(&["anonymous", "22528"])));
}

fn swapon_twice() {
    let script = "swapoff /dev/sda\nswapon -p 5 /dev/sda 2>/tmp/1 & swapon -p 5 /dev/sda 2>/tmp/2 & wait\n\
        cat /tmp/1 /tmp/2; cat /proc/swaps | wc -l; swapoff /dev/sda && cat /proc/swaps | wc -l\n";
    let text = guest(&["--memory", "32M", "--swap", "8M"], script);
    assert_eq!(text, "swapon: /dev/sda: Resource busy\n2\n1\n");
}

/// An empty ext2 image of `mib` MiB.
fn ext2(folder: &TempDir, mib: u32) -> PathBuf {
    let image = folder.path().join("image");
    let output =
        Command::new("mke2fs").args(["-q", "-t", "ext2", "-b", "4096"]).arg(&image).arg(format!("{mib}M")).output();
    assert!(output.expect("mke2fs runs").status.success());
    image
}

fn write_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = ext2(&folder, 16);
    let script = "mkdir /m; mount /dev/sda /m; sync; cd /proc/sys/vm\n\
        echo 0 >dirty_writeback_centisecs; echo 10 >dirty_expire_centisecs; seq 1 20000 >/m/f; sleep 1\n\
        cat /proc/vmstat; echo ==; echo 10 >dirty_writeback_centisecs; sleep 1; cat /proc/vmstat; echo ==\n\
        echo 0 >dirty_background_ratio; echo 0 >dirty_ratio; mmprobe fill /m/g 1024; umount /m\n";
    let text = guest(&["--memory", "32M", "--snapshot-disk", "--disk", image.to_str().expect("a path")], script);
    let parts: Vec<&str> = text.split("==\n").collect();
    assert!(row(parts[0], "nr_dirty") >= 26, "nobody writes back: {text}");
    assert_eq!(row(parts[1], "nr_dirty"), 0, "the thread goes on: {text}");
    assert_eq!(parts[2], "written: nothing happened\npages written: all\n");
}

/// A line with each number as `N`.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            c => text.push(c),
        }
    }
    text
}

/// Linux's lines about it, with `N` for numbers, in their order.
const OOM_REPORT: [&str; 24] = [
    " invoked oom-killer: gfp_mask=Nx",
    "CPU: N PID: N Comm: ",
    "Call Trace:",
    "Mem-Info:",
    "active_anon:N inactive_anon:N isolated_anon:N",
    " active_file:N inactive_file:N isolated_file:N",
    " unevictable:N dirty:N writeback:N",
    " slab_reclaimable:N slab_unreclaimable:N",
    " mapped:N shmem:N pagetables:N",
    " sec_pagetables:N bounce:N",
    " kernel_misc_reclaimable:N",
    " free:N free_pcp:N free_cma:N",
    "Node N active_anon:NkB inactive_anon:NkB active_file:NkB inactive_file:NkB unevictable:NkB isolated(anon):NkB \
     isolated(file):NkB mapped:NkB dirty:NkB writeback:NkB shmem:NkB shmem_thp: NkB shmem_pmdmapped: NkB anon_thp: NkB \
     writeback_tmp:NkB kernel_stack:NkB pagetables:NkB sec_pagetables:NkB all_unreclaimable? ",
    "DMA free:NkB boost:NkB min:NkB low:NkB high:NkB reserved_highatomic:NKB active_anon:NkB inactive_anon:NkB \
     active_file:NkB inactive_file:NkB unevictable:NkB writepending:NkB present:NkB managed:NkB mlocked:NkB bounce:NkB \
     free_pcp:NkB local_pcp:NkB free_cma:NkB",
    "lowmem_reserve[]: N N N N",
    "Normal free:NkB boost:NkB ",
    "DMA: ",
    "Node N hugepages_total=N hugepages_free=N hugepages_surp=N hugepages_size=NkB",
    "N total pagecache pages",
    "Free swap  = NkB",
    "N pages hwpoisoned",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=N,global_oom,task_memcg=/,\
     task=workload,pid=N,uid=N",
    "Out of memory: Killed process N (workload) total-vm:NkB, anon-rss:NkB, file-rss:NkB, shmem-rss:NkB, UID:N \
     pgtables:NkB oom_score_adj:N",
];

fn out_of_memory() {
    let script = "exec mmprobe leaderless 2048 & sleep 1\nworkload anonymous 34816; echo $?\n\
        grep oom_kill /proc/vmstat; kill $!; wait $!; echo $?; echo 1 >/proc/sys/vm/verify && echo verified; dmesg\n";
    let text = guest(&["--memory", "32M", "--swap", "8M"], script);
    let (said, log) = text.split_once("verified\n").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(said, "written\n137\noom_kill 1\n143\n", "the small process lives: {text}");
    let mut lines = log.lines().map(|line| without_numbers(line.split_once("] ").map_or(line, |(_, line)| line)));
    for want in OOM_REPORT {
        assert!(lines.any(|line| line.contains(want)), "`{want}` is not in its place in\n{log}");
    }
    let free = log.lines().find(|line| line.contains("Free swap  = ")).expect("the line");
    let free: u32 = free.rsplit("= ").next().and_then(|kb| kb.strip_suffix("kB")?.parse().ok()).expect("a number");
    assert!(free < 1024, "swap is full: {free} kB");
}

fn full_tmpfs() {
    let script = "head -c 30000000 /dev/zero >/tmp/f; echo $?; mmprobe fill /tmp/g 1024; rm /tmp/f /tmp/g\n\
        mmprobe fill /tmp/g 1024; rm /tmp/g; head -c 1000000 /dev/zero >/tmp/f && echo room\n\
        echo 1 >/proc/sys/vm/verify && echo verified\n";
    let text = guest(&["--memory", "32M"], script);
    let want = "1\nwritten: signal 7 code 2, trap 14 error 0x6\npages written: some\n\
        written: nothing happened\npages written: all\nroom\nverified\n";
    assert_eq!(text, want);
}

/// The sectors of a page.
const PAGE_SECTORS: u32 = 8;

fn failing_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    fs::write(&image, vec![7; 1 << 20]).expect("an image");
    let bad = format!("sda:{}:read", 100 * PAGE_SECTORS + 3);
    let options = ["--memory", "32M", "--disk", image.to_str().expect("a path"), "--disk-error", &bad];
    let script = "mmprobe look /dev/sda 400; mmprobe look /dev/sda 1024; head -c 409600 /dev/sda | wc -c\n\
        cat /dev/sda >/dev/null || echo unreadable; echo 1 >/proc/sys/vm/verify && echo verified\n";
    let want = "read: nothing happened\nread: signal 7 code 2, trap 14 error 0x4\n409600\nunreadable\nverified\n";
    assert_eq!(guest(&options, script), want);

    // A page of a program that cannot be read back from swap is that program's end.
    let options = ["--memory", "32M", "--swap", "64M", "--disk-error", "sda:1000-2000:read"];
    let script = "workload anonymous 49152; echo $?; echo 1 >/proc/sys/vm/verify && echo verified\n";
    assert_eq!(guest(&options, script), "135\nverified\n");
}

/// Runs on until `found`, looking after each `step` instructions.
fn run_until(machine: &mut Machine, step: u64, found: impl Fn(&Machine) -> bool) {
    while !found(machine) {
        let retired = Some(machine.retired() + step);
        let stop = machine.run(RunLimit { retired, pass_breakpoint: true }, &mut Detached);
        assert_eq!(stop, Stop::Limit, "the guest has come to its end at {} instructions", machine.retired());
    }
}

fn show(target: &Target<'_>, words: &str) -> (String, serde_json::Value) {
    let request = Request::from_words(&words.split(' ').collect::<Vec<_>>()).expect("a lens");
    let answer = look(target, &request).expect("the lens shows");
    (String::from_utf8(answer.text).expect("text"), answer.json)
}

/// The process of a name, if there is one.
fn process(target: &Target<'_>, name: &str) -> Option<(TaskRecord, MmRecord)> {
    let books = Books::of(target).ok()?;
    let task = books.processes().ok()?.into_iter().find(|task| task.comm.starts_with(name.as_bytes()))?;
    let mm = books.mm(&task).ok()??;
    Some((task, mm))
}

/// Each thread of a program has a segment of its own, whose base GS adds.
fn thread_local() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = machine("mmprobe leaderless 8192");
    let mut bases = Vec::new();
    for _ in 0..100_000 {
        let retired = Some(machine.retired() + 1009);
        assert_eq!(machine.run(RunLimit { retired, pass_breakpoint: true }, &mut Detached), Stop::Limit);
        let (seen, cpu) = (target(&machine, &kernel), machine.cpu(0));
        let runs =
            cpu.selector(SegReg::Cs).rpl() == 3 && process(&seen, "mmprobe").is_some_and(|(_, mm)| mm.pgd == cpu.cr3);
        let base = if runs { cpu.seg(SegReg::Gs).base } else { 0 };
        if base == 0 || bases.contains(&base) {
            continue;
        }
        let (text, json) = show(&seen, "walk gs:0");
        assert!(text.starts_with("logical   gs:0x00000000\nsegment   selector 0x0033  base 0x"), "{text}");
        assert!(text.contains(&format!("\nlinear    {base:#010x}  = directory ")), "{text}");
        for row in ["\nPDE       [", "\nPTE       [", "\nphysical  0x", "\nVMA       process "] {
            assert!(text.contains(row), "`{row}` is not in {text}");
        }
        // A thread's own memory begins with its own address.
        let physical = json["physical"].as_u64().expect("mapped");
        assert_eq!(machine.memory().read_u32(PhysAddr(physical)), base, "{text}");
        bases.push(base);
        if bases.len() == 2 {
            return;
        }
    }
    panic!("only {bases:x?} were seen");
}

/// Where each mapped page of the shell is.
fn frames(target: &Target<'_>) -> Vec<(u32, u32)> {
    let books = Books::of(target).expect("books");
    let (task, mm) = process(target, "sh").expect("the shell");
    let areas = books.vmas(&mm).expect("areas");
    let pages = areas.iter().flat_map(|area| (area.start..area.end).step_by(4096));
    let frame = |addr: u32| show(target, &format!("walk {addr:x} --pid {}", task.pid)).1["physical"].as_u64();
    pages.filter_map(|addr| Some((addr, (frame(addr)? >> 12) as u32))).collect()
}

/// A page of a program as it was seen: its address, its frame, what the lens said of the
/// frame, and its contents.
struct Seen {
    addr: u32,
    pfn: u32,
    text: String,
    contents: Vec<u8>,
}

fn moved_frames() {
    let kernel = KernelImage::parse(images::KERNEL);
    // Memory is filled up to where the last ones then are, and becomes free below them.
    let script = "exec mmprobe leaderless 244000 & big=$!; sleep 1; sleep 9000 & sleep 9000 & kill $big; wait $big\n\
        cat /proc/uptime; echo 1 >/proc/sys/vm/compact_memory; cat /proc/uptime";
    let mut machine = machine(script);
    let marker = parse_address(&target(&machine, &kernel), 0, "proc_gather_begin").expect("the symbol").linear;
    machine.add_breakpoint(marker);
    let mut looks: Vec<Vec<Seen>> = Vec::new();
    loop {
        let limit = RunLimit { retired: Some(8_000_000_000), pass_breakpoint: true };
        match machine.run(limit, &mut Detached) {
            Stop::Breakpoint { .. } => {}
            Stop::PowerOff { status: 0 } => break,
            other => panic!("{other}"),
        }
        let target = target(&machine, &kernel);
        let seen = frames(&target).into_iter().map(|(addr, pfn)| {
            let mut contents = vec![0; 4096];
            machine.memory().read(PhysAddr(u64::from(pfn) << 12), &mut contents);
            Seen { addr, pfn, text: show(&target, &format!("page {pfn:#x}")).0, contents }
        });
        looks.push(seen.collect());
    }
    let (Some(before), Some(after)) = (looks.first(), looks.last()) else { panic!("nothing was seen") };
    let mut moved = 0;
    for page in before {
        let Some(now) = after.iter().find(|now| now.addr == page.addr && now.pfn != page.pfn) else { continue };
        let mapped = format!(" (sh) at {:#010x}  ", page.addr);
        assert!(page.text.contains(&mapped) && now.text.contains(&mapped), "{}{}", page.text, now.text);
        // A page that was written to meanwhile may have been copied instead.
        moved += u32::from(page.contents == now.contents && now.pfn > page.pfn);
    }
    assert!(moved > 0, "no page of the shell was moved and kept its contents: {} pages", before.len());
}

/// Two pages are mapped, and one of them is there.
fn huge_pages_from_outside() {
    let kernel = KernelImage::parse(images::KERNEL);
    let mut machine = machine("mmprobe hugetlb");
    let area_of = |target: &Target<'_>| {
        let (task, mm) = process(target, "mmprobe")?;
        let areas = Books::of(target).ok()?.vmas(&mm).ok()?;
        let area = areas.into_iter().find(|area| area.flags & vm::HUGETLB != 0)?;
        (mm.hugetlb_pages != 0).then_some((task.pid, area.start))
    };
    run_until(&mut machine, 5_000, |machine| area_of(&target(machine, &kernel)).is_some());
    let seen = target(&machine, &kernel);
    let (pid, at) = area_of(&seen).expect("it is there");
    let (text, json) = show(&seen, &format!("walk {:x} --pid {pid}", at + 0x12_3456));
    assert_eq!(json["page_size"], 4 << 20, "{text}");
    assert!(text.contains(" PS ") && text.contains("4 MiB page)\n") && !text.contains("\nPTE "), "{text}");
    assert!(text.contains("/anon_hugepage (deleted)"), "{text}");
    let pfn = (json["physical"].as_u64().expect("mapped") >> 12) as u32;
    assert_eq!(pfn & 0x3ff, 0x123);
    let (text, json) = show(&seen, &format!("page {pfn:#x}"));
    assert!(text.contains("\nusers     1  of them page-table entries 1\n"), "{text}");
    assert!(text.contains(&format!("process {pid} (mmprobe) at {:#010x}  ", at + 0x12_3000)), "{text}");
    assert_eq!((&json["block"]["order"], &json["block"]["first"]), (&10.into(), &(pfn & !0x3ff).into()), "{text}");
    let (text, _) = show(&seen, &format!("pagetable --pid {pid}"));
    let row = format!("{at:08x}-{:08x} {:>13} {:>5}  ur", at + (4 << 20), 4 << 20, "4M");
    assert!(text.contains(&row), "`{row}` is not in\n{text}");
    let (text, _) = show(&seen, &format!("smaps {pid}"));
    assert!(text.contains("KernelPageSize:     4096 kB\n") && text.contains("Private_Hugetlb:    4096 kB\n"), "{text}");
    let (text, _) = show(&seen, "meminfo");
    assert!(text.contains("HugePages_Total:       6\nHugePages_Free:        5\nHugePages_Rsvd:        1\n"), "{text}");
}

/// What a script prints in the embedded shell under QEMU, with `swap_mib` MiB of swap.
fn in_qemu(memory_mib: u32, swap_mib: u32, script: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("write a file");
        path
    };
    let mut initramfs = Initramfs::new();
    initramfs.link_userland_into_bin();
    let run = RunFile {
        args: vec!["sh".into(), "-c".into(), script.into()],
        env: vec!["PATH=/bin".into(), "HOME=/".into()],
        ..RunFile::new("/bin/sh")
    };
    initramfs.set_run_file(&run).expect("a run file");
    let kernel = write("kernel", images::KERNEL);
    let initrd = write("initrd", &initramfs.build().expect("an initramfs"));
    let swap = swap_area(folder.path(), swap_mib);
    let mut command = Command::new("timeout");
    command
        .args(["300", "qemu-system-i386", "-accel", "tcg", "-m", &memory_mib.to_string(), "-display", "none"])
        .args(["-serial", "stdio", "-monitor", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .arg("-drive")
        .arg(format!("file={},if=ide,format=raw", swap.display()))
        .args([Path::new("-kernel"), &kernel, Path::new("-initrd"), &initrd])
        .args(["-append", "console=ttyS0 rdinit=/.pagewalk/init panic=-1 swap=/dev/sda"]);
    let output = command.stdin(Stdio::null()).output().expect("run qemu");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let printed = text.split_once("as init process\n").unwrap_or_else(|| panic!("{text}")).1;
    // The kernel's own lines are in between.
    printed.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect()
}

/// An image with the header that `mkswap` writes.
fn swap_area(folder: &Path, mib: u32) -> PathBuf {
    let pages = mib * 256;
    let mut header = vec![0; 4096];
    header[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    header[1028..1032].copy_from_slice(&(pages - 1).to_le_bytes());
    header[4086..].copy_from_slice(b"SWAPSPACE2");
    let path = folder.join("swap");
    fs::write(&path, header).expect("write the header");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(u64::from(mib) << 20)).expect("its size");
    path
}

fn swap_in_qemu() {
    let script = "workload anonymous 98304; workload cow 8192; workload storm 3\n\
        grep pswp /proc/vmstat | grep -c ' 0$'; echo 1 >/proc/sys/vm/verify && echo verified";
    let want = [&["anonymous", "98304"][..], &["cow", "8192"], &["storm", "3"]].map(natively).concat();
    assert_eq!(in_qemu(32, 128, script), want + "0\nverified\n");
}

fn huge_pages_in_qemu() {
    assert_eq!(in_qemu(64, 1, "mmprobe hugetlb"), HUGETLB);
}
