//! The guest kernel's books: the records that the host reads, field by field, in the
//! memory of a running or saved machine.
//!
//! The kernel embeds each record as the first field of the structure that it describes
//! (`TaskRecord` in `TaskStruct`, `VmaRecord` in `VmArea` …) and keeps it true at every
//! instruction boundary outside the lock that guards it. It announces the root,
//! [`KernelBooks`], in an ELF note of the kernel image: name [`NOTE_NAME`], type
//! [`NOTE_TYPE`], description a [`KernelNote`].
#![allow(missing_docs, reason = "fields with Linux's names mean what they mean there")]

use crate::module::MODULE_NAME_LEN;
use crate::proc::counts::NR_ITEMS;
use crate::{Ptr32, U64};

/// Name of the ELF note, without the terminating zero.
pub const NOTE_NAME: &str = "PAGEWALK";
/// Type of the ELF note.
pub const NOTE_TYPE: u32 = 1;
/// Version of all records; the host refuses another.
pub const VERSION: u32 = 10;
/// Most CPUs that the kernel uses.
pub const NR_CPUS: usize = 8;
/// Free lists of a zone: orders 0 to 10.
pub const NR_ORDERS: usize = 11;
/// Kinds of pages by whether they can be moved: unmovable, movable, reclaimable, kept for
/// atomic requests, isolated.
pub const NR_MIGRATE_TYPES: usize = 5;

/// Description of the ELF note.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KernelNote {
    pub version: u32,
    /// Linear address of the books (in the kernel's direct map).
    pub books: Ptr32<KernelBooks>,
    /// `PAGE_OFFSET`: the linear address of physical address 0.
    pub page_offset: u32,
}

/// The root of everything. All zero until the kernel has filled it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct KernelBooks {
    /// [`VERSION`] once the books can be read; 0 before.
    pub version: u32,
    /// First task in a list by ascending pid.
    pub tasks: Ptr32<TaskRecord>,
    /// What the kernel keeps of each CPU: an array of `nr_cpus`.
    pub cpu_states: Ptr32<CpuStateRecord>,
    /// CPUs that run.
    pub nr_cpus: u32,
    pub iomem: Ptr32<ResourceRecord>,
    pub ioports: Ptr32<ResourceRecord>,
    /// Array of `nr_zones`.
    pub zones: Ptr32<ZoneRecord>,
    pub nr_zones: u32,
    /// First cache in the order of `/proc/slabinfo`.
    pub caches: Ptr32<KmemCacheRecord>,
    /// `mem_map[0]`, an array of `max_pfn` descriptors of `page_size` bytes.
    pub mem_map: Ptr32<PageRecord>,
    pub max_pfn: u32,
    /// Physical address of the kernel's own page directory (`swapper_pg_dir`).
    pub swapper_pg_dir: u32,
    /// Counts up when a change of the lists above begins and again when it has ended:
    /// odd means that a walk now may see a half-made change.
    pub seq: u32,
    /// The locks that guard the trees of resources, the zones and the caches: a byte that is
    /// not 0 while somebody holds it.
    pub resource_lock: Ptr32<u8>,
    pub zone_lock: Ptr32<u8>,
    pub slab_lock: Ptr32<u8>,
    pub vmstat: Ptr32<VmStatRecord>,
    /// Array of [`NR_IRQS`].
    pub irqs: Ptr32<IrqRecord>,
    /// Array of `nr_cpus`: what CPUID says.
    pub cpus: Ptr32<CpuRecord>,
    /// First area of `vmalloc`'s addresses, by ascending address.
    pub vmap_areas: Ptr32<VmStructRecord>,
    /// First of those that are freed and may still be in a TLB, newest first.
    pub vmap_unpurged: Ptr32<VmStructRecord>,
    /// The lock that guards both lists.
    pub vmap_lock: Ptr32<u8>,
    /// The migrate type of each pageblock of 4 MiB, from address 0 on.
    pub pageblocks: Ptr32<u8>,
    /// Array of [`NR_SWAPFILES`].
    pub swaps: Ptr32<SwapRecord>,
    /// First loaded module, newest first.
    pub modules: Ptr32<ModuleRecord>,
    /// The lock that guards the list.
    pub modules_lock: Ptr32<u8>,
    /// The foreground process group of the terminal; null without a terminal.
    pub tty_pgrp: Ptr32<u32>,
    pub system: SystemPlaces,
}

/// Where the words lie behind `/proc/stat`, `loadavg` and `uptime`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SystemPlaces {
    /// Context switches.
    pub switches: Ptr32<u32>,
    /// The last number given to a task, and how many forks there were.
    pub last_pid: Ptr32<u32>,
    pub total_forks: Ptr32<u32>,
    /// Load averages over 1, 5 and 15 minutes, with 11 fraction bits.
    pub averages: Ptr32<[u32; 3]>,
    /// Nanoseconds since boot are the TSC's cycles since `tsc_base` times this, shifted right by
    /// [`TSC_SHIFT`]; 0 while the TSC is not the clock.
    pub tsc_mult: Ptr32<u32>,
    pub tsc_base: Ptr32<U64>,
    /// Nanoseconds since 1970 when the clock showed 0.
    pub realtime_offset_ns: Ptr32<U64>,
}

impl SystemPlaces {
    /// All zero.
    pub const EMPTY: SystemPlaces = SystemPlaces {
        switches: Ptr32::NULL,
        last_pid: Ptr32::NULL,
        total_forks: Ptr32::NULL,
        averages: Ptr32::NULL,
        tsc_mult: Ptr32::NULL,
        tsc_base: Ptr32::NULL,
        realtime_offset_ns: Ptr32::NULL,
    };
}

/// Fraction bits of [`SystemPlaces::tsc_mult`].
pub const TSC_SHIFT: u32 = 22;

/// Nanoseconds of `cycles` of a TSC with this multiplier.
pub const fn tsc_ns(cycles: u64, mult: u32) -> u64 {
    let mult = mult as u64;
    (((cycles & 0xffff_ffff) * mult) >> TSC_SHIFT).wrapping_add((cycles >> 32).wrapping_mul(mult) << (32 - TSC_SHIFT))
}

/// What the kernel keeps of a CPU.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CpuStateRecord {
    /// The task that runs there.
    pub current: Ptr32<TaskRecord>,
    /// Its idle task, which is in no list.
    pub idle: Ptr32<TaskRecord>,
    /// The number of its local APIC.
    pub apic_id: u32,
    /// Ready tasks besides the running one.
    pub nr_ready: u32,
    /// Interrupts by [`vectors`](crate::proc::interrupts::VECTORS).
    pub vectors: [u32; NR_VECTORS],
    /// Nanoseconds in ring 3, in the kernel, and without work.
    pub user_ns: U64,
    pub system_ns: U64,
    pub idle_ns: U64,
}

impl ZoneRecord {
    /// Pages in the lists of all CPUs together.
    pub fn pcp_pages(&self) -> u32 {
        self.pcp_count.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }
}

impl CpuStateRecord {
    /// All zero.
    pub const EMPTY: CpuStateRecord = CpuStateRecord {
        current: Ptr32::NULL,
        idle: Ptr32::NULL,
        apic_id: 0,
        nr_ready: 0,
        vectors: [0; NR_VECTORS],
        user_ns: U64::new(0),
        system_ns: U64::new(0),
        idle_ns: U64::new(0),
    };
}

/// `task_struct`: a thread.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TaskRecord {
    pub next: Ptr32<TaskRecord>,
    /// The thread's own number; equals `tgid` in the thread-group leader.
    pub pid: u32,
    pub tgid: u32,
    pub ppid: u32,
    pub pgrp: u32,
    pub session: u32,
    /// The letter of `/proc/PID/stat`: R, S, D, T, Z.
    pub state: u32,
    /// The CPU that it runs on or last ran on.
    pub cpu: u32,
    /// Null for kernel threads and zombies.
    pub mm: Ptr32<MmRecord>,
    pub comm: [u8; 16],
    /// Device number of the controlling terminal, as in `/proc/PID/stat`; 0 none.
    pub tty_nr: u32,
    pub exit_code: u32,
    pub min_flt: u32,
    pub maj_flt: u32,
    /// Nanoseconds.
    pub utime_ns: U64,
    pub stime_ns: U64,
    /// Nanoseconds since boot.
    pub start_time_ns: U64,
    pub nr_threads: u32,
    /// Lowest address of the kernel stack (8 KiB).
    pub stack: u32,
    pub uid: u32,
    pub gid: u32,
    /// The CPUs that it may run on, as a mask.
    pub cpus_allowed: u32,
    pub places: Ptr32<TaskPlacesRecord>,
}

/// Where the words lie that other structures of the kernel keep for a task: what `stat`,
/// `status` and `limits` show beyond [`TaskRecord`].
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TaskPlacesRecord {
    /// `files_struct`: descriptors that its table has slots for.
    pub nr_fds: Ptr32<u32>,
    /// `fs_struct`.
    pub umask: Ptr32<u32>,
    pub cred: Ptr32<CredRecord>,
    /// `sighand_struct`: an array of [`NSIG`], signal 1 first.
    pub sigactions: Ptr32<SigActionRecord>,
    pub blocked: Ptr32<U64>,
    /// Signals for this thread, and for any thread of the process.
    pub pending: Ptr32<PendingRecord>,
    pub shared_pending: Ptr32<PendingRecord>,
    /// Of children that were waited for.
    pub children: Ptr32<ChildUsageRecord>,
    /// Of threads of the process that have ended.
    pub dead_threads: Ptr32<CpuTimeRecord>,
    /// An array of [`RLIM_NLIMITS`] pairs: soft and hard.
    pub rlimits: Ptr32<[u32; 2]>,
    pub exit_signal: Ptr32<u32>,
    /// An `i32`.
    pub nice: Ptr32<u32>,
    /// Voluntary and involuntary context switches.
    pub nvcsw: Ptr32<u32>,
    pub nivcsw: Ptr32<u32>,
}

/// Signals are numbered 1 to 64.
pub const NSIG: u32 = 64;
/// Limits of a process.
pub const RLIM_NLIMITS: usize = 16;

/// `cred`: who a task acts as.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CredRecord {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
}

/// `sigaction`: what a process does with a signal; a handler of 0 or 1 is `SIG_DFL` or `SIG_IGN`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SigActionRecord {
    pub handler: u32,
    pub flags: u32,
    pub restorer: u32,
    pub mask: U64,
}

/// `sigpending`: signals that wait for delivery.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PendingRecord {
    /// Which, bit 0 for signal 1.
    pub set: U64,
    /// How many are queued.
    pub count: u32,
}

/// Time on the CPU, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CpuTimeRecord {
    pub user_ns: U64,
    pub system_ns: U64,
}

/// Time and faults of children that were waited for.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ChildUsageRecord {
    pub user_ns: U64,
    pub system_ns: U64,
    pub min_flt: u32,
    pub maj_flt: u32,
    /// In pages.
    pub maxrss: u32,
}

/// `mm_struct`: an address space.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct MmRecord {
    /// Physical address of the page directory: what CR3 holds while it is in use.
    pub pgd: u32,
    /// First area by ascending address.
    pub mmap: Ptr32<VmaRecord>,
    pub map_count: u32,
    pub mm_users: u32,
    pub start_code: u32,
    pub end_code: u32,
    pub start_data: u32,
    pub end_data: u32,
    pub start_brk: u32,
    pub brk: u32,
    pub start_stack: u32,
    pub arg_start: u32,
    pub arg_end: u32,
    pub env_start: u32,
    pub env_end: u32,
    /// In pages.
    pub total_vm: u32,
    pub rss_anon: u32,
    pub rss_file: u32,
    pub rss_shmem: u32,
    pub hiwater_rss: u32,
    pub hiwater_vm: u32,
    /// Page tables, in bytes.
    pub pgtables_bytes: u32,
    pub exe: Ptr32<FileRecord>,
    /// The lock that guards this record, the areas and the page tables: a byte that is not 0
    /// while somebody holds it.
    pub mmap_lock: Ptr32<u8>,
    /// Pages in swap areas.
    pub swapents: u32,
    /// Huge pages that are mapped, in pages of 4 KiB.
    pub hugetlb_pages: u32,
}

/// `vm_area_struct`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct VmaRecord {
    pub next: Ptr32<VmaRecord>,
    /// First address.
    pub start: u32,
    /// First address after.
    pub end: u32,
    /// `VM_*` bits.
    pub flags: u32,
    /// Offset in the file, in pages (anonymous: the virtual offset).
    pub pgoff: u32,
    /// Null for anonymous memory.
    pub file: Ptr32<FileRecord>,
    pub mm: Ptr32<MmRecord>,
}

/// `VM_*` bits of [`VmaRecord::flags`], with Linux's values.
pub mod vm {
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const EXEC: u32 = 4;
    pub const SHARED: u32 = 8;
    pub const MAYREAD: u32 = 0x10;
    pub const MAYWRITE: u32 = 0x20;
    pub const MAYEXEC: u32 = 0x40;
    pub const MAYSHARE: u32 = 0x80;
    pub const GROWSDOWN: u32 = 0x100;
    pub const PFNMAP: u32 = 0x400;
    pub const LOCKED: u32 = 0x2000;
    pub const IO: u32 = 0x4000;
    pub const DONTCOPY: u32 = 0x2_0000;
    pub const DONTEXPAND: u32 = 0x4_0000;
    pub const ACCOUNT: u32 = 0x10_0000;
    pub const NORESERVE: u32 = 0x20_0000;
    pub const HUGETLB: u32 = 0x40_0000;
    pub const MIXEDMAP: u32 = 0x1000_0000;
}

/// `file`: an open file, as far as a mapping names it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FileRecord {
    pub dentry: Ptr32<DentryRecord>,
    pub inode: Ptr32<InodeRecord>,
}

/// `dentry`. The path is the names from here up to the root, whose `parent` is null. The
/// root of a mounted file system bears the name and parent of its mount point.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct DentryRecord {
    pub parent: Ptr32<DentryRecord>,
    pub name: Ptr32<u8>,
    pub name_len: u32,
    /// Bit 0: unlinked, which `/proc` shows as ` (deleted)`.
    /// Bit 1: the name is whole (`/memfd:x`, `pipe:[5]`), with nothing before it.
    pub flags: u32,
}

/// `inode`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct InodeRecord {
    pub ino: u32,
    /// Major number of the device.
    pub major: u32,
    pub minor: u32,
}

/// `resource`: a range of I/O ports or of physical memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ResourceRecord {
    pub start: u32,
    /// Inclusive.
    pub end: u32,
    pub name: Ptr32<u8>,
    pub name_len: u32,
    pub parent: Ptr32<ResourceRecord>,
    pub sibling: Ptr32<ResourceRecord>,
    pub child: Ptr32<ResourceRecord>,
    /// Bit 0: busy (claimed by a driver).
    pub flags: u32,
}

/// `zone`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ZoneRecord {
    /// Zero-padded: `DMA`, `Normal`, `HighMem`.
    pub name: [u8; 8],
    pub start_pfn: u32,
    pub spanned_pages: u32,
    pub present_pages: u32,
    pub managed_pages: u32,
    pub watermark_min: u32,
    pub watermark_low: u32,
    pub watermark_high: u32,
    /// Free pages, all orders together.
    pub free_pages: u32,
    /// Free blocks of each order.
    pub nr_free: [u32; NR_ORDERS],
    /// Pages kept back from requests that could use DMA, Normal, HighMem, Movable.
    pub lowmem_reserve: [u32; 4],
    /// The same free blocks by migrate type and order.
    pub free_lists: [[u32; NR_ORDERS]; NR_MIGRATE_TYPES],
    /// Pageblocks of each migrate type.
    pub blocks: [u32; NR_MIGRATE_TYPES],
    /// Pages in the blocks that are kept for atomic requests.
    pub nr_reserved_highatomic: u32,
    /// Pages in the lists of each CPU.
    pub pcp_count: [u32; NR_CPUS],
    /// The number of pages from which a CPU gives some back, and how many come or go at once.
    pub pcp_high: u32,
    pub pcp_batch: u32,
}

/// The counters of memory management.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmStatRecord {
    /// By [`Item`](crate::proc::counts::Item).
    pub counters: [u32; NR_ITEMS],
}

impl Default for VmStatRecord {
    fn default() -> Self {
        VmStatRecord { counters: [0; NR_ITEMS] }
    }
}

/// Swap areas that can be in use at once.
pub const NR_SWAPFILES: usize = 8;

/// `swap_info_struct`: a swap area; all zero while the place is free.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SwapRecord {
    /// The device or file.
    pub file: Ptr32<FileRecord>,
    /// 1 for a device, 0 for a file.
    pub is_block: u32,
    /// Usable pages.
    pub pages: u32,
    /// Those in use.
    pub in_use: u32,
    /// An `i32`.
    pub prio: u32,
    /// An array of `slots` 16-bit words, one a slot: how many name it in bits 13:0.
    pub map: Ptr32<u16>,
    pub slots: u32,
}

impl SwapRecord {
    /// A free place.
    pub const NONE: SwapRecord =
        SwapRecord { file: Ptr32::NULL, is_block: 0, pages: 0, in_use: 0, prio: 0, map: Ptr32::NULL, slots: 0 };
}

/// Interrupt lines of the two controllers.
pub const NR_IRQS: usize = 16;

/// A line of `/proc/interrupts`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct IrqRecord {
    /// By CPU.
    pub counts: [u32; NR_CPUS],
    /// The controller: 0 the two 8259, 1 the I/O APIC by edge, 2 the I/O APIC by level.
    pub chip: u32,
    /// Its pin at the controller.
    pub hwirq: u32,
    /// Of the first handler; null for a line that nobody handles.
    pub name: Ptr32<u8>,
    pub name_len: u32,
}

/// Named vectors that a CPU counts: those of [`VECTORS`](crate::proc::interrupts::VECTORS).
pub const NR_VECTORS: usize = 6;

/// `cpuinfo_x86`: what CPUID says, and the measured frequency.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuRecord {
    /// Zero-padded.
    pub vendor: [u8; 16],
    pub model_name: [u8; 48],
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    /// Frequency of the TSC; 0 without one.
    pub khz: u32,
    pub cpuid_level: u32,
    /// 1 if it has CPUID at all.
    pub has_cpuid: u32,
    /// EDX and ECX of CPUID leaf 1.
    pub features: [u32; 2],
    pub physical_bits: u32,
}

impl CpuRecord {
    /// All zero.
    pub const EMPTY: CpuRecord = CpuRecord {
        vendor: [0; 16],
        model_name: [0; 48],
        family: 0,
        model: 0,
        stepping: 0,
        khz: 0,
        cpuid_level: 0,
        has_cpuid: 0,
        features: [0; 2],
        physical_bits: 0,
    };
}

impl Default for CpuRecord {
    fn default() -> Self {
        CpuRecord::EMPTY
    }
}

/// `vm_struct`: an area of `vmalloc`'s addresses.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmStructRecord {
    pub next: Ptr32<VmStructRecord>,
    pub addr: u32,
    /// Bytes, with the guard page.
    pub size: u32,
    /// `VM_*` bits of [`vm_area`](crate::proc::vmallocinfo::vm_area).
    pub flags: u32,
    pub nr_pages: u32,
    /// Of device memory.
    pub phys_addr: u32,
    /// Where it was asked for.
    pub caller: u32,
    /// The function there; null if the kernel does not know it.
    pub caller_name: Ptr32<u8>,
    pub caller_name_len: u32,
    /// Bytes from its beginning, and its length.
    pub caller_offset: u32,
    pub caller_size: u32,
    /// The module that the function is of; null for the kernel's own.
    pub caller_module: Ptr32<u8>,
    pub caller_module_len: u32,
}

impl VmStructRecord {
    /// All zero.
    pub const EMPTY: VmStructRecord = VmStructRecord {
        next: Ptr32::NULL,
        addr: 0,
        size: 0,
        flags: 0,
        nr_pages: 0,
        phys_addr: 0,
        caller: 0,
        caller_name: Ptr32::NULL,
        caller_name_len: 0,
        caller_offset: 0,
        caller_size: 0,
        caller_module: Ptr32::NULL,
        caller_module_len: 0,
    };
}

/// `module`: a loaded module.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ModuleRecord {
    pub next: Ptr32<ModuleRecord>,
    /// Zero-padded.
    pub name: [u8; MODULE_NAME_LEN],
    /// One of [`module_state`].
    pub state: u32,
    /// First address: code, then read-only data, then data.
    pub base: u32,
    /// Bytes, in whole pages.
    pub size: u32,
    /// Bytes of code, in whole pages; and of code and read-only data.
    pub text_size: u32,
    pub ro_size: u32,
    /// Who keeps it from going: open files, mappings.
    pub refcnt: u32,
    /// Addresses of its first and its last function; 0 for none.
    pub init: u32,
    pub exit: u32,
    /// An array of its symbols by ascending address.
    pub symbols: Ptr32<ModuleSymbolRecord>,
    pub nr_symbols: u32,
    /// An array of the modules whose symbols it uses.
    pub uses: Ptr32<Ptr32<ModuleRecord>>,
    pub nr_uses: u32,
}

impl ModuleRecord {
    /// All zero.
    pub const EMPTY: ModuleRecord = ModuleRecord {
        next: Ptr32::NULL,
        name: [0; MODULE_NAME_LEN],
        state: 0,
        base: 0,
        size: 0,
        text_size: 0,
        ro_size: 0,
        refcnt: 0,
        init: 0,
        exit: 0,
        symbols: Ptr32::NULL,
        nr_symbols: 0,
        uses: Ptr32::NULL,
        nr_uses: 0,
    };
}

/// States of a module, with Linux's values.
pub mod module_state {
    pub const LIVE: u32 = 0;
    pub const COMING: u32 = 1;
    pub const GOING: u32 = 2;
}

/// A symbol of a module, in the module's own memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ModuleSymbolRecord {
    pub addr: u32,
    /// 0 if the object file does not say.
    pub size: u32,
    pub name: Ptr32<u8>,
    pub name_len: u32,
}

/// `kmem_cache`: the numbers of a row of `/proc/slabinfo`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct KmemCacheRecord {
    pub next: Ptr32<KmemCacheRecord>,
    pub name: Ptr32<u8>,
    pub name_len: u32,
    pub active_objs: u32,
    pub num_objs: u32,
    /// Bytes of an object with its padding.
    pub objsize: u32,
    pub objperslab: u32,
    pub pagesperslab: u32,
    pub limit: u32,
    pub batchcount: u32,
    pub shared: u32,
    pub active_slabs: u32,
    pub num_slabs: u32,
    pub sharedavail: u32,
    /// Free objects in the array of each CPU: not active, and not in their slabs.
    pub avail: [u32; NR_CPUS],
}

/// In [`PageRecord::mapping`]: anonymous memory; the rest is the address of the kernel's record of
/// who may map it, or 0 while no table maps the page.
pub const PAGE_MAPPING_ANON: u32 = 1;

/// Bits of [`PageRecord::flags`], with Linux's names.
pub mod pg {
    pub const LOCKED: u32 = 1 << 0;
    pub const REFERENCED: u32 = 1 << 1;
    pub const UPTODATE: u32 = 1 << 2;
    pub const DIRTY: u32 = 1 << 3;
    pub const LRU: u32 = 1 << 4;
    pub const ACTIVE: u32 = 1 << 5;
    /// Was on an active list when it was last reclaimed.
    pub const WORKINGSET: u32 = 1 << 6;
    pub const SLAB: u32 = 1 << 7;
    /// Reading or writing it failed.
    pub const ERROR: u32 = 1 << 8;
    /// Is being written to its device.
    pub const WRITEBACK: u32 = 1 << 9;
    pub const RESERVED: u32 = 1 << 10;
    /// To be freed as soon as it is written.
    pub const RECLAIM: u32 = 1 << 11;
    /// Cannot be reclaimed: on the list of those.
    pub const UNEVICTABLE: u32 = 1 << 12;
    pub const HEAD: u32 = 1 << 13;
    /// Of the swap cache; `private` is the swap entry.
    pub const SWAPCACHE: u32 = 1 << 14;
    /// Some area that maps it is locked in memory.
    pub const MLOCKED: u32 = 1 << 15;
    pub const SWAPBACKED: u32 = 1 << 16;
    /// The frame begins a free block; `private` is its order.
    pub const BUDDY: u32 = 1 << 20;
    /// The frame is a page table.
    pub const TABLE: u32 = 1 << 21;
    /// Anonymous memory that one mapping owns alone.
    pub const ANON_EXCLUSIVE: u32 = 1 << 22;
    /// Of a huge page, or of the pool of those.
    pub const HUGETLB: u32 = 1 << 23;
    /// The zone's number stands in bits 31:30.
    pub const ZONE_SHIFT: u32 = 30;
}

/// `struct page`: the descriptor of a frame.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PageRecord {
    /// `PG_*` bits; bits 31:30 the zone.
    pub flags: u32,
    pub refcount: u32,
    /// Page-table entries that map it, less one, as in Linux: `!0` for none. Buddy: the order.
    pub mapcount: u32,
    /// Of a file: its address space; anonymous: tagged with bit 0; slab: its cache.
    pub mapping: u32,
    /// Offset in the file or area, in pages.
    pub index: u32,
    /// List links, or what the page's owner needs.
    pub lru: [u32; 2],
    pub private: u32,
}

const _: () = {
    assert!(size_of::<KernelNote>() == 12);
    assert!(size_of::<KernelBooks>() == 136);
    assert!(size_of::<SystemPlaces>() == 28);
    assert!(size_of::<TaskRecord>() == 116);
    assert!(size_of::<TaskPlacesRecord>() == 56);
    assert!(size_of::<CredRecord>() == 24);
    assert!(size_of::<SigActionRecord>() == 20);
    assert!(size_of::<PendingRecord>() == 12);
    assert!(size_of::<CpuTimeRecord>() == 16);
    assert!(size_of::<ChildUsageRecord>() == 28);
    assert!(size_of::<MmRecord>() == 104);
    assert!(size_of::<VmaRecord>() == 28);
    assert!(size_of::<FileRecord>() == 8);
    assert!(size_of::<DentryRecord>() == 16);
    assert!(size_of::<InodeRecord>() == 12);
    assert!(size_of::<ResourceRecord>() == 32);
    assert!(size_of::<ZoneRecord>() == 384);
    assert!(size_of::<VmStatRecord>() == 4 * NR_ITEMS);
    assert!(size_of::<SwapRecord>() == 28);
    assert!(size_of::<IrqRecord>() == 48);
    assert!(size_of::<CpuStateRecord>() == 64);
    assert!(size_of::<CpuRecord>() == 100);
    assert!(size_of::<VmStructRecord>() == 52);
    assert!(size_of::<ModuleRecord>() == 112);
    assert!(size_of::<ModuleSymbolRecord>() == 16);
    assert!(size_of::<KmemCacheRecord>() == 88);
    assert!(size_of::<PageRecord>() == 32);
};
