//! Tells watchpoints of the accesses that are looked at. What is watched is not projected, so that each access to
//! it comes by here; fetches are no loads.

use memory::{FrameKind, PhysMem};
use x86::{LinearAddr, PhysAddr};

use super::{
    access::Span,
    changes,
    rights::Access,
    walk::{self, Level, Mapping, PageFault, Paging},
};
use crate::{Cpu, stops::Touch};

/// Notes a load of `bytes`, which is done.
#[inline]
pub(super) fn loads(cpu: &mut Cpu, addr: LinearAddr, span: &Span, bytes: &[u8]) {
    if is_watching(cpu) {
        each_frame(addr, span, bytes, |linear, phys, bytes| {
            cpu.note_touch(&Touch { linear: Some(linear), phys, write: false, before: None, after: bytes });
        });
    }
}

/// Notes a store of `bytes`, which nothing keeps from being done any more but which is not done yet.
#[inline]
pub(super) fn stores(cpu: &mut Cpu, addr: LinearAddr, span: &Span, bytes: &[u8]) {
    if is_watching(cpu) {
        each_frame(addr, span, bytes, |linear, phys, bytes| note_store(cpu, linear, phys, bytes));
    }
}

/// As [`walk::translate`]; notes the A and D bits that it sets, and which frames hold tables.
pub(super) fn walk(cpu: &mut Cpu, paging: &Paging, addr: LinearAddr, access: Access) -> Result<Mapping, PageFault> {
    match cpu.stops().is_some_and(|stops| stops.watches.has_physical()) {
        true => watched_walk(cpu, paging, addr, access),
        false => {
            let (tables, mapping) = walk::translate(cpu.mem(), paging, addr, access);
            changes::walked(cpu, tables);
            mapping
        }
    }
}

fn is_watching(cpu: &mut Cpu) -> bool {
    cpu.stops().is_some_and(|stops| !stops.watches.is_empty())
}

fn each_frame(addr: LinearAddr, span: &Span, bytes: &[u8], mut note: impl FnMut(LinearAddr, PhysAddr, &[u8])) {
    let (first, second) = bytes.split_at(span.first_len);
    note(addr, span.first, first);
    if !second.is_empty() {
        note(addr.wrapping_add(span.first_len as u32), span.second, second);
    }
}

#[cold]
fn note_store(cpu: &mut Cpu, linear: LinearAddr, phys: PhysAddr, bytes: &[u8]) {
    let kind = cpu.mem().kind(phys.frame());
    let mut old = [0; x86::PAGE_SIZE as usize];
    let old = &mut old[..bytes.len()];
    let before = (kind != FrameKind::Bus).then(|| {
        cpu.mem().read(phys, old);
        &*old
    });
    // ROM stays as it is.
    let after = if kind == FrameKind::Rom { before.unwrap_or(bytes) } else { bytes };
    cpu.note_touch(&Touch { linear: Some(linear), phys, write: true, before, after });
}

#[cold]
fn watched_walk(cpu: &mut Cpu, paging: &Paging, addr: LinearAddr, access: Access) -> Result<Mapping, PageFault> {
    let size = if paging.pae() { 8 } else { 4 };
    let read = |mem: &PhysMem, place| if size == 8 { mem.read_u64(place) } else { mem.read_u32(place).into() };
    let steps = walk::walk(cpu.mem(), *paging, addr).steps;
    let (tables, mapping) = walk::translate(cpu.mem(), paging, addr, access);
    changes::walked(cpu, tables);
    let mapping = mapping?;
    // With PAE the first level is in registers.
    for step in steps.iter().filter(|step| step.level != Level::Pdpt) {
        let now = read(cpu.mem(), step.addr);
        if now != step.value {
            let (before, after) = (step.value.to_le_bytes(), now.to_le_bytes());
            let (before, after) = (Some(&before[..size]), &after[..size]);
            cpu.note_touch(&Touch { linear: None, phys: step.addr, write: true, before, after });
        }
    }
    Ok(mapping)
}
