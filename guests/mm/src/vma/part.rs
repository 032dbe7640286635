//! Another set of flags for a part of an area, where both its neighbours are at hand: what splitting
//! at both ends, changing the part and joining it with what lies beside it would give, in one step.

use alloc::vec::Vec;
use core::ops::Range;

use super::{AreaPtr, VmArea, may_join, record_ptr};

/// Gives `range`, which lies in the area at `index`, other flags than it has. The neighbours stand beside it. Returns
/// where the area stands that holds the range now.
pub(super) fn set<P: AreaPtr>(areas: &mut Vec<(u32, P)>, index: usize, range: Range<u32>, flags: u32) -> usize {
    let Range { start, end } = range;
    let (below, rest) = areas.split_at_mut(index);
    let Some(((key, area), above)) = rest.split_first_mut() else { return index };
    let area = &mut **area;
    let (is_first, is_last) = (area.record.start == start, area.record.end == end);
    let may_join = may_join(flags);
    let before = below.last_mut().map(|(_, before)| &mut **before);
    let before = before.filter(|it| is_first && may_join && it.record.flags == flags && it.meets(area));
    let behind = above.first_mut();
    let behind = behind.filter(|(_, it)| is_last && may_join && it.record.flags == flags && area.meets(it));
    match (before, behind) {
        (Some(before), behind) if is_last => {
            swallow(before, area);
            let gone = if let Some((_, behind)) = behind {
                swallow(before, behind);
                2
            } else {
                1
            };
            areas.drain(index..index + gone);
            index - 1
        }
        (Some(before), _) => {
            before.record.end = end;
            before.anon |= area.anon;
            area.anon = before.anon;
            area.move_start(end);
            *key = end;
            index - 1
        }
        (None, Some((_, behind))) if is_first => {
            area.record.flags = flags;
            swallow(area, behind);
            areas.remove(index + 1);
            index
        }
        (None, Some((key, behind))) => {
            area.record.end = start;
            area.anon |= behind.anon;
            behind.anon = area.anon;
            behind.move_start(start);
            *key = start;
            index + 1
        }
        (None, None) => {
            let upper = (!is_last).then(|| area.part_from::<P>(end));
            let part = (!is_first).then(|| {
                let mut part: P = area.part_from(start);
                part.record.flags = flags;
                part
            });
            match (part, upper) {
                (None, None) => area.record.flags = flags,
                (None, Some(upper)) => {
                    area.record.flags = flags;
                    link(area, end, &upper);
                    areas.insert(index + 1, (end, upper));
                }
                (Some(part), None) => {
                    link(area, start, &part);
                    areas.insert(index + 1, (start, part));
                }
                (Some(mut part), Some(upper)) => {
                    link(&mut part, end, &upper);
                    link(area, start, &part);
                    areas.insert(index + 1, (end, upper));
                    areas.insert(index + 1, (start, part));
                }
            }
            index + usize::from(!is_first)
        }
    }
}

/// Ends an area at `addr`, where the next one begins.
fn link<P: AreaPtr>(area: &mut VmArea<P::File>, addr: u32, next: &P) {
    area.record.end = addr;
    area.record.next = record_ptr(next);
}

/// Makes an area reach over the next one, which will go.
fn swallow<F>(area: &mut VmArea<F>, next: &VmArea<F>) {
    area.record.end = next.record.end;
    area.record.next = next.record.next;
    area.anon |= next.anon;
}
