//! `/proc/sys`.

use alloc::{format, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{
    errno::{EACCES, EINVAL, ENOENT, Result},
    proc::system::uts,
};

use super::Node;
use crate::{
    mm::{compaction, drop_caches, hugetlb, page_alloc, page_writeback, verify, vmscan},
    task::pid::PID_MAX,
};

/// A directory.
pub struct SysDir {
    /// Makes its inode number.
    pub number: u32,
    dirs: &'static [(&'static str, &'static SysDir)],
    files: &'static [(&'static str, &'static Entry)],
}

/// A file.
pub struct Entry {
    /// Makes its inode number.
    pub number: u32,
    value: Value,
}

/// What a file holds.
enum Value {
    /// A word that never changes.
    Text(&'static str),
    /// The name of the machine.
    Hostname,
    /// A number that never changes.
    Number(u32),
    /// A number that a program may set, in a range.
    Setting(&'static AtomicU32, u32, u32),
    /// A number that is read and set by functions, in a range.
    Call(fn() -> u32, fn(u32), u32, u32),
    /// What a program may tell the kernel to do by writing a number from 1 on; reading it tells
    /// nobody anything.
    Command(fn(u32) -> Result<()>, u32),
}

/// `vm.overcommit_memory`: kept, without effect on the heuristic of mode 0.
static OVERCOMMIT_MEMORY: AtomicU32 = AtomicU32::new(0);

const fn entry(number: u32, value: Value) -> Entry {
    Entry { number, value }
}

static OSTYPE: Entry = entry(0, Value::Text(uts::SYSNAME));
static OSRELEASE: Entry = entry(1, Value::Text(uts::RELEASE));
static VERSION: Entry = entry(2, Value::Text(uts::VERSION));
static HOSTNAME: Entry = entry(3, Value::Hostname);
static PID_MAX_FILE: Entry = entry(4, Value::Number(PID_MAX));
static RANDOMIZE_VA_SPACE: Entry = entry(5, Value::Number(0));
static NGROUPS_MAX: Entry = entry(6, Value::Number(65536));
static CAP_LAST_CAP: Entry = entry(7, Value::Number(40));
static OVERCOMMIT: Entry = entry(8, Value::Setting(&OVERCOMMIT_MEMORY, 0, 2));
static MAX_MAP_COUNT: Entry = entry(9, Value::Number(65530));
static MMAP_MIN_ADDR: Entry = entry(10, Value::Number(65536));
static MIN_FREE_KBYTES: Entry =
    entry(13, Value::Call(page_alloc::min_free_kbytes, page_alloc::set_min_free_kbytes, 0, 262_144));
static SWAPPINESS_FILE: Entry = entry(14, Value::Setting(&vmscan::SWAPPINESS, 0, 200));
static DROP_CACHES: Entry = entry(15, Value::Command(drop_pages, 4));
static DIRTY_BACKGROUND: Entry = entry(16, Value::Setting(&page_writeback::DIRTY_BACKGROUND_RATIO, 0, 100));
static DIRTY: Entry = entry(17, Value::Setting(&page_writeback::DIRTY_RATIO, 0, 100));
static DIRTY_EXPIRE: Entry = entry(18, Value::Setting(&page_writeback::DIRTY_EXPIRE_CENTISECS, 0, u32::MAX));
static DIRTY_WRITEBACK: Entry = entry(
    19,
    Value::Call(page_writeback::dirty_writeback_centisecs, page_writeback::set_dirty_writeback_centisecs, 0, u32::MAX),
);
static NR_OPEN: Entry = entry(11, Value::Number(1 << 20));
static LOWMEM_RESERVE_RATIO: Entry = entry(20, Value::Text("256\t32\t0\t0"));
static NR_HUGEPAGES: Entry = entry(40, Value::Call(hugetlb::nr_hugepages, hugetlb::set_nr_hugepages, 0, u32::MAX));
static VERIFY: Entry = entry(21, Value::Command(|_| verify::verify(), 1));
static COMPACT_MEMORY: Entry = entry(22, Value::Command(compact_memory, 1));
static PIPE_MAX_SIZE: Entry = entry(12, Value::Number(crate::fs::pipe::PIPE_SIZE as u32));

static KERNEL: SysDir = SysDir {
    number: 1,
    dirs: &[],
    files: &[
        ("cap_last_cap", &CAP_LAST_CAP),
        ("hostname", &HOSTNAME),
        ("ngroups_max", &NGROUPS_MAX),
        ("osrelease", &OSRELEASE),
        ("ostype", &OSTYPE),
        ("pid_max", &PID_MAX_FILE),
        ("randomize_va_space", &RANDOMIZE_VA_SPACE),
        ("version", &VERSION),
    ],
};
static VM: SysDir = SysDir {
    number: 2,
    dirs: &[],
    files: &[
        ("compact_memory", &COMPACT_MEMORY),
        ("dirty_background_ratio", &DIRTY_BACKGROUND),
        ("dirty_expire_centisecs", &DIRTY_EXPIRE),
        ("dirty_ratio", &DIRTY),
        ("dirty_writeback_centisecs", &DIRTY_WRITEBACK),
        ("drop_caches", &DROP_CACHES),
        ("lowmem_reserve_ratio", &LOWMEM_RESERVE_RATIO),
        ("max_map_count", &MAX_MAP_COUNT),
        ("min_free_kbytes", &MIN_FREE_KBYTES),
        ("mmap_min_addr", &MMAP_MIN_ADDR),
        ("nr_hugepages", &NR_HUGEPAGES),
        ("overcommit_memory", &OVERCOMMIT),
        ("swappiness", &SWAPPINESS_FILE),
        ("verify", &VERIFY),
    ],
};
static FS: SysDir = SysDir { number: 3, dirs: &[], files: &[("nr_open", &NR_OPEN), ("pipe-max-size", &PIPE_MAX_SIZE)] };
/// `/proc/sys` itself.
pub static ROOT: SysDir = SysDir { number: 0, dirs: &[("fs", &FS), ("kernel", &KERNEL), ("vm", &VM)], files: &[] };

impl Entry {
    /// Rights.
    pub fn mode(&self) -> u32 {
        match self.value {
            Value::Command(..) => 0o200,
            Value::Setting(..) | Value::Call(..) | Value::Hostname => 0o644,
            _ => 0o444,
        }
    }

    /// The text.
    pub fn text(&self) -> Vec<u8> {
        match &self.value {
            Value::Text(text) => format!("{text}\n").into_bytes(),
            Value::Hostname => {
                let mut name = crate::syscall::uname::hostname();
                name.push(b'\n');
                name
            }
            Value::Number(number) => format!("{number}\n").into_bytes(),
            Value::Setting(cell, ..) => format!("{}\n", cell.load(Relaxed)).into_bytes(),
            Value::Call(get, ..) => format!("{}\n", get()).into_bytes(),
            Value::Command(..) => Vec::new(),
        }
    }

    /// Takes a new value.
    pub fn store(&self, text: &[u8]) -> Result<()> {
        let text = text.trim_ascii();
        match &self.value {
            Value::Hostname => crate::syscall::uname::set_hostname(text),
            Value::Setting(cell, least, most) => {
                cell.store(number(text, *least, *most)?, Relaxed);
                Ok(())
            }
            Value::Call(_, set, least, most) => {
                set(number(text, *least, *most)?);
                Ok(())
            }
            Value::Command(run, most) => run(number(text, 1, *most)?),
            _ => Err(EACCES),
        }
    }
}

/// A number of a range. EINVAL.
fn number(text: &[u8], least: u32, most: u32) -> Result<u32> {
    let number = core::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or(EINVAL)
}

/// Pages of files for 1, caches of the kernel for 2, both for 3; 4 for no word about it.
fn drop_pages(which: u32) -> Result<()> {
    drop_caches::drop_caches(which);
    Ok(())
}

/// Only 1 means anything.
fn compact_memory(_: u32) -> Result<()> {
    compaction::compact_memory();
    Ok(())
}

/// A name in a directory.
pub fn child(dir: &'static SysDir, name: &[u8]) -> Result<Node> {
    list(dir).into_iter().find(|(n, _)| n == name).map(|(_, node)| node).ok_or(ENOENT)
}

/// All names in a directory.
pub fn list(dir: &'static SysDir) -> Vec<(Vec<u8>, Node)> {
    let dirs = dir.dirs.iter().map(|(name, d)| (name.as_bytes().to_vec(), Node::Sys(d)));
    let files = dir.files.iter().map(|(name, f)| (name.as_bytes().to_vec(), Node::SysFile(f)));
    dirs.chain(files).collect()
}
