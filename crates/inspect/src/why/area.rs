//! The area that an address lies in, or the gap with its neighbours.

use abi::books::{VmaRecord, vm};
use cpu::FaultRecord;
use machine::Verdict;
use serde_json::{Value, json};
use x86::{LinearAddr, PageFaultCode};

use crate::{
    Books, Target,
    lens::{Neighbour, neighbours, process_of_directory},
};

/// The gap that Linux keeps below a stack that grows (`stack_guard_gap`).
const STACK_GUARD_GAP: u32 = 256 * 4096;
/// No access so far below a stack's end was meant for the stack.
const FAR: u32 = 64 << 20;
const SIGBUS: u32 = 7;

/// An area in words.
pub struct Area {
    /// Lines by their names.
    pub lines: Vec<(&'static str, String)>,
    pub json: Value,
}

/// What the kernel's books tell of the address in the address space of the fault; `None` without books.
pub fn of(target: &Target<'_>, record: &FaultRecord, addr: LinearAddr, verdict: &Verdict) -> Option<Area> {
    let books = Books::of(target).ok()?;
    let page_offset = target.kernel?.note()?.page_offset;
    if addr.0 >= page_offset {
        let words = "none: the kernel's part of the address space".to_owned();
        return Some(Area { lines: vec![("VMA", words)], json: json!({"kernel": true}) });
    }
    let (_, mm) = process_of_directory(&books, record.paging.cr3).ok()??;
    let [below, inside, above] = neighbours(&books, &mm, addr).ok()?;
    let json = |area: &Option<Neighbour>| area.as_ref().map(|area| area.json.clone());
    if let Some(area) = &inside {
        let code = PageFaultCode::from_bits_retain(record.page_fault.map_or(0, |fault| fault.code));
        let why = allows(&area.vma, code, verdict);
        let lines = vec![("VMA", format!("{}{}", area.line, why.map_or(String::new(), |why| format!("   <- {why}"))))];
        return Some(Area { lines, json: json!({"area": area.json, "why": why}) });
    }
    let start = below.as_ref().map_or(0, |area| area.vma.end);
    let end = above.as_ref().map_or(page_offset, |area| area.vma.start);
    let mut lines = vec![("VMA", format!("none: {start:#010x} to {end:#010x} is free"))];
    lines.extend(below.iter().map(|area| ("below", area.line.clone())));
    let guard = above.as_ref().and_then(|above| guard(&above.vma, below.as_ref().map(|below| &below.vma), addr.0));
    let mark = guard.map_or(String::new(), |why| format!("   <- {why}"));
    lines.extend(above.iter().map(|area| ("above", format!("{}{mark}", area.line))));
    let json = json!({"area": null, "gap": [start, end], "below": json(&below), "above": json(&above), "why": guard});
    Some(Area { lines, json })
}

/// Why an area does not give what was asked.
fn allows(vma: &VmaRecord, code: PageFaultCode, verdict: &Verdict) -> Option<&'static str> {
    let has = |flags| vma.flags & flags != 0;
    match verdict {
        Verdict::Signal { number: SIGBUS, .. } => Some("the file ends before this page, or it cannot be read"),
        _ if !has(vm::READ | vm::WRITE | vm::EXEC) => Some("it allows nothing"),
        _ if code.contains(PageFaultCode::WR) && !has(vm::WRITE) => Some("it allows no write"),
        _ => None,
    }
}

/// Why a stack above does not grow to an address.
fn guard(above: &VmaRecord, below: Option<&VmaRecord>, addr: u32) -> Option<&'static str> {
    if above.flags & vm::GROWSDOWN == 0 || above.end - addr > FAR {
        return None;
    }
    let is_near = |below: &VmaRecord| {
        let accessible = below.flags & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        below.flags & vm::GROWSDOWN == 0 && accessible && addr - below.end < STACK_GUARD_GAP
    };
    Some(match below.is_some_and(is_near) {
        true => "stack guard: it does not grow to less than 1 MiB above another area",
        false => "it may grow down, but not so far: the limit of the stack's size",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_grows_neither_near_another_area_nor_past_its_limit() {
        let area = |start, end, flags| VmaRecord { start, end, flags, ..VmaRecord::default() };
        let stack = area(0xbff0_0000, 0xc000_0000, vm::READ | vm::WRITE | vm::GROWSDOWN);
        let near = area(0xbfe0_0000, 0xbfe8_0000, vm::READ);
        let none = area(0xbfe0_0000, 0xbfe8_0000, 0);
        let of = |below, addr| guard(&stack, below, addr).map(|why| why.starts_with("stack guard"));
        assert_eq!(of(Some(&near), 0xbfe9_0000), Some(true));
        assert_eq!(of(Some(&near), 0xbfef_0000), Some(true));
        assert_eq!(of(Some(&none), 0xbfe9_0000), Some(false));
        assert_eq!(of(None, 0xbf00_0000), Some(false));
        assert_eq!(of(None, 0xb000_0000), None);
        assert_eq!(guard(&near, None, 0x1000), None);
    }
}
