//! What refused an access: an entry's bit, the TLB, or a guard of the control registers.

use cpu::{
    FaultRecord,
    mmu::{Access, AccessKind, Guards, Level, Paging, Privilege, Rights, Step, Walk, WalkResult},
};
use serde_json::{Value, json};
use x86::{Cr4, Efer, Eflags, PaePde, PaePte, PageFaultCode, Pde, Pte};

use super::access;
use crate::Target;

/// What refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A bit of an entry.
    Entry {
        /// Which of the walk's steps.
        step: usize,
        /// The bit with its value, and what makes it count.
        bit: String,
    },
    /// The translation that the TLB held, whatever the tables say.
    Tlb,
    /// None of them, as far as one sees.
    Paging(String),
}

impl Refused {
    /// For programs.
    pub fn json(&self, walk: &Walk) -> Value {
        match self {
            Refused::Entry { step, bit } => json!({"by": level_word(walk.steps[*step].level), "bit": bit}),
            Refused::Tlb => json!({"by": "tlb", "bit": null}),
            Refused::Paging(why) => json!({"by": null, "bit": null, "why": why}),
        }
    }
}

/// A level's entry as the manual calls it, in small letters.
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Pdpt => "pdpte",
        Level::Directory => "pde",
        Level::Table => "pte",
    }
}

/// What refused the access of a page fault whose walk was this.
pub fn refused(target: &Target<'_>, record: &FaultRecord, walk: &Walk) -> Refused {
    let Some(fault) = record.page_fault else { return Refused::Paging("there was no page fault".into()) };
    let code = PageFaultCode::from_bits_retain(fault.code);
    let access = access_of(target, record, fault.addr, code);
    let guards = Guards::of(record.paging.cr0, record.paging.cr4);
    let last = walk.steps.len().saturating_sub(1);
    let present = code.contains(PageFaultCode::P) && !code.contains(PageFaultCode::RSVD);
    // Rights are judged on the entry that is held, if there is one.
    let held_refuses = present && record.held.is_some_and(|held| !held.rights.allow(access, guards));
    match &walk.result {
        WalkResult::NotPresent if !present => Refused::Entry { step: last, bit: "P = 0".into() },
        WalkResult::Reserved if !present => Refused::Entry { step: last, bit: reserved(&record.paging, walk) },
        WalkResult::Mapped(mapping) if present && !mapping.rights.allow(access, guards) => {
            let (step, bit) = rights(record.eflags, walk, mapping.rights, access);
            Refused::Entry { step, bit }
        }
        _ if held_refuses => Refused::Tlb,
        _ => Refused::Paging("the tables allow the access now, and the TLB held nothing that does not".into()),
    }
}

/// What the access was.
fn access_of(target: &Target<'_>, record: &FaultRecord, addr: u32, code: PageFaultCode) -> Access {
    let kind = match access::kind(target, record, addr, code) {
        "fetch" => AccessKind::Fetch,
        "write" => AccessKind::Write,
        _ => AccessKind::Read,
    };
    let privilege = match code.contains(PageFaultCode::US) {
        true => Privilege::User,
        false if record.paging.cr4.contains(Cr4::SMAP) => Privilege::Closed,
        false => Privilege::Supervisor,
    };
    Access { kind, privilege }
}

/// The entry whose right is missing.
fn rights(eflags: Eflags, walk: &Walk, page: Rights, access: Access) -> (usize, String) {
    let entries = || walk.steps.iter().enumerate().filter(|(_, step)| step.level != Level::Pdpt);
    let last = walk.steps.len() - 1;
    let without = |bit: u64| entries().find(|(_, step)| step.value & bit == 0).map_or(last, |(number, _)| number);
    let with = |bit: u64| entries().find(|(_, step)| step.value & bit != 0).map_or(last, |(number, _)| number);
    let is_fetch = access.kind == AccessKind::Fetch;
    match () {
        _ if access.is_user() && !page.user => (without(Pte::US.into()), "U/S = 0".into()),
        _ if is_fetch && !page.executable => (with(PaePte::XD), "XD = 1".into()),
        _ if is_fetch => (last, "U/S = 1 and CR4.SMEP is set".into()),
        // With AC set only accesses that the processor makes by itself are refused.
        _ if page.user && access.privilege == Privilege::Closed => {
            let ac = if eflags.contains(Eflags::AC) { "the access is implicit" } else { "EFLAGS.AC is not" };
            (last, format!("U/S = 1, CR4.SMAP is set and {ac}"))
        }
        _ if access.is_user() => (without(Pte::RW.into()), "R/W = 0".into()),
        _ => (without(Pte::RW.into()), "R/W = 0 and CR0.WP is set".into()),
    }
}

/// The reserved bits that are set in the last entry of a walk.
fn reserved(paging: &Paging, walk: &Walk) -> String {
    let Some(Step { level, value, .. }) = walk.steps.last() else { return "a reserved bit".into() };
    let xd = if paging.pae() && paging.efer.contains(Efer::NXE) { 0 } else { PaePte::XD };
    let mask = match (level, paging.pae()) {
        (Level::Table, true) => PaePte::RESERVED | xd,
        (_, true) if PaePde(*value).large() => PaePde::LARGE_RESERVED | xd,
        (_, true) => PaePde::RESERVED | xd,
        (_, false) => Pde::LARGE_RESERVED.into(),
    };
    let bits: Vec<String> = (0..64).filter(|bit| value & mask & 1 << bit != 0).map(|bit| bit.to_string()).collect();
    let (bit, are) = if bits.len() == 1 { ("bit", "is") } else { ("bits", "are") };
    format!("reserved {bit} {} {are} set", bits.join(", "))
}
