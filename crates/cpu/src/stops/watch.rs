//! Watchpoints: which accesses they meet.

use x86::{LinearAddr, PhysAddr};

use super::pages::PageSet;

/// Which accesses a watchpoint stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// Stores.
    Write,
    /// Loads.
    Read,
    /// Both.
    Access,
}

/// What kind of addresses a watchpoint has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchSpace {
    /// Linear ones, in every address space.
    Linear,
    /// Physical ones, by whatever linear address they are reached; and by the page walker, which sets A and D.
    Physical,
}

/// A debugger's watchpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// Kind of addresses.
    pub space: WatchSpace,
    /// Address of the first byte.
    pub first: u32,
    /// Address of the last byte, not below the first.
    pub last: u32,
    /// Which accesses.
    pub kind: WatchKind,
}

impl Watch {
    /// A watch of `len` bytes, 1 to 2^32; `None` if there are no such bytes below 4 GiB.
    pub fn new(space: WatchSpace, first: u32, len: u64, kind: WatchKind) -> Option<Watch> {
        let last = u32::try_from(u64::from(first).checked_add(len.checked_sub(1)?)?).ok()?;
        Some(Watch { space, first, last, kind })
    }

    /// The watched bytes among those from `first` to `last` of its own space, as their first and last.
    fn meets(&self, first: u32, last: u32, write: bool) -> Option<(u32, u32)> {
        let wanted = match self.kind {
            WatchKind::Write => write,
            WatchKind::Read => !write,
            WatchKind::Access => true,
        };
        let both = (first.max(self.first), last.min(self.last));
        (wanted && both.0 <= both.1).then_some(both)
    }
}

/// Some bytes of memory: the first 16 where there are more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bytes {
    bytes: [u8; Bytes::MOST],
    len: u8,
}

impl Bytes {
    /// The most that are kept.
    pub const MOST: usize = 16;

    /// As many of `bytes` as are kept.
    pub fn of(bytes: &[u8]) -> Bytes {
        let len = bytes.len().min(Bytes::MOST);
        let mut kept = Bytes { len: len as u8, ..Bytes::default() };
        kept.bytes[..len].copy_from_slice(&bytes[..len]);
        kept
    }

    /// Those that are kept.
    pub fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What met a watchpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchHit {
    /// The watchpoint.
    pub watch: Watch,
    /// The first watched byte that was touched, in the watchpoint's own space.
    pub addr: u32,
    /// Its linear address; `None` if the page walker touched it, to set A or D.
    pub linear: Option<LinearAddr>,
    /// Its physical address.
    pub phys: PhysAddr,
    /// Linear address of the instruction that did it.
    pub pc: LinearAddr,
    /// Whether it was a store.
    pub write: bool,
    /// How many watched bytes were touched.
    pub len: u32,
    /// What the store replaced; `None` for a load, and where there is no memory.
    pub before: Option<Bytes>,
    /// What was loaded or is there now.
    pub after: Bytes,
}

/// What must be looked at on a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Guarded {
    pub loads: bool,
    pub stores: bool,
}

/// Bytes of one frame that are touched.
pub(crate) struct Touch<'a> {
    /// `None` for the page walker.
    pub linear: Option<LinearAddr>,
    pub phys: PhysAddr,
    pub write: bool,
    /// What was there before a store, if that can be told.
    pub before: Option<&'a [u8]>,
    /// What is there now.
    pub after: &'a [u8],
}

/// The most hits of one instruction that are kept.
const MAX_HITS: usize = 16;

/// All watchpoints.
#[derive(Default)]
pub(crate) struct Watches {
    list: Vec<Watch>,
    /// By space: pages whose loads, and whose stores, must be looked at.
    loads: [PageSet; 2],
    stores: [PageSet; 2],
    /// Of the last instruction.
    hits: Vec<WatchHit>,
}

impl Watches {
    pub fn add(&mut self, watch: Watch) {
        self.list.push(watch);
        self.guard(watch);
    }

    /// Takes one such watchpoint away; says whether there was one.
    pub fn remove(&mut self, watch: Watch) -> bool {
        let Some(place) = self.list.iter().position(|known| *known == watch) else { return false };
        self.list.remove(place);
        self.loads.iter_mut().chain(&mut self.stores).for_each(PageSet::clear);
        for watch in self.list.clone() {
            self.guard(watch);
        }
        true
    }

    fn guard(&mut self, Watch { space, first, last, kind }: Watch) {
        if kind != WatchKind::Write {
            self.loads[space as usize].insert(first, last);
        }
        if kind != WatchKind::Read {
            self.stores[space as usize].insert(first, last);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any watchpoint has physical addresses.
    pub fn has_physical(&self) -> bool {
        self.list.iter().any(|watch| watch.space == WatchSpace::Physical)
    }

    /// What must be looked at on linear page `page`, which leads to `frame`.
    pub fn guarded(&self, page: u32, frame: u32) -> Guarded {
        let held = |[linear, physical]: &[PageSet; 2]| linear.holds(page) || physical.holds(frame);
        Guarded { loads: held(&self.loads), stores: held(&self.stores) }
    }

    /// Notes which watchpoints the bytes meet that the instruction at `pc` touches.
    pub fn note(&mut self, pc: LinearAddr, touch: &Touch<'_>) {
        let Some(more) = (touch.after.len() as u32).checked_sub(1) else { return };
        for &watch in &self.list {
            let first = match watch.space {
                WatchSpace::Linear => touch.linear.map(|addr| addr.0),
                WatchSpace::Physical => u32::try_from(touch.phys.0).ok(),
            };
            // The bytes lie in one page, so that the last address does not overflow.
            let met = first.and_then(|first| Some((first, watch.meets(first, first + more, touch.write)?)));
            let Some((first, (from, to))) = met else { continue };
            if self.hits.len() == MAX_HITS {
                break;
            }
            let (offset, len) = (from - first, to - from + 1);
            let part = |bytes: &[u8]| Bytes::of(&bytes[offset as usize..][..len as usize]);
            self.hits.push(WatchHit {
                watch,
                addr: from,
                linear: touch.linear.map(|addr| addr.wrapping_add(offset)),
                phys: touch.phys.add(offset.into()),
                pc,
                write: touch.write,
                len,
                before: touch.before.filter(|_| touch.write).map(part),
                after: part(touch.after),
            });
        }
    }

    /// What the last instruction met.
    pub fn hits(&self) -> &[WatchHit] {
        &self.hits
    }

    /// Forgets what the last instruction met.
    pub fn forget_hits(&mut self) {
        self.hits.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_needs_a_byte_below_4_gib() {
        let new = |first, len| Watch::new(WatchSpace::Linear, first, len, WatchKind::Write).map(|watch| watch.last);
        assert_eq!(new(0, 0), None);
        assert_eq!(new(0xffff_fffc, 4), Some(0xffff_ffff));
        assert_eq!(new(0xffff_fffc, 5), None);
        assert_eq!((new(0, 1 << 32), new(1, u64::MAX)), (Some(0xffff_ffff), None));
    }

    #[test]
    fn a_touch_meets_the_watches_of_its_kind_and_place_with_their_part_of_the_values() {
        use WatchKind::{Access, Read, Write};
        use WatchSpace::{Linear, Physical};
        for (space, first, len, kind, write, met) in [
            (Linear, 0x6002, 1, Write, true, Some((0x6002, 1, 0x12))),
            (Linear, 0x6002, 1, Write, false, None),
            (Linear, 0x6002, 1, Read, false, Some((0x6002, 1, 0x12))),
            (Linear, 0x5000, 0x1001, Access, true, Some((0x6000, 1, 0x10))),
            (Linear, 0x6004, 4, Access, true, None),
            (Physical, 0x9001, 0x100, Write, true, Some((0x9001, 3, 0x11))),
            (Physical, 0x6000, 4, Write, true, None),
        ] {
            let mut watches = Watches::default();
            watches.add(Watch::new(space, first, len, kind).unwrap());
            watches.note(
                LinearAddr(0x1000),
                &Touch {
                    linear: Some(LinearAddr(0x6000)),
                    phys: PhysAddr(0x9000),
                    write,
                    before: Some(&[0, 1, 2, 3]),
                    after: &[0x10, 0x11, 0x12, 0x13],
                },
            );
            let found = watches.hits().first().map(|hit| (hit.addr, hit.len, hit.after.get()[0]));
            assert_eq!(found, met, "{space:?} {first:#x} {kind:?} {write}");
            let before = watches.hits().first().and_then(|hit| hit.before);
            assert_eq!(before.is_some(), met.is_some() && write);
        }
    }

    #[test]
    fn what_is_removed_guards_nothing_unless_it_was_there_twice() {
        let mut watches = Watches::default();
        let watch = Watch::new(WatchSpace::Physical, 0x9000, 4, WatchKind::Write).unwrap();
        watches.add(watch);
        watches.add(watch);
        assert!(watches.remove(watch));
        assert_eq!(watches.guarded(0, 9), Guarded { loads: false, stores: true });
        assert_eq!(watches.guarded(9, 0), Guarded { loads: false, stores: false });
        assert!(watches.remove(watch) && !watches.remove(watch));
        assert_eq!(watches.guarded(0, 9), Guarded { loads: false, stores: false });
    }
}
