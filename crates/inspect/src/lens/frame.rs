//! A frame of a machine whose kernel keeps no books: what hardware alone tells of it.

use cpu::mmu::{WalkResult, walk};
use memory::FrameKind;
use serde_json::json;
use x86::{LinearAddr, PAGE_SIZE, PhysAddr};

use super::{Answer, pagetable};
use crate::{Error, Result, Target};

/// The most linear pages that are listed of a CPU.
const MAX_MAPPED: usize = 64;

/// The frame `pfn`: its kind, what its page holds, and where each CPU's tables map it.
pub(super) fn frame(target: &Target<'_>, pfn: u32) -> Result<Answer> {
    if pfn >= 1 << 20 {
        return Err(Error::Usage(format!("page: frame {pfn:#x} lies beyond 4 GiB")));
    }
    let kind = match target.mem.kind(pfn) {
        FrameKind::Ram => "RAM",
        FrameKind::Rom => "ROM",
        FrameKind::Bus => "no memory: a device, or nothing",
    };
    let mut bytes = [0; PAGE_SIZE as usize];
    target.mem.read(PhysAddr::from_frame(pfn), &mut bytes);
    let is_zero = bytes.iter().all(|&byte| byte == 0);
    let contents = if is_zero { "all zero" } else { "not all zero" };
    let mut text = format!("frame     {pfn:#x}  physical {:#010x}  {kind}\n", u64::from(pfn) << 12);
    text += &format!("contents  {contents}\n");
    let mut rows = Vec::new();
    for (number, cpu) in target.cpus.iter().enumerate() {
        let paging = cpu.paging();
        if !paging.enabled() {
            text += &format!("mapped    cpu {number}: paging off, linear is physical\n");
            continue;
        }
        let mut at = 0u64;
        let mut found = 0;
        while at < 1 << 32 && found < MAX_MAPPED {
            let addr = LinearAddr(at as u32);
            let step = walk(target.mem, paging, addr);
            let WalkResult::Mapped(mapping) = step.result else {
                at += step.reach(&paging, addr);
                continue;
            };
            let size = u64::from(mapping.size.bytes());
            let offset = (u64::from(pfn) << 12).wrapping_sub(mapping.base.0);
            if offset < size {
                let linear = at + offset;
                let rights = pagetable::letters(&mapping);
                text += &format!("mapped    cpu {number}: at {linear:#010x}  {rights}\n");
                rows.push(json!({"cpu": number, "linear": linear, "rights": rights}));
                found += 1;
            }
            at += size;
        }
    }
    text += "owner     not known: the machine's kernel keeps no books that this program can read\n";
    let json = json!({
        "pfn": pfn, "physical": u64::from(pfn) << 12, "kind": kind, "zero": is_zero, "owner": null, "mapped": rows,
    });
    Ok(Answer::new(text, json))
}
