//! What is known of the differences from Bochs.

use super::{case::Case, layout::word, outcome::Outcome};

/// What is known of a difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Known {
    /// The manual decides for us or leaves the choice; which section.
    Explained(&'static str),
    /// Not yet settled: ours may be wrong.
    Open(&'static str),
}

/// What a rule looks at: the family, and where the outcomes differ, by name, with both values.
struct Seen<'a> {
    family: &'a str,
    /// ESP at the beginning.
    esp: u32,
    vectors: (Option<u32>, Option<u32>),
    differences: &'a [(String, Option<u32>, Option<u32>)],
}

impl Seen<'_> {
    /// Every difference satisfies `fits`.
    fn all(&self, fits: impl Fn(&str, Option<u32>, Option<u32>) -> bool) -> bool {
        self.differences.iter().all(|(name, bochs, ours)| fits(name, *bochs, *ours))
    }

    /// Both ended by this vector.
    fn both(&self, vector: u32) -> bool {
        self.vectors == (Some(vector), Some(vector))
    }
}

/// One kind of difference.
struct Rule {
    /// What differs and which section of the manual decides.
    reason: &'static str,
    applies: fn(&Seen) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        reason: "a descriptor's busy or accessed bit on a page that may not be written: Bochs reports the doubleword, \
                 and has loaded TR by then; here the byte that holds the bit (SDM Vol. 3A, \"Exception and Interrupt \
                 Reference\", #PF: CR2 is the address that was accessed; a fault leaves TR as it was)",
        applies: |seen| {
            seen.both(14)
                && seen.all(|name, bochs, ours| match name {
                    "cr2" => bochs.is_some() && bochs.map(|addr| addr + 1) == ours,
                    name => name == "tr",
                })
        },
    },
    Rule {
        reason: "PUSHA whose stack ends halfway: Bochs has written what fits; here nothing is written (SDM Vol. 3A, \
                 \"Restarting a Program or Task after an Exception\")",
        applies: |seen| {
            seen.family == "memory in segments"
                && seen.both(12)
                && seen.all(|name, _, ours| name.starts_with("stack+") && ours.is_none())
        },
    },
    Rule {
        reason: "a push around the end of a stack segment of 4 GiB: #SS in Bochs, here it wraps (SDM Vol. 3A, \"Limit \
                 Checking\": an access around the end may or may not fault)",
        applies: |seen| seen.family == "memory in segments" && seen.esp < 0x20 && seen.vectors.1 == Some(3),
    },
    Rule {
        reason: "an entry of a 4 MiB page with address bits above 36: reserved here, as CPUID's MAXPHYADDR says; Bochs \
                 is built for 40 (SDM Vol. 3A, \"32-Bit Paging\", table of the entries)",
        applies: |seen| {
            seen.family == "paging, two levels"
                && seen.vectors.1 == Some(14)
                && seen.vectors.0 != Some(14)
                && seen.differences.iter().any(|(name, _, ours)| {
                    name.starts_with("stack+") && ours.is_some_and(|code| code < 0x20 && code & 8 != 0)
                })
        },
    },
    Rule {
        reason: "a far call whose target is beyond the limit: Bochs has written the return address below ESP before \
                 #GP; here nothing is written (SDM Vol. 2A, \"CALL\": the limit is checked before the push)",
        applies: |seen| {
            seen.family == "far transfers"
                && seen.both(13)
                && seen.all(|name, _, ours| name.starts_with("stack+") && ours.is_none())
        },
    },
    Rule {
        reason: "a write through a translation that the TLB holds read-only, after the entry in memory lost its P \
                 bit: here judged by what is held, in Bochs by a new walk (SDM Vol. 3A, \"Invalidation of TLBs and \
                 Paging-Structure Caches\": both may be)",
        applies: |seen| {
            seen.family.starts_with("paging")
                && seen.both(14)
                && seen.all(|name, bochs, ours| {
                    name.starts_with("stack+")
                        && matches!((bochs, ours), (Some(bochs), Some(ours)) if bochs ^ ours == 1)
                })
        },
    },
    Rule {
        reason: "B0 to B3 of breakpoints that DR7 does not enable: Bochs sets them beside an enabled one's (SDM Vol. \
                 3B, \"Debug Status Register (DR6)\": they may or may not be set)",
        applies: |seen| {
            seen.both(1)
                && seen.all(|name, bochs, ours| {
                    name == "dr6" && matches!((bochs, ours), (Some(bochs), Some(ours)) if (bochs ^ ours) & !15 == 0)
                })
        },
    },
];

/// Families with differences that are not all settled, and what they are about.
const OPEN: &[(&str, &str)] = &[
    ("far transfers", "EIP behind offset ffff in 16-bit code: silicon goes on at 10000, as Bochs does"),
    ("interrupts", "EIP behind offset ffff in 16-bit code"),
    ("interrupt returns", "EIP behind offset ffff in 16-bit code"),
    ("task switches", "#TS and #NP raised in the new task, accessed bits and the link of a switch that fails"),
    ("virtual-8086 mode", "EIP behind offset ffff in 16-bit code"),
    ("debug registers", "general detect before or after the privilege level"),
    (
        "paging, two levels",
        "entries changed in memory while the TLB holds them: which the manual lets differ, one by one",
    ),
    ("system tables", "registers and bits that only one of the two processors has"),
];

/// What is known of the difference between two outcomes, if anything is.
pub fn known(case: &Case, bochs: Option<&Outcome>, ours: Option<&Outcome>) -> Option<Known> {
    if let (Some(bochs), Some(ours)) = (bochs, ours) {
        let differences = bochs.differences(ours);
        let seen = Seen {
            family: case.family,
            esp: case.init[word::ESP],
            vectors: (bochs.vector(), ours.vector()),
            differences: &differences,
        };
        if let Some(rule) = RULES.iter().find(|rule| (rule.applies)(&seen)) {
            return Some(Known::Explained(rule.reason));
        }
    }
    OPEN.iter().find(|(family, _)| *family == case.family).map(|(_, about)| Known::Open(about))
}
