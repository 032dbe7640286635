//! The buddy system: free blocks of 2^order frames, split on demand, joined when both
//! halves are free. Blocks are kept apart by whether their users can be moved, so that what
//! cannot gathers in few pageblocks and the others can become large blocks again.

mod fallback;
#[cfg(test)]
mod tests;

use abi::books::{NR_MIGRATE_TYPES, ZoneRecord};

pub use abi::books::NR_ORDERS;

use crate::list::{END, Links};

/// The largest order.
pub const MAX_ORDER: u8 = NR_ORDERS as u8 - 1;
/// log2 of the frames of a pageblock, whose migrate type is kept: as in Linux without huge
/// pages of another size, the largest order.
pub const PAGEBLOCK_ORDER: u8 = MAX_ORDER;
/// Frames of a pageblock.
pub const PAGEBLOCK_PAGES: u32 = 1 << PAGEBLOCK_ORDER;
/// No frame: the end of a list.
pub const NONE: u32 = END;

/// What can become of the users of a block (`enum migratetype`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MigrateType {
    /// Stays where it is.
    Unmovable,
    /// Can be copied elsewhere: user memory.
    Movable,
    /// Can be given up.
    Reclaimable,
    /// Kept for requests that cannot wait.
    HighAtomic,
    /// Being emptied.
    Isolate,
}

use MigrateType::{HighAtomic, Isolate, Movable, Reclaimable, Unmovable};

impl MigrateType {
    /// All, in the order of `/proc/pagetypeinfo`.
    pub const ALL: [MigrateType; NR_MIGRATE_TYPES] = [Unmovable, Movable, Reclaimable, HighAtomic, Isolate];
    /// Those that requests have.
    pub const OF_REQUESTS: [MigrateType; 3] = [Unmovable, Movable, Reclaimable];

    /// The type with a number; what is none counts as isolated.
    pub fn from_number(number: u8) -> MigrateType {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Isolate)
    }
}

/// A free block, as its first frame knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeBlock {
    /// Its order.
    pub order: u8,
    /// The list that it is on, which is not always that of its pageblock.
    pub list: MigrateType,
}

/// The frame descriptors, as far as the buddy system uses them.
pub trait Frames: Links {
    /// The free block that begins at `pfn`, if one does.
    fn free_block(&self, pfn: u32) -> Option<FreeBlock>;
    /// Marks `pfn` as the beginning of a free block, or as not.
    fn set_free_block(&mut self, pfn: u32, block: Option<FreeBlock>);
    /// The type of the pageblock around `pfn`.
    fn pageblock(&self, pfn: u32) -> MigrateType;
    /// Sets it.
    fn set_pageblock(&mut self, pfn: u32, kind: MigrateType);
    /// Whether the frame is in use by somebody who lets it be moved.
    fn is_movable(&self, pfn: u32) -> bool;
}

/// Why a block cannot be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFree {
    /// The block, or a part of it, is free already.
    Double,
    /// The block lies outside the zone, or is not aligned to its size.
    Foreign,
}

/// The free lists of a zone. Its record holds their counts.
#[derive(Clone, Debug)]
pub struct FreeArea {
    /// First frame of the zone.
    start: u32,
    /// First frame after the zone.
    end: u32,
    heads: [[u32; NR_ORDERS]; NR_MIGRATE_TYPES],
}

impl FreeArea {
    /// A zone without a free frame.
    pub const fn new(start: u32, end: u32) -> Self {
        FreeArea { start, end, heads: [[NONE; NR_ORDERS]; NR_MIGRATE_TYPES] }
    }

    /// First frame, and first frame after.
    pub fn span(&self) -> (u32, u32) {
        (self.start, self.end)
    }

    /// The newest block of a list, or [`NONE`].
    pub fn head(&self, order: u8, list: MigrateType) -> u32 {
        self.heads[list as usize][order as usize]
    }

    /// Makes every pageblock of the zone movable, as all are at boot.
    pub fn init_pageblocks(&self, frames: &mut impl Frames, zone: &mut ZoneRecord) {
        for pfn in self.pageblocks() {
            frames.set_pageblock(pfn, Movable);
            zone.blocks[Movable as usize] += 1;
        }
    }

    /// The first frame of each pageblock. A zone without frames has none, wherever it lies.
    pub fn pageblocks(&self) -> impl Iterator<Item = u32> + use<> {
        let start = if self.start < self.end { self.start & !(PAGEBLOCK_PAGES - 1) } else { self.end };
        (start..self.end).step_by(PAGEBLOCK_PAGES as usize)
    }

    fn set_pageblock(&self, frames: &mut impl Frames, zone: &mut ZoneRecord, pfn: u32, kind: MigrateType) {
        zone.blocks[frames.pageblock(pfn) as usize] -= 1;
        zone.blocks[kind as usize] += 1;
        frames.set_pageblock(pfn, kind);
    }

    fn push(&mut self, frames: &mut impl Frames, zone: &mut ZoneRecord, pfn: u32, block: FreeBlock) {
        let head = &mut self.heads[block.list as usize][block.order as usize];
        let next = core::mem::replace(head, pfn);
        frames.set_links(pfn, [NONE, next]);
        if next != NONE {
            let [_, after] = frames.links(next);
            frames.set_links(next, [pfn, after]);
        }
        frames.set_free_block(pfn, Some(block));
        zone.nr_free[block.order as usize] += 1;
        zone.free_lists[block.list as usize][block.order as usize] += 1;
    }

    fn unlink(&mut self, frames: &mut impl Frames, zone: &mut ZoneRecord, pfn: u32, block: FreeBlock) {
        let [prev, next] = frames.links(pfn);
        if prev == NONE {
            self.heads[block.list as usize][block.order as usize] = next;
        } else {
            let [before, _] = frames.links(prev);
            frames.set_links(prev, [before, next]);
        }
        if next != NONE {
            let [_, after] = frames.links(next);
            frames.set_links(next, [prev, after]);
        }
        frames.set_free_block(pfn, None);
        zone.nr_free[block.order as usize] -= 1;
        zone.free_lists[block.list as usize][block.order as usize] -= 1;
    }

    /// Takes a block of 2^`order` frames for a request of a type (`__rmqueue`): from the
    /// type's own lists, or else from those of another, as little as that fragments.
    pub fn alloc(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        order: u8,
        kind: MigrateType,
    ) -> Option<u32> {
        loop {
            if let Some(pfn) = self.alloc_smallest(frames, zone, order, kind) {
                return Some(pfn);
            }
            if !self.steal_fallback(frames, zone, order, kind) {
                return None;
            }
        }
    }

    /// Takes the smallest block of a type's lists that fits (`__rmqueue_smallest`); its
    /// upper halves go back to them.
    pub fn alloc_smallest(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        order: u8,
        list: MigrateType,
    ) -> Option<u32> {
        let heads = &self.heads[list as usize];
        let found = (order..NR_ORDERS as u8).find(|&o| heads[o as usize] != NONE)?;
        let pfn = heads[found as usize];
        self.unlink(frames, zone, pfn, FreeBlock { order: found, list });
        for half in (order..found).rev() {
            self.push(frames, zone, pfn + (1 << half), FreeBlock { order: half, list });
        }
        zone.free_pages -= 1 << order;
        Some(pfn)
    }

    /// Gives a block back to the lists of its pageblock's type and joins it with its free
    /// buddies.
    pub fn free(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        mut pfn: u32,
        mut order: u8,
    ) -> Result<(), BadFree> {
        let size = 1u32 << order;
        if order > MAX_ORDER || pfn & (size - 1) != 0 || pfn < self.start || pfn + size > self.end {
            return Err(BadFree::Foreign);
        }
        if self.is_free(frames, pfn) || (pfn..pfn + size).any(|p| frames.free_block(p).is_some()) {
            return Err(BadFree::Double);
        }
        zone.free_pages += size;
        while order < MAX_ORDER {
            let buddy = pfn ^ (1 << order);
            let inside = buddy >= self.start && buddy + (1 << order) <= self.end;
            match if inside { frames.free_block(buddy) } else { None } {
                Some(block) if block.order == order => self.unlink(frames, zone, buddy, block),
                _ => break,
            }
            pfn &= !(1 << order);
            order += 1;
        }
        let list = frames.pageblock(pfn);
        self.push(frames, zone, pfn, FreeBlock { order, list });
        Ok(())
    }

    /// Takes the free block that begins at `pfn` as a whole, if one does (`__isolate_free_page`):
    /// its order.
    pub fn take_block(&mut self, frames: &mut impl Frames, zone: &mut ZoneRecord, pfn: u32) -> Option<u8> {
        let block = frames.free_block(pfn)?;
        self.unlink(frames, zone, pfn, block);
        zone.free_pages -= 1 << block.order;
        Some(block.order)
    }

    /// Whether the frame lies in a free block.
    pub fn is_free(&self, frames: &impl Frames, pfn: u32) -> bool {
        self.block_around(frames, pfn).is_some()
    }

    /// The free block that holds a frame: its first frame and what that knows.
    pub fn block_around(&self, frames: &impl Frames, pfn: u32) -> Option<(u32, FreeBlock)> {
        (0..NR_ORDERS as u8).find_map(|order| {
            let head = pfn & !((1 << order) - 1);
            let block = if head >= self.start { frames.free_block(head) } else { None };
            block.filter(|block| block.order >= order).map(|block| (head, block))
        })
    }
}
