//! The families of cases: each file makes those of one subject.

mod apic;
mod msr;
mod paging;
mod real;
mod segments;
mod system;
mod tasks;
mod transfers;
mod v86;

use super::{Pair, case::Case};
use pagewalk_oracle::random::Random;

/// Makes one case of a family from the arena that all share.
pub type Make = fn(&[u8], &mut Random) -> Case;

/// A kind of cases.
pub struct Family {
    pub name: &'static str,
    /// How often it has its turn.
    pub turns: u64,
    pub make: Make,
    pub pair: Pair,
}

const fn family(name: &'static str, turns: u64, make: Make) -> Family {
    Family { name, turns, make, pair: Pair::Plain }
}

/// All families.
pub const FAMILIES: &[Family] = &[
    family("segment loads", 10, segments::load),
    family("descriptor checks", 6, segments::rights),
    family("memory in segments", 8, segments::memory),
    family("far transfers", 12, transfers::far),
    family("interrupts", 10, transfers::interrupt),
    family("external interrupts", 6, apic::external),
    family("non-maskable interrupts", 6, apic::nmi),
    family("interrupt returns", 10, transfers::iret),
    family("task switches", 10, tasks::switch),
    family("virtual-8086 mode", 8, v86::run),
    family("real mode", 8, real::run),
    family("paging, two levels", 10, paging::two_level),
    family("paging, PAE", 8, paging::pae),
    Family { pair: Pair::Protected, ..family("paging, NX, SMEP and SMAP", 8, paging::protected) },
    family("system tables", 6, system::tables),
    Family { pair: Pair::Protected, ..family("model-specific registers", 4, msr::run) },
    family("ports", 4, system::ports),
    family("flags", 4, system::flags),
    family("debug registers", 6, system::debug),
    family("sysenter", 2, system::sysenter),
    family("alignment", 4, system::alignment),
];
