//! Mapped ranges of an address space.

use cpu::mmu::{Mapping, Paging, WalkResult, walk};
use serde_json::json;
use x86::LinearAddr;

use super::Answer;
use crate::{Result, Target};

/// Pages in a row with equal rights and size.
struct Range {
    start: u64,
    end: u64,
    /// Where the first page leads.
    phys: u64,
    /// Every page leads right behind the one before.
    contiguous: bool,
    like: Mapping,
    pages: u32,
    accessed: u32,
    dirty: u32,
}

/// Ranges with equal rights, merged.
pub fn pagetable(target: &Target<'_>, cpu: usize, pid: Option<u32>) -> Result<Answer> {
    let paging = super::paging(target, cpu, pid)?;
    if !paging.enabled() {
        return Ok(Answer::new("paging off: linear is physical\n", json!({"paging": false, "ranges": []})));
    }
    let ranges = ranges(target, paging);
    let top = if paging.pae() { "page-directory pointers" } else { "page directory" };
    let mut text = format!("{top} at {:#010x}\n", paging.table().0);
    text += "linear                    bytes  page  rights  first frame  accessed  dirty\n";
    for range in &ranges {
        let rows = [range.start, range.end, range.end - range.start];
        let size = super::tlb::size(range.like.size);
        let more = if range.contiguous { " " } else { "…" };
        text += &format!(
            "{:08x}-{:08x} {:>13} {size:>5}  {:<6}  {:#010x}{more} {:>9} {:>6}\n",
            rows[0],
            rows[1],
            rows[2],
            letters(&range.like),
            range.phys,
            range.accessed,
            range.dirty
        );
    }
    let json_ranges: Vec<_> = ranges
        .iter()
        .map(|range| {
            json!({
                "start": range.start, "end": range.end, "page_size": range.like.size.bytes(), "pages": range.pages,
                "user": range.like.rights.user, "write": range.like.rights.writable,
                "execute": range.like.rights.executable, "global": range.like.global,
                "physical": range.phys, "contiguous": range.contiguous,
                "accessed_pages": range.accessed, "dirty_pages": range.dirty,
            })
        })
        .collect();
    Ok(Answer::new(text, json!({"paging": true, "pae": paging.pae(), "cr3": paging.cr3, "ranges": json_ranges})))
}

pub(super) fn letters(mapping: &Mapping) -> String {
    super::tlb::rights(mapping.rights) + if mapping.global { "G" } else { "-" }
}

/// At most one step a page of the linear space.
fn ranges(target: &Target<'_>, paging: Paging) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut at = 0u64;
    while at < 1 << 32 {
        let addr = LinearAddr(at as u32);
        let found = walk(target.mem, paging, addr);
        let WalkResult::Mapped(mapping) = found.result else {
            at += found.reach(&paging, addr);
            continue;
        };
        let end = at + u64::from(mapping.size.bytes());
        let phys = mapping.base.0;
        let alike = |range: &&mut Range| {
            let key = |m: &Mapping| (m.size, m.rights, m.global);
            range.end == at && key(&range.like) == key(&mapping)
        };
        match ranges.last_mut().filter(alike) {
            Some(range) => {
                range.contiguous &= phys == range.phys + (range.end - range.start);
                range.end = end;
                range.pages += 1;
                range.accessed += u32::from(mapping.accessed);
                range.dirty += u32::from(mapping.dirty);
            }
            None => ranges.push(Range {
                start: at,
                end,
                phys,
                contiguous: true,
                like: mapping,
                pages: 1,
                accessed: mapping.accessed.into(),
                dirty: mapping.dirty.into(),
            }),
        }
        at = end;
    }
    ranges
}
