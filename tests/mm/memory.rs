//! What memory management does where memory, swap or a device gives out, and with pages of
//! 4 MiB.

use std::fs;

use abi::books::{MmRecord, TaskRecord, vm};
use inspect::{Books, KernelImage, Request, Target, look};
use libtest_mimic::Trial;
use machine::{Detached, Machine, RunLimit, Stop};
use x86::{PhysAddr, SegReg};

use crate::{
    lenses::{machine, target},
    support::{
        Need,
        guest::{guest, row, workload},
        image::ext2_of,
        program::natively,
        trial,
    },
};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    let disk = [Need::Program("mke2fs")];
    vec![
        trial("mm::memory::huge_pages_come_from_their_pool_and_go_back_to_it", &[], huge_pages),
        trial("mm::memory::a_pool_of_huge_pages_is_found_in_fragmented_memory", &[], fragmented_pool),
        trial("mm::memory::calls_about_large_ranges_take_no_memory_of_the_kernel", &[], large_ranges),
        trial("mm::memory::a_file_in_memory_stays_there_after_munlock", &[], unlocked),
        trial("mm::memory::who_may_lock_how_much_is_as_on_linux", &[], locked),
        trial("mm::memory::the_limits_of_locked_memory_are_those_of_the_hosts_linux", &native, locked_natively),
        trial("mm::memory::a_page_from_swap_without_other_owners_is_not_copied", &[], reused),
        trial("mm::memory::swap_can_be_turned_off_under_a_process_without_its_first_thread", &native, leaderless),
        trial("mm::memory::two_who_turn_one_device_on_get_it_once", &[], swapon_twice),
        trial("mm::memory::two_who_turn_one_device_off_bring_its_pages_back_once", &[], swapoff_twice),
        trial("mm::memory::write_back_goes_by_its_settings_at_once", &disk, write_back),
        trial("mm::memory::with_swap_full_the_largest_process_is_killed_as_linux_tells_it", &[], out_of_memory),
        trial("mm::memory::a_full_tmpfs_gives_enospc_and_sigbus", &[], full_tmpfs),
        trial("mm::memory::a_disk_that_fails_gives_eio_and_sigbus", &[], failing_disk),
        trial("mm::memory::gs_leads_to_a_threads_own_memory", &[], thread_local),
        trial("mm::memory::lenses_show_huge_pages", &[], huge_pages_from_outside),
    ]
}

/// What `mmprobe hugetlb` prints.
pub const HUGETLB: &str = include_str!("../programs/hugetlb.txt");

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

/// What `mmprobe locked` prints.
const LOCKED: &str = include_str!("../programs/locked.txt");

/// Up to a hole all pages are locked and unlocked.
fn locked() {
    let want = "locked: 252 kB\nmunlock: ENOMEM, 124 kB\nmunlock: ok, 0 kB\nverified\n";
    let script = "mmprobe locked; mmprobe locked pages; echo 1 >/proc/sys/vm/verify && echo verified\n";
    assert_eq!(guest(&["--memory", "32M"], script), [LOCKED, want].concat());
}

fn locked_natively() {
    assert_eq!(String::from_utf8_lossy(&natively("mmprobe", &["locked"]).stdout), LOCKED);
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
    assert_eq!(text, format!("written\n{}2\noff\n1\n143\nverified\n", workload(&["anonymous", "22528"])));
}

fn swapon_twice() {
    let script = "swapoff /dev/sda\nswapon -p 5 /dev/sda 2>/tmp/1 & swapon -p 5 /dev/sda 2>/tmp/2 & wait\n\
        cat /tmp/1 /tmp/2; cat /proc/swaps | wc -l; swapoff /dev/sda && cat /proc/swaps | wc -l\n";
    let text = guest(&["--memory", "32M", "--swap", "8M"], script);
    assert_eq!(text, "swapon: /dev/sda: Resource busy\n2\n1\n");
}

fn swapoff_twice() {
    let script = "exec mmprobe leaderless 8192 & sleep 1\nworkload anonymous 22528 >/dev/null\n\
        swapoff /dev/sda 2>/tmp/1 & first=$!; swapoff /dev/sda 2>/tmp/2 & second=$!; wait $first; a=$?; wait $second\n\
        echo $((a + $?)); cat /tmp/1 /tmp/2; cat /proc/swaps | wc -l; echo 1 >/proc/sys/vm/verify && echo verified\n";
    let text = guest(&["--memory", "32M", "--swap", "64M"], script);
    assert_eq!(text, "written\n1\nswapoff: /dev/sda: Invalid argument\n1\nverified\n");
}

fn write_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    ext2_of(&image, 16, None);
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

/// Two processes want more than there is, in 32 MiB with 8 MiB of swap.
pub const OOM: &str = "exec 2>/dev/null; exec mmprobe leaderless 2048 & sleep 1\nworkload anonymous 34816; echo $?\n\
    grep oom_kill /proc/vmstat; kill $!; wait $!; echo $?; echo 1 >/proc/sys/vm/verify && echo verified; dmesg\n";

fn out_of_memory() {
    largest_is_killed(&guest(&["--memory", "32M", "--swap", "8M"], OOM));
}

/// What [`OOM`] has printed. Lines of the kernel may be in between.
pub fn largest_is_killed(text: &str) {
    let (said, log) = text.split_once("verified\n").unwrap_or_else(|| panic!("{text}"));
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with('[')).collect();
    assert_eq!(said, ["written", "137", "oom_kill 1", "143"], "the small process lives: {text}");
    let mut lines = log.lines().map(|line| without_numbers(line.split_once("] ").map_or(line, |(_, line)| line)));
    for want in OOM_REPORT {
        assert!(lines.any(|line| line.contains(want)), "`{want}` is not in its place in\n{log}");
    }
    let free = log.lines().find(|line| line.contains("Free swap  = ")).expect("the line");
    let free: u32 = free.rsplit("= ").next().and_then(|kb| kb.strip_suffix("kB")?.parse().ok()).expect("a number");
    assert!(free < 1024, "swap is full: {free} kB");
}

/// A file fills the tmpfs of a machine of 32 MiB; another is written to through a mapping then,
/// and when there is room again.
pub const TMPFS: &str = "head -c 30000000 /dev/zero >/tmp/f 2>/dev/null; echo $?; mmprobe fill /tmp/g 1024\n\
    rm /tmp/f /tmp/g; mmprobe fill /tmp/g 1024; rm /tmp/g; head -c 1000000 /dev/zero >/tmp/f && echo room\n\
    echo 1 >/proc/sys/vm/verify && echo verified\n";

/// What it prints.
pub const TMPFS_FULL: &str = "1\nwritten: signal 7 code 2, trap 14 error 0x6\npages written: some\n\
    written: nothing happened\npages written: all\nroom\nverified\n";

fn full_tmpfs() {
    assert_eq!(guest(&["--memory", "32M"], TMPFS), TMPFS_FULL);
}

/// A sector in the hundredth page of a disk.
pub const BAD_SECTOR: u32 = 803;

/// The disk is read up to it, and beyond.
pub const DISK: &str = "mmprobe look /dev/sda 400; mmprobe look /dev/sda 1024; head -c 409600 /dev/sda | wc -c\n\
    cat /dev/sda >/dev/null 2>&1 || echo unreadable; echo 1 >/proc/sys/vm/verify && echo verified\n";

/// What that prints.
pub const DISK_FAILS: &str =
    "read: nothing happened\nread: signal 7 code 2, trap 14 error 0x4\n409600\nunreadable\nverified\n";

/// A page of a program that cannot be read back from swap is that program's end: in 32 MiB.
pub const SWAP: &str =
    "exec 2>/dev/null; workload anonymous 49152; echo $?; echo 1 >/proc/sys/vm/verify && echo verified\n";

/// What that prints.
pub const SWAP_FAILS: &str = "135\nverified\n";

fn failing_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    fs::write(&image, vec![7; 1 << 20]).expect("an image");
    let bad = format!("sda:{BAD_SECTOR}:read");
    let options = ["--memory", "32M", "--disk", image.to_str().expect("a path"), "--disk-error", &bad];
    assert_eq!(guest(&options, DISK), DISK_FAILS);
    let options = ["--memory", "32M", "--swap", "64M", "--disk-error", "sda:1000-2000:read"];
    assert_eq!(guest(&options, SWAP), SWAP_FAILS);
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
pub fn process(target: &Target<'_>, name: &str) -> Option<(TaskRecord, MmRecord)> {
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
        let (seen, number) = (target(&machine, &kernel), machine.current_cpu());
        let cpu = machine.cpu(number);
        let runs =
            cpu.selector(SegReg::Cs).rpl() == 3 && process(&seen, "mmprobe").is_some_and(|(_, mm)| mm.pgd == cpu.cr3);
        let base = if runs { cpu.seg(SegReg::Gs).base } else { 0 };
        if base == 0 || bases.contains(&base) {
            continue;
        }
        let (text, json) = show(&seen, &format!("walk gs:0 --cpu {number}"));
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
