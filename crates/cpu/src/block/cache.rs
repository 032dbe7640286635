#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use memory::PhysMem;

use super::{
    Block, Key, Op, Seen,
    link::{self, Reach, Target, Targets},
};

/// The blocks of a machine.
pub(crate) struct Cache {
    /// Never iterated: order must not matter.
    blocks: HashMap<Key, *mut Block, BuildHasherDefault<KeyHasher>>,
    /// The blocks of each frame.
    frames: HashMap<u32, Vec<*mut Block>, BuildHasherDefault<KeyHasher>>,
    targets: Targets,
    /// Operations in all blocks.
    ops: usize,
    /// Counts blocks that died, for statistics.
    pub killed: u64,
}

// SAFETY: the pointers own their blocks and nothing outside the cache keeps one at rest.
unsafe impl Send for Cache {}

impl Cache {
    /// Operations beyond which everything is thrown away: 96 MiB of them.
    const MAX_OPS: usize = 3 << 20;

    pub(crate) fn new() -> Self {
        Cache { blocks: HashMap::default(), frames: HashMap::default(), targets: Targets::new(), ops: 0, killed: 0 }
    }

    /// The targets of indirect branches; stays where it is as long as the cache.
    pub(crate) fn targets(&self) -> *const Target {
        self.targets.as_ptr()
    }

    /// The block with this key.
    pub(crate) fn get(&self, key: Key) -> Option<*mut Block> {
        self.blocks.get(&key).copied()
    }

    /// The block that begins at EIP in this mode, if it is among the known targets of indirect branches and
    /// `projected`, what the projection for fetches says of the page, leads to it.
    pub(crate) fn known(&self, mode: u32, eip: u32, projected: u64) -> Option<*const Block> {
        self.targets.get(mode, eip, projected)
    }

    /// A block of this cache, or the one that runs once.
    pub(crate) fn block(&self, block: *const Block) -> &Block {
        // SAFETY: `get`, `insert` or the translator gave the pointer, and the dispatcher forgets it when blocks die.
        unsafe { &*block }
    }

    /// Takes a new block in. The pointer is good until the block dies.
    pub(crate) fn insert(&mut self, block: Box<Block>) -> *mut Block {
        if self.ops + block.op_count() > Self::MAX_OPS {
            self.clear();
        }
        self.ops += block.op_count();
        let key = block.key;
        let block = Box::into_raw(block);
        // SAFETY: just made from a box.
        let frames = unsafe {
            Block::finish(block);
            (*block).frames()
        };
        for pfn in frames {
            self.frames.entry(pfn).or_default().push(block);
        }
        if let Some(old) = self.blocks.insert(key, block) {
            debug_assert!(false, "a block is translated only when there is none: {key:?}");
            self.remove(old);
        }
        block
    }

    /// Ends a block's life. No operation of it may be running.
    pub(crate) fn remove(&mut self, block: *mut Block) {
        // SAFETY: blocks are removed once, from the lists that own them; the caller is the dispatcher,
        // so that none runs.
        let block = unsafe {
            link::isolate(block);
            for pfn in (*block).frames() {
                if let Some(list) = self.frames.get_mut(&pfn) {
                    list.retain(|&b| b != block);
                }
            }
            Box::from_raw(block)
        };
        self.targets.forget(&block);
        if self.blocks.get(&block.key).is_some_and(|&b| std::ptr::eq(b, &*block)) {
            self.blocks.remove(&block.key);
        }
        self.ops -= block.op_count();
        self.killed += 1;
    }

    /// Removes the blocks whose code was overwritten, and none beside them.
    pub(crate) fn drain_killed(&mut self, mem: &mut PhysMem, seen: &mut Seen) {
        for (pfn, lines) in mem.take_killed() {
            seen.forget(pfn);
            let (mut doomed, mut left) = (Vec::new(), 0);
            for &block in self.frames.get(&pfn).into_iter().flatten() {
                // SAFETY: blocks in the lists are alive.
                let held = unsafe { (*block).lines(pfn) };
                if held & lines != 0 {
                    doomed.push(block);
                } else {
                    left |= held;
                }
            }
            doomed.into_iter().for_each(|block| self.remove(block));
            if left == 0 {
                self.frames.remove(&pfn);
            }
            mem.set_code_lines(pfn, left);
        }
    }

    /// Removes the blocks that hold a byte at page offset `offset`, of whatever page: a breakpoint
    /// appears at such a linear address.
    pub(crate) fn remove_at_offset(&mut self, offset: u32) {
        let doomed: Vec<_> = self
            .blocks
            .values()
            .copied()
            .filter(|&block| {
                // SAFETY: blocks in the map are alive.
                let block = unsafe { &*block };
                let start = block.key.linear() & 0xfff;
                offset.wrapping_sub(start) & 0xfff < block.len
            })
            .collect();
        doomed.into_iter().for_each(|block| self.remove(block));
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        for (_, block) in self.blocks.drain() {
            self.killed += 1;
            // SAFETY: all blocks go together, so that no link to a dead one stays.
            drop(unsafe { Box::from_raw(block) });
        }
        self.frames.clear();
        self.targets.clear();
        self.ops = 0;
    }

    /// Joins the exit operation `exit` to the block `to`, which begins where it leads.
    pub(crate) fn join(&mut self, exit: *const Op, to: *const Block) {
        let to = to.cast_mut();
        // SAFETY: the dispatcher calls this between blocks, with an exit of a live block.
        unsafe {
            let from = Op::block(exit);
            let (a, b) = ((*from).key, (*to).key);
            let same_page = a.linear() >> 12 == b.linear() >> 12 && a.phys >> 12 == b.phys >> 12;
            let reach = if same_page { Reach::SamePage } else { Reach::OtherPage };
            if (*to).linkable && a.mode == b.mode && a.cs_base == b.cs_base && (same_page || (*to).expects_page()) {
                link::join(from, exit.cast_mut(), to, reach);
            }
        }
    }

    /// Remembers `to` as a target of indirect branches.
    pub(crate) fn remember(&mut self, to: *const Block) {
        // SAFETY: the block is alive.
        let to = unsafe { &*to };
        if to.linkable && to.expects_page() {
            self.targets.set(to);
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.phys) << 32 | u64::from(self.eip));
        state.write_u64(u64::from(self.cs_base) << 32 | u64::from(self.mode));
    }
}

/// A multiplying hash: the keys come from the guest, but a guest that makes them collide slows
/// only itself.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(b.into()));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}
