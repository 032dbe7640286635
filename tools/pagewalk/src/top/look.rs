//! One look at a machine, as the lens `top` tells it (`inspect`, `lens/top.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// What one look found. What the kernel's books do not tell is `None`.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Look {
    /// Whether the kernel keeps books that we can read.
    pub books: bool,
    /// What could not be known, a line each.
    pub notes: Vec<String>,
    /// Counters of the run, as `stats`.
    pub stats: BTreeMap<String, u64>,
    /// By number.
    pub cpus: Vec<Cpu>,
    /// As `ps`.
    pub processes: Option<Vec<Process>>,
    /// As `meminfo`: kB by the names of the rows.
    pub meminfo: Option<BTreeMap<String, u64>>,
    /// As `zoneinfo`.
    pub zones: Option<Vec<Zone>>,
    /// What hardware tells of memory.
    pub memory: Memory,
    /// Page faults and double faults, oldest first.
    pub faults: Vec<Fault>,
    /// As `timeline`.
    pub shootdowns: Vec<Shootdown>,
    /// Other interprocessor interrupts.
    pub ipis: Vec<Ipi>,
    /// Events that are remembered and too many to be told, by kind.
    pub left_out: BTreeMap<String, u64>,
}

/// A CPU.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens")]
pub struct Cpu {
    pub cpu: u32,
    #[serde(deserialize_with = "plain")]
    pub mode: String,
    pub cr3: u32,
    pub eip: u32,
    pub retired: u64,
    pub symbol: Option<String>,
    /// The process that runs there; 0 for the idle task.
    pub pid: Option<u32>,
    pub thread: Option<u32>,
    pub comm: Option<String>,
    pub tlb_misses: u64,
    pub tlb_flushes: u64,
    pub tlb_invlpg: u64,
    pub page_faults: u64,
    /// Shootdowns that it was told of, as `interrupts` counts them (row TLB).
    pub shootdowns: Option<u64>,
}

/// A process.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens")]
pub struct Process {
    pub pid: u32,
    #[serde(deserialize_with = "plain")]
    pub state: String,
    #[serde(deserialize_with = "plain")]
    pub comm: String,
    pub cpu: u32,
    pub threads: u32,
    pub utime_ns: u64,
    pub stime_ns: u64,
    pub start_time_ns: u64,
    pub min_flt: u64,
    pub maj_flt: u64,
    /// `None` without an address space of its own.
    pub rss_pages: Option<u64>,
    pub vsize_pages: Option<u64>,
}

/// A zone, in pages.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens")]
pub struct Zone {
    #[serde(deserialize_with = "plain")]
    pub zone: String,
    pub free: u64,
    pub min: u64,
    pub low: u64,
    pub high: u64,
    pub present: u64,
    pub managed: u64,
    pub cpu_lists: Vec<u64>,
}

/// Memory as the hardware sees it.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// RAM.
    pub ram_kb: u64,
    /// How much of it was ever written.
    pub written_kb: u64,
}

/// A fault.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens")]
pub struct Fault {
    pub at: u64,
    pub cpu: u32,
    pub cpl: u8,
    pub eip: u32,
    pub address: Option<u32>,
    pub access: Option<String>,
    pub present: Option<bool>,
    pub double: bool,
    pub triple: bool,
    pub pid: Option<u32>,
    pub comm: Option<String>,
}

/// A TLB shootdown.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens `timeline`")]
pub struct Shootdown {
    pub initiator: u32,
    pub sent: u64,
    pub targets: Vec<ShotDown>,
    pub done: Option<u64>,
    pub asked: Option<Asked>,
}

/// A CPU that was told to flush.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShotDown {
    /// Its number.
    pub cpu: u32,
}

/// What a kernel said that a shootdown is about.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the lens `timeline`")]
pub struct Asked {
    pub start: u32,
    pub end: u32,
    pub reason: Option<String>,
}

/// An interprocessor interrupt.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ipi {
    /// Virtual time.
    pub at: u64,
    /// Who sent it.
    pub cpu: u32,
    /// In words.
    pub what: String,
}

impl Look {
    /// A counter of the run; 0 if it is not known.
    pub fn counter(&self, name: &str) -> u64 {
        self.stats.get(name).copied().unwrap_or(0)
    }

    /// A row of `meminfo`, in kB.
    pub fn kb(&self, row: &str) -> Option<u64> {
        self.meminfo.as_ref()?.get(row).copied()
    }
}

/// Text without anything that a terminal would obey: names are the guest's.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn plain<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(printable(&String::deserialize(from)?))
}
