//! What is known of the differences from Bochs: for each kind a rule, as narrow as it can be, with the section of
//! the manual that decides for us or leaves the choice. What no rule names is a failure.

mod tasks;

use super::{
    case::{Case, flag},
    layout::{ARENA_LEN, at, enter, sel, word},
    outcome::Outcome,
};

/// What a rule looks at: the case, both ends, and where they differ, by name, with both values.
pub struct Seen<'a> {
    case: &'a Case,
    bochs: &'a Outcome,
    ours: &'a Outcome,
    differences: Vec<(String, Option<u32>, Option<u32>)>,
}

impl Seen<'_> {
    /// Every difference satisfies `fits`.
    fn all(&self, fits: impl Fn(&str, Option<u32>, Option<u32>) -> bool) -> bool {
        self.differences.iter().all(|(name, bochs, ours)| fits(name, *bochs, *ours))
    }

    /// How the case ended in Bochs and here.
    fn vectors(&self) -> (Option<u32>, Option<u32>) {
        (self.bochs.vector(), self.ours.vector())
    }

    /// Both ended by this vector.
    fn both(&self, vector: u32) -> bool {
        self.vectors() == (Some(vector), Some(vector))
    }

    /// The family's name.
    fn family(&self) -> &str {
        self.case.family
    }

    /// The code's first bytes.
    fn begins(&self, bytes: &[u8]) -> bool {
        self.case.code.bytes.starts_with(bytes)
    }
}

/// One kind of difference.
struct Rule {
    /// What differs and which section of the manual decides.
    reason: &'static str,
    applies: fn(&Seen) -> bool,
}

/// Explains a case that the processor here ends as Bochs does once its TLB is emptied (see `lib.rs`).
pub const STALE: &str = "entries of page tables changed in memory while the TLB holds them, without INVLPG: here what is \
                         held counts, Bochs walks again for the first write or fetch through what was read; with the TLB \
                         emptied at that place ours ends as Bochs' (SDM Vol. 3A, \"Invalidation of TLBs and \
                         Paging-Structure Caches\": both may be)";

/// Explains a case that Bochs does not go on with.
pub const DEVICE_CODE: &str = "code in the memory of a device: Bochs stops; here what is read there, all ones, is no \
                               instruction and raises #UD (the manual does not tell what is there)";

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
        reason: "PUSHA, far CALL or interrupt whose stack ends halfway: Bochs has written what fits; here nothing is \
                 (SDM Vol. 3A, \"Restarting a Program or Task after an Exception\")",
        applies: |seen| {
            let pushes =
                has(seen, &[0x60]) || seen.family() == "far transfers" || seen.family().ends_with("interrupts");
            seen.both(12) && pushes && only_bochs_pushed(seen)
        },
    },
    Rule {
        reason: "a push around the end of a stack segment of 4 GiB: #SS in Bochs, here it wraps (SDM Vol. 3A, \"Limit \
                 Checking\": an access around the end may or may not fault)",
        applies: |seen| {
            seen.family() == "memory in segments" && seen.case.init[word::ESP] < 0x20 && seen.vectors().1 == Some(3)
        },
    },
    Rule {
        reason: "an entry of a 4 MiB page with address bits above 36: reserved here, as CPUID's MAXPHYADDR says; Bochs \
                 is built for 40 (SDM Vol. 3A, \"32-Bit Paging\", table of the entries)",
        applies: |seen| {
            // The alias' entry.
            let entry = seen.case.get_u32(at::PAGING + 4);
            let large = entry & 1 << 7 != 0 && entry & 0xf << 17 != 0;
            seen.family().starts_with("paging")
                && large
                && seen.case.init[word::CR4] & 0x30 == 0x10
                && seen.vectors().1 == Some(14)
        },
    },
    Rule {
        reason: "a far call whose target is beyond the limit: Bochs has written the return address below ESP before \
                 #GP; here nothing is written (SDM Vol. 2A, \"CALL\": the limit is checked before the push)",
        applies: |seen| seen.family() == "far transfers" && seen.both(13) && only_bochs_pushed(seen),
    },
    Rule {
        reason: "a far CALL whose frame passes offset 0 of a stack of 16 bits: #SS in Bochs, here SP wraps (SDM Vol. 2B, \
                 \"PUSH\": the stack-address size is that of SP, of which 4 is subtracted)",
        applies: |seen| {
            let ss = seen.case.init[word::SS] & 0xfff8;
            let small = seen.case.get_u32(at::GDT + ss + 4) & 1 << 22 == 0;
            seen.family() == "far transfers"
                && small
                && seen.case.init[word::ESP] & 0xffff < 8
                && seen.vectors().0 == Some(12)
                && seen.vectors().1 != Some(12)
        },
    },
    Rule {
        reason: "a trap or an NMI between two iterations of a repeated string instruction: RF is set in the saved \
                 EFLAGS here, in Bochs it is not (SDM Vol. 3B, \"Instruction-Breakpoint Exception Condition\": 1 for a \
                 trap that any iteration but the last generates, and for an interrupt that arrives after it)",
        applies: |seen| {
            let repeats = seen.case.code.bytes.iter().any(|byte| matches!(byte, 0xf2 | 0xf3));
            let in_memory = |name: &str| name.starts_with("stack+") || name == "tss+24";
            repeats
                && seen.all(|name, bochs, ours| {
                    let before = seen.case.named(name);
                    let (bochs, ours) = (bochs.unwrap_or(before), ours.unwrap_or(before));
                    in_memory(name) && bochs ^ ours == flag::RF && ours & flag::RF != 0
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
    Rule {
        reason: "general detect while TF is set: Bochs sets BS too; no step was made (SDM Vol. 3B, \"Debug Status \
                 Register (DR6)\": BS tells that single steps caused the exception)",
        applies: |seen| {
            seen.both(1)
                && seen.case.init[word::EFLAGS] & flag::TF != 0
                && seen.case.init[word::DR7] & 1 << 13 != 0
                && seen.all(|name, bochs, ours| {
                    name == "dr6"
                        && matches!((bochs, ours), (Some(bochs), Some(ours)) if bochs ^ ours == 1 << 14 && bochs & 3 << 13 == 3 << 13)
                })
        },
    },
    Rule {
        reason: "a TSS that ends one or two bytes behind the SS of an inner stack: enough here, Bochs asks for the \
                 doubleword (SDM Vol. 2A, \"INT n/INTO/INT3/INT1\", INTER-PRIVILEGE-LEVEL-INTERRUPT: #TS if \
                 TSSstackAddress + 5 is beyond the limit)",
        applies: |seen| {
            let limit = seen.case.get_u32(at::GDT + u32::from(sel::TSS)) & 0xffff;
            matches!(limit, 9 | 10 | 17 | 18 | 25 | 26)
                && (seen.bochs.reset || matches!(seen.vectors().0, Some(8 | 10)))
                && seen.vectors().0 != seen.vectors().1
        },
    },
    Rule {
        reason: "a write of BT to DR6: Bochs drops the bit, here it is kept (SDM Vol. 3B, \"Debug Status Register \
                 (DR6)\": the processor does not clear the register, software does)",
        applies: |seen| {
            has(seen, &[0x0f, 0x23])
                && seen.all(|name, bochs, ours| {
                    name == "dr6" && matches!((bochs, ours), (Some(bochs), Some(ours)) if ours ^ bochs == 1 << 15 && ours >> 15 & 1 == 1)
                })
        },
    },
    Rule {
        reason: "a write of bit 11 to DR7: Bochs keeps it, here it stays 0 (SDM Vol. 3B, \"Debug Control Register \
                 (DR7)\": RTM, reserved on a processor without transactional memory)",
        applies: |seen| {
            has(seen, &[0x0f, 0x23])
                && seen.all(|name, bochs, ours| {
                    name == "dr7" && matches!((bochs, ours), (Some(bochs), Some(ours)) if ours ^ bochs == 1 << 11 && bochs >> 11 & 1 == 1)
                })
        },
    },
    Rule {
        reason: "MOV with a debug register above level 0 while DR7.GD is set: #DB in Bochs, #GP(0) here (SDM Vol. 2B, \
                 \"MOV\u{2014}Move to/from Debug Registers\": both conditions hold and their order is not told; faults by \
                 privilege come first for other instructions, as in SDM Vol. 3C, \"Relative Priority of Faults and VM \
                 Exits\")",
        applies: |seen| {
            seen.case.level > 0
                && seen.case.init[word::DR7] & 1 << 13 != 0
                && (has(seen, &[0x0f, 0x21]) || has(seen, &[0x0f, 0x23]))
                && seen.vectors() == (Some(1), Some(13))
                && seen.bochs.words.get(&word::DR6).is_some_and(|dr6| dr6 & 1 << 13 != 0)
        },
    },
    Rule {
        reason: "CR4.VME, PVI or MCE: Bochs' processor has these features, ours does not tell of them in CPUID and \
                 refuses the bits (SDM Vol. 3A, \"Control Registers\": a reserved bit of CR4 raises #GP(0))",
        applies: |seen| {
            seen.begins(&[0x0f, 0x22, 0xe0])
                && seen.case.init[word::EAX] & 0x43 != 0
                && seen.vectors().1 == Some(13)
                && seen.bochs.words.get(&word::CR4) == Some(&seen.case.init[word::EAX])
        },
    },
    Rule {
        reason: "IRET to virtual-8086 mode with an EIP above FFFF: #GP(0) here, Bochs drops its upper half (SDM Vol. 2A, \
                 \"IRET/IRETD\", RETURN-TO-VIRTUAL-8086-MODE: #GP(0) if EIP is not within CS' limit)",
        applies: |seen| returns_to_v86(seen.case).is_some_and(|eip| eip > 0xffff) && seen.vectors().1 == Some(13),
    },
    Rule {
        reason: "IRET to an outer level whose stack is absent: #SS here, #NP in Bochs (SDM Vol. 2A, \"IRET/IRETD\", \
                 RETURN-TO-OUTER-PRIVILEGE-LEVEL: #SS, while the list of its exceptions says #NP; SDM Vol. 3A, \
                 \"Exception and Interrupt Reference\", #NP: an absent segment that SS is loaded with raises #SS)",
        applies: |seen| {
            seen.family() == "interrupt returns"
                && seen.vectors() == (Some(11), Some(12))
                && error_code(seen, true) == error_code(seen, false)
                && seen.all(|name, _, _| name == "vector" || name.starts_with("stack+"))
        },
    },
    Rule {
        reason: "code behind the arena, where an earlier case has left an instruction after which OF is undefined, such \
                 as DAS: here OF is as on silicon (SDM Vol. 2A, \"DAS\")",
        applies: |seen| {
            const OF: u32 = 1 << 11;
            let behind = seen.ours.arena.values().any(|eip| (0x1_0001..0x1_0020).contains(eip));
            seen.both(3)
                && behind
                && seen.all(|name, bochs, ours| {
                    let saved = name == "eflags" || name.starts_with("stack+");
                    saved && matches!((bochs, ours), (Some(bochs), Some(ours)) if bochs ^ ours == OF)
                })
        },
    },
];

/// The error code that the monitor's handler found, at the top of its stack.
fn error_code(seen: &Seen, ours: bool) -> Option<u32> {
    let outcome = if ours { seen.ours } else { seen.bochs };
    let esp = outcome.words.get(&word::ESP)? % ARENA_LEN as u32;
    Some(outcome.arena.get(&esp).copied().unwrap_or_else(|| seen.case.get_u32(esp)))
}

/// The code has these bytes.
fn has(seen: &Seen, bytes: &[u8]) -> bool {
    seen.case.code.bytes.windows(bytes.len()).any(|window| window == bytes)
}

/// Bochs alone has written below ESP, where the first descriptors are if the stack is tiny: every byte that differs is
/// here as it was.
fn only_bochs_pushed(seen: &Seen) -> bool {
    let pushed = |name: &str| {
        let of_table = name.strip_prefix("gdt+").and_then(|offset| u32::from_str_radix(offset, 16).ok());
        name.starts_with("stack+") || of_table.is_some_and(|offset| offset < 0x40)
    };
    seen.all(|name, bochs, ours| {
        let before = seen.case.named(name);
        let [bochs, ours, before] = [bochs.unwrap_or(before), ours.unwrap_or(before), before].map(u32::to_le_bytes);
        pushed(name) && (0..4).all(|i| bochs[i] == ours[i] || ours[i] == before[i])
    })
}

/// EIP of a return to virtual-8086 mode, if the case's first instruction is one.
fn returns_to_v86(case: &Case) -> Option<u32> {
    let iret: &[u8] = if case.bits == 32 { &[0xcf] } else { &[0x66, 0xcf] };
    let from_handler = case.level == 0 && case.init[word::ENTER] & enter::V86 == 0;
    let flags = case.get_u32(case.init[word::ESP].wrapping_add(8));
    (from_handler && case.code.bytes == iret && flags & flag::VM != 0 && case.init[word::EFLAGS] & flag::NT == 0)
        .then(|| case.get_u32(case.init[word::ESP]))
}

/// What explains the difference between two ends, if a rule does. A case that says nothing has none.
pub fn explained(case: &Case, bochs: Option<&Outcome>, ours: Option<&Outcome>) -> Option<&'static str> {
    let (bochs, ours) = (bochs?, ours?);
    let seen = Seen { case, bochs, ours, differences: bochs.differences(ours) };
    RULES.iter().chain(tasks::RULES).find(|rule| (rule.applies)(&seen)).map(|rule| rule.reason)
}
