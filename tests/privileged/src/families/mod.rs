//! The families of cases: each file makes those of one subject.

mod paging;
mod segments;
mod system;
mod tasks;
mod transfers;
mod v86;

use super::case::Case;
use pagewalk_oracle::random::Random;

/// Makes one case of a family from the arena that all share.
pub type Make = fn(&[u8], &mut Random) -> Case;

/// All families, with how often each has its turn.
pub const FAMILIES: &[(&str, u64, Make)] = &[
    ("segment loads", 10, segments::load),
    ("descriptor checks", 6, segments::rights),
    ("memory in segments", 8, segments::memory),
    ("far transfers", 12, transfers::far),
    ("interrupts", 10, transfers::interrupt),
    ("interrupt returns", 10, transfers::iret),
    ("task switches", 10, tasks::switch),
    ("virtual-8086 mode", 8, v86::run),
    ("paging, two levels", 10, paging::two_level),
    ("paging, PAE", 8, paging::pae),
    ("system tables", 6, system::tables),
    ("ports", 4, system::ports),
    ("flags", 4, system::flags),
    ("debug registers", 6, system::debug),
    ("sysenter", 2, system::sysenter),
    ("alignment", 4, system::alignment),
];
