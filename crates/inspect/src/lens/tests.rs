//! The lenses on a small guest made by hand: two processes, their tables, and books.

use abi::Ptr32;
use abi::books::{KernelNote, VERSION};
use cpu::{CpuModel, CpuState};
use memory::{FrameKind, PhysMem};
use x86::{Cr0, Cr4, PhysAddr};

use super::look;
use crate::{Error, KernelImage, Request, Result, Target};

const PAGE_OFFSET: u32 = 0xc000_0000;

/// Kernel addresses of the records.
mod at {
    pub const BOOKS: u32 = 0xc000_1000;
    pub const INIT: u32 = 0xc000_2000;
    pub const PROGRAM: u32 = 0xc000_2100;
    pub const MM: u32 = 0xc000_2200;
    pub const VMA: [u32; 3] = [0xc000_2300, 0xc000_2340, 0xc000_2380];
    pub const FILE: u32 = 0xc000_2400;
    pub const INODE: u32 = 0xc000_2420;
    pub const DENTRY: [u32; 3] = [0xc000_2440, 0xc000_2460, 0xc000_2480];
    pub const NAMES: u32 = 0xc000_2500;
    pub const IOMEM: [u32; 4] = [0xc000_2600, 0xc000_2640, 0xc000_2680, 0xc000_26c0];
    pub const ZONES: u32 = 0xc000_2800;
    pub const CACHE: u32 = 0xc000_2c00;
    /// Physical: directory and table of the program, and its code and stack pages.
    pub const PGD: u32 = 0x4000;
}

struct Guest {
    mem: PhysMem,
    cpu: CpuState,
    kernel: KernelImage,
}

impl Guest {
    fn new() -> Guest {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x10_0000, FrameKind::Ram).unwrap();
        let mut cpu = CpuState::multiboot(CpuModel::default(), 0x0804_8010, 0);
        cpu.cr0 = (Cr0::PE | Cr0::ET | Cr0::WP | Cr0::PG).bits();
        cpu.cr4 = (Cr4::PSE | Cr4::PGE).bits();
        cpu.cr3 = at::PGD;
        let note = KernelNote { version: VERSION, books: Ptr32::new(at::BOOKS), page_offset: PAGE_OFFSET };
        let mut guest = Guest { mem, cpu, kernel: KernelImage::with_note(note) };
        guest.fill();
        guest
    }

    fn words(&mut self, addr: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.mem.write(PhysAddr(u64::from(addr & 0x0fff_ffff)), &bytes);
    }

    fn text(&mut self, addr: u32, text: &str) {
        self.mem.write(PhysAddr(u64::from(addr & 0x0fff_ffff)), text.as_bytes());
    }

    fn fill(&mut self) {
        self.words(
            at::BOOKS,
            &[VERSION, at::INIT, at::PROGRAM, 1, at::IOMEM[0], 0, at::ZONES, 1, at::CACHE, 0, 0, 0x7000, 2],
        );
        self.words(at::INIT, &[at::PROGRAM, 1, 1, 0, 1, 1, u32::from(b'S'), 0, 0]);
        self.text(at::INIT + 36, "init");
        self.words(at::PROGRAM, &[0, 2, 2, 1, 2, 2, u32::from(b'R'), 0, at::MM]);
        self.text(at::PROGRAM + 36, "hello");
        // tty 4:64, exit code, faults, 65 s of user time, none of system time.
        self.words(at::PROGRAM + 52, &[0x440, 0, 3, 0, 0x224d_4a00, 0xf, 0, 0]);
        self.words(at::MM, &[at::PGD, at::VMA[0], 3, 1, 0x0804_8000, 0x0804_8100, 0, 0, 0x0804_a000, 0x0804_b000]);
        self.words(at::MM + 40, &[0xbfff_0100, 0xbfff_0200, 0xbfff_0208, 0, 0, 5, 1, 2, 0, 3, 5, 4096, at::FILE]);
        self.words(at::VMA[0], &[at::VMA[1], 0x0804_8000, 0x0804_a000, 0x75, 1, at::FILE, at::MM]);
        self.words(at::VMA[1], &[at::VMA[2], 0x0804_a000, 0x0804_b000, 0x73, 0, 0, at::MM]);
        self.words(at::VMA[2], &[0, 0xbffe_0000, 0xbfff_1000, 0x173, 0, 0, at::MM]);
        self.words(at::FILE, &[at::DENTRY[0], at::INODE]);
        self.words(at::INODE, &[7, 0, 2]);
        self.words(at::DENTRY[0], &[at::DENTRY[1], at::NAMES, 5, 0]);
        self.words(at::DENTRY[1], &[at::DENTRY[2], at::NAMES + 5, 3, 0]);
        self.words(at::DENTRY[2], &[0, at::NAMES, 0, 0]);
        self.text(at::NAMES, "hellobinSystem RAMKernel code");
        self.words(at::IOMEM[0], &[0, !0, 0, 0, 0, 0, at::IOMEM[1], 0]);
        self.words(at::IOMEM[1], &[0x1000, 0xfff_ffff, at::NAMES + 8, 10, at::IOMEM[0], at::IOMEM[3], at::IOMEM[2], 0]);
        self.words(at::IOMEM[2], &[0x10_0000, 0x17_ffff, at::NAMES + 18, 11, at::IOMEM[1], 0, 0, 1]);
        self.words(at::IOMEM[3], &[0xfee0_0000, 0xfee0_0fff, at::NAMES, 0, at::IOMEM[0], 0, 0, 1]);
        self.text(at::ZONES, "DMA");
        self.words(at::ZONES + 8, &[0, 4096, 3999, 3900, 1, 2, 3, 100, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 24]);
        self.words(at::CACHE, &[0, at::NAMES + 5, 3, 10, 20, 64, 64, 1, 0, 0, 0, 1, 1, 0]);
        self.tables();
    }

    /// 0x08048000: frame 0x20, read-only; 0xbfff0000: frame 0x21; the kernel's 4 MiB at PAGE_OFFSET.
    fn tables(&mut self) {
        self.words(at::PGD + 4 * 0x20, &[0x5067]);
        self.words(0x5000 + 4 * 0x48, &[0x2_0025]);
        self.words(at::PGD + 4 * 0x2ff, &[0x6067]);
        self.words(0x6000 + 4 * 0x3f0, &[0x2_1067]);
        self.words(at::PGD + 4 * 0x300, &[0x0000_01e3]);
        // The first stack: argc, argv, environment, auxiliary vector; the argument strings.
        self.words(0x2_1100, &[2, 0xbfff_0200, 0xbfff_0206, 0, 0, 6, 4096, 9, 0x0804_8010, 0, 0, 0xdead]);
        self.text(0x2_1200, "hello\0-x\0");
    }

    fn target(&self) -> Target<'_> {
        Target { kernel: Some(&self.kernel), ..Target::new(vec![&self.cpu], &self.mem) }
    }

    fn look(&self, line: &str) -> Result<String> {
        let request = Request::from_words(&line.split_whitespace().collect::<Vec<_>>())?;
        look(&self.target(), &request).map(|answer| String::from_utf8_lossy(&answer.text).into_owned())
    }
}

#[test]
fn processes_are_listed_as_ps_does() {
    let want = "    PID TTY          TIME CMD\n      1 ?        00:00:00 init\n      2 ttyS0    00:01:05 hello\n";
    assert_eq!(Guest::new().look("ps").as_deref(), Ok(want));
}

#[test]
fn maps_have_paths_heap_and_stack() {
    let want = "\
08048000-0804a000 r-xp 00001000 00:02 7          /bin/hello
0804a000-0804b000 rw-p 00000000 00:00 0          [heap]
bffe0000-bfff1000 rw-p 00000000 00:00 0          [stack]
";
    assert_eq!(Guest::new().look("maps 2").as_deref(), Ok(want));
    assert_eq!(Guest::new().look("maps 1").as_deref(), Ok(""));
    assert_eq!(Guest::new().look("maps 9"), Err(Error::NoProcess(9)));
}

#[test]
fn resources_are_listed_by_depth() {
    let want = "\
00001000-0fffffff : System RAM
  00100000-0017ffff : Kernel code
fee00000-fee00fff : <BAD>
";
    assert_eq!(Guest::new().look("iomem").as_deref(), Ok(want));
    assert_eq!(Guest::new().look("ioports").as_deref(), Ok(""));
}

#[test]
fn free_blocks_and_caches_are_listed() {
    let buddy = "Node 0, zone      DMA      4      3      2      1      0      0      0      0      0      0     24 \n";
    assert_eq!(Guest::new().look("buddyinfo").as_deref(), Ok(buddy));
    let slab = Guest::new().look("slabinfo").unwrap();
    let row =
        "bin                   10     20     64   64    1 : tunables    0    0    0 : slabdata      1      1      0";
    assert_eq!(slab.lines().nth(2), Some(row));
}

#[test]
fn a_walk_shows_every_step_and_who_owns_the_page() {
    let text = Guest::new().look("walk cs:08048010").unwrap();
    for line in [
        "logical   cs:0x08048010",
        "segment   selector 0x0008  base 0x00000000  limit 0xffffffff",
        "linear    0x08048010  = directory 32, table 72, offset 0x010",
        "directory 0x00004000  (CR3)",
        "PDE       [32] at 0x00004080 = 0x00005067  P R/W=1 U/S=1 A  -> table at 0x00005000",
        "PTE       [72] at 0x00005120 = 0x00020025  P R/W=0 U/S=1 A  -> frame at 0x00020000",
        "physical  0x00020010  (frame 0x20, 4 KiB page)",
        "rights    user and supervisor: read, execute",
        "TLB       cpu 0: not held",
        "VMA       process 2: 08048000-0804a000 r-xp 00001000 00:02 7          /bin/hello",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
}

#[test]
fn a_walk_of_a_large_page_ends_at_the_directory() {
    let text = Guest::new().look("walk c0001234 --pid 2").unwrap();
    let pde = "PDE       [768] at 0x00004c00 = 0x000001e3  P R/W=1 U/S=0 A PS D G  -> 4 MiB page at 0x00000000";
    assert!(text.contains(pde), "{text}");
    assert!(text.contains("physical  0x00001234  (frame 0x1, 4 MiB page)"), "{text}");
    assert!(text.contains("supervisor only: read, write, execute; global"), "{text}");
}

/// PAE with NX: the program's pages by 8-byte entries; a 2 MiB page at 0x40000000 that can't be executed.
fn with_pae() -> Guest {
    let mut guest = Guest::new();
    guest.words(0x8000, &[0x9001, 0, 0, 0, 0, 0, 0, 0]);
    guest.words(0x9000 + 64 * 8, &[0xb067, 0]);
    guest.words(0xb000 + 72 * 8, &[0x2_0025, 0, 0x2_1067, 0x8000_0000]);
    guest.words(0xa000, &[0x20_01e7, 0x8000_0000]);
    guest.cpu.cr3 = 0x8000;
    guest.cpu.cr4 |= Cr4::PAE.bits();
    guest.cpu.msr.efer = x86::Efer::NXE.bits();
    guest.cpu.pdpte = [0x9001, 0xa001, 0, 0];
    guest
}

#[test]
fn a_walk_with_pae_goes_by_the_pointer_registers_and_tells_xd() {
    let text = with_pae().look("walk 08048010").unwrap();
    for line in [
        "linear    0x08048010  = pointer 0, directory 64, table 72, offset 0x010",
        "pointers  0x00008000  (CR3)",
        "PDPTE     [0] at 0x00008000 = 0x0000000000009001  P  -> directory at 0x00009000",
        "PDE       [64] at 0x00009200 = 0x000000000000b067  P R/W=1 U/S=1 A  -> table at 0x0000b000",
        "PTE       [72] at 0x0000b240 = 0x0000000000020025  P R/W=0 U/S=1 A  -> frame at 0x00020000",
        "physical  0x00020010  (frame 0x20, 4 KiB page)",
        "rights    user and supervisor: read, execute",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    let text = with_pae().look("walk 40123456").unwrap();
    for part in [
        "(the register; memory now has 0x0000000000000000)",
        "0x80000000002001e7  P R/W=1 U/S=1 A PS D G XD  -> 2 MiB page at 0x00200000",
        "physical  0x00323456  (frame 0x323, 2 MiB page)",
        "rights    user and supervisor: read, write; global",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    let registers = with_pae().look("regs").unwrap();
    assert!(registers.contains("pdpte0 0000000000009001  pdpte1 000000000000a001"), "{registers}");
    let text = with_pae().look("walk 80000000").unwrap();
    assert!(text.contains("the page-directory-pointer entry is not present (P = 0)"), "{text}");
}

#[test]
fn ranges_with_pae_tell_what_can_be_executed() {
    let text = with_pae().look("pagetable").unwrap();
    let rows: Vec<_> = text.lines().skip(2).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    let shown: Vec<_> = rows.iter().map(|row| [row[0], row[2], row[3]]).collect();
    assert_eq!(
        shown,
        [
            ["08048000-08049000", "4K", "ur-x-"],
            ["08049000-0804a000", "4K", "urw--"],
            ["40000000-40200000", "2M", "urw-G"]
        ],
        "{text}"
    );
    assert!(text.starts_with("page-directory pointers at 0x00008000\n"), "{text}");
}

#[test]
fn a_walk_that_faults_says_why() {
    let text = Guest::new().look("walk 0").unwrap();
    assert!(text.contains("fault     #PF on any access: the page-directory entry is not present (P = 0)"), "{text}");
    let text = Guest::new().look("walk 08049000").unwrap();
    assert!(text.contains("the page-table entry is not present (P = 0)"), "{text}");
}

#[test]
fn without_paging_linear_is_physical() {
    let mut guest = Guest::new();
    guest.cpu.cr0 = 0x11;
    let text = guest.look("walk 1000").unwrap();
    assert!(text.contains("paging off: linear is physical"), "{text}");
    assert_eq!(guest.look("pagetable").as_deref(), Ok("paging off: linear is physical\n"));
}

#[test]
fn the_tables_are_listed_as_merged_ranges() {
    let mut guest = Guest::new();
    guest.words(0x5000 + 4 * 0x49, &[0x3_0005]);
    let request = Request::Pagetable { cpu: 0, pid: None };
    let json = look(&guest.target(), &request).unwrap().json;
    let range = |i: usize, key: &str| json["ranges"][i][key].clone();
    assert_eq!(json["ranges"].as_array().unwrap().len(), 3);
    assert_eq!((range(0, "start"), range(0, "end")), (0x0804_8000.into(), 0x0804_a000.into()));
    assert_eq!((range(0, "pages"), range(0, "accessed_pages")), (2.into(), 1.into()));
    assert_eq!((range(0, "contiguous"), range(0, "write")), (false.into(), false.into()));
    assert_eq!((range(2, "page_size"), range(2, "global")), (0x40_0000.into(), true.into()));
}

#[test]
fn registers_code_and_memory_are_shown() {
    let mut guest = Guest::new();
    guest.text(0x2_0010, "\u{1}\u{1}\u{1}\u{1}");
    guest.mem.write(PhysAddr(0x2_0010), &[0x40, 0xcd, 0x80, 0xc3]);
    let regs = guest.look("regs").unwrap();
    assert!(regs.contains("cr0 80010011  PE ET WP PG\n"), "{regs}");
    assert!(regs.starts_with("CPU 0: ring 0, protected mode, running, 0 instructions retired\n"), "{regs}");
    let code = guest.look("disas $eip 3").unwrap();
    assert_eq!(code.lines().next(), Some(">08048010  40                             inc eax"));
    assert_eq!(code.lines().nth(1), Some(" 08048011  cd 80                          int 80h"));
    assert_eq!(guest.look("x 08048010 1").unwrap(), "08048010  c380cd40                             @...\n");
    assert_eq!(guest.look("x 0 1"), Err(Error::Unmapped(x86::LinearAddr(0))));
    assert_eq!(guest.look("regs --cpu 4"), Err(Error::NoCpu { asked: 4, have: 1 }));
}

#[test]
fn files_of_a_process_are_made_from_the_books() {
    let guest = Guest::new();
    let file = |name| super::process_file(&guest.target(), 2, name).unwrap();
    assert_eq!(file("cmdline").as_deref(), Some(&b"hello\0-x"[..]));
    assert_eq!(file("exe").as_deref(), Some(&b"/bin/hello"[..]));
    let auxv: Vec<u8> = [6u32, 4096, 9, 0x0804_8010, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(file("auxv"), Some(auxv));
    assert!(String::from_utf8(file("status").unwrap()).unwrap().contains("VmRSS:\t      12 kB\n"));
    assert_eq!(file("fdinfo"), None);
}

#[test]
fn a_foreign_kernel_is_told_apart_in_one_line() {
    let mut guest = Guest::new();
    let error = |guest: &Guest| guest.look("ps").unwrap_err().to_string();
    guest.words(at::BOOKS, &[0]);
    assert_eq!(error(&guest), "the guest kernel has not filled its books yet");
    guest.words(at::BOOKS, &[VERSION + 1]);
    assert_eq!(
        error(&guest),
        format!("the guest kernel's books have version {}, this program reads version {VERSION}", VERSION + 1)
    );
    guest.kernel = KernelImage::default();
    assert_eq!(error(&guest), "the machine's kernel keeps no books that this program can read");
    assert!(guest.look("walk 0").is_ok() && guest.look("tlb").is_ok() && guest.look("bt").is_ok());
}

#[test]
fn cycles_and_wild_pointers_are_named_and_the_rest_is_shown() {
    let mut guest = Guest::new();
    let noted = |guest: &Guest, line: &str| {
        let request = Request::from_words(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let answer = look(&guest.target(), &request).unwrap();
        (String::from_utf8(answer.text).unwrap(), answer.note.unwrap_or_default())
    };
    guest.words(at::PROGRAM, &[at::INIT]);
    let (text, note) = noted(&guest, "ps");
    assert_eq!(text.lines().count(), 3);
    assert!(note.contains(&format!("list of tasks comes back to {:#010x}", at::INIT)), "{note}");
    guest.words(at::PROGRAM, &[0xc010_0000]);
    let (text, note) = noted(&guest, "ps");
    assert!(text.contains("hello") && note.contains("tasks at 0xc0100000 cannot be read"), "{note}");
    guest.words(at::PROGRAM, &[0]);
    guest.words(at::VMA[2], &[at::VMA[0]]);
    let (text, note) = noted(&guest, "maps 2");
    assert_eq!(text.lines().count(), 3);
    assert!(note.contains("list of areas comes back to"), "{note}");
    guest.words(at::IOMEM[2] + 24, &[at::IOMEM[1]]);
    let (text, note) = noted(&guest, "iomem");
    assert_eq!(text.lines().count(), 3);
    assert!(note.contains("list of resources comes back to"), "{note}");
    guest.words(at::DENTRY[1], &[at::DENTRY[0]]);
    guest.words(at::VMA[2], &[0]);
    let (text, note) = noted(&guest, "maps 2");
    assert!(text.contains("?/bin/hello\n") && note.contains("a path's folders comes back to"), "{text}{note}");
    guest.words(at::BOOKS + 28, &[!0]);
    let (text, note) = noted(&guest, "buddyinfo");
    assert!(text.contains("DMA") && note.contains("zones at"), "{text}{note}");
}

#[test]
fn no_lens_panics_on_random_books() {
    let mut guest = Guest::new();
    let mut seed = 0x1234_5678u32;
    for round in 0..400u32 {
        for _ in 0..24 {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let value = if seed & 1 == 0 { seed } else { 0xc000_2000 | seed & 0xffc };
            guest.words(0x2000 + (seed >> 8 & 0xffc), &[value]);
        }
        for line in [
            "ps",
            "maps 2",
            "smaps 2",
            "pmap 2",
            "pmap -x 2",
            "status 2",
            "iomem",
            "buddyinfo",
            "pagetypeinfo",
            "slabinfo",
            "page 1",
            "vmallocinfo",
            "modules",
        ] {
            let _ = guest.look(line);
        }
        let _ = (guest.look("walk 08048010"), guest.look("bt"), super::process_file(&guest.target(), 2, "stat"));
        if round % 20 == 0 {
            guest.fill();
        }
    }
}
