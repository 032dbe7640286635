//! Which block holds which part of a file: twelve direct pointers, then trees of one, two and
//! three levels.

use alloc::vec::Vec;

use abi::{
    errno::{EFBIG, Result},
    wire::u32_at,
};

use super::{Ext2, Space, inode::Node, layout::N_BLOCKS};

/// Direct pointers of an inode.
const NDIR_BLOCKS: u64 = 12;

/// The way to a block: the pointer in the inode, then one in each block of pointers.
struct Path {
    steps: [u32; 4],
    len: usize,
}

/// The way to block `logical` of a file; EFBIG for what no tree reaches.
fn path(logical: u64, pointers: u32) -> Result<Path> {
    let mut rest = logical;
    if rest < NDIR_BLOCKS {
        return Ok(Path { steps: [rest as u32, 0, 0, 0], len: 1 });
    }
    rest -= NDIR_BLOCKS;
    let p = u64::from(pointers);
    for level in 1..=3u32 {
        let span = p.pow(level);
        if rest < span {
            let mut steps = [NDIR_BLOCKS as u32 + level - 1, 0, 0, 0];
            for at in 1..=level {
                steps[at as usize] = (rest / p.pow(level - at) % p) as u32;
            }
            return Ok(Path { steps, len: level as usize + 1 });
        }
        rest -= span;
    }
    Err(EFBIG)
}

/// The longest file that pointers reach, in bytes.
pub(super) fn max_bytes(block_size: u32) -> u64 {
    let p = u64::from(block_size / 4);
    // i_blocks counts sectors in 32 bits.
    ((NDIR_BLOCKS + p + p * p + p * p * p) * u64::from(block_size)).min(1 << 41)
}

impl Node {
    /// The block that holds block `logical` of the file; `None` for a hole. EIO for a pointer
    /// that cannot be.
    pub(super) fn bmap(&self, logical: u64) -> Result<Option<u32>> {
        let fs = &self.fs;
        let path = path(logical, fs.layout.pointers())?;
        let mut block = self.pointer(path.steps[0]);
        for step in &path.steps[1..path.len] {
            if block == 0 {
                return Ok(None);
            }
            fs.check_block(self.ino, block)?;
            block = fs.pointer_in(block, *step)?;
        }
        match block {
            0 => Ok(None),
            block => fs.check_block(self.ino, block).map(Some),
        }
    }

    /// The same, with blocks given out where there are none; a new block for data has old
    /// contents, and is noted as fresh. ENOSPC, EFBIG, EIO.
    pub(super) fn get_block(&self, space: &mut Space, logical: u64) -> Result<u32> {
        let fs = &self.fs;
        let path = path(logical, fs.layout.pointers())?;
        let mut parent = None;
        for (depth, step) in path.steps[..path.len].iter().enumerate() {
            let mut block = match parent {
                None => self.pointer(*step),
                Some(parent) => fs.pointer_in(parent, *step)?,
            };
            if block == 0 {
                block = fs.new_block(space, self.goal())?;
                self.note_new_block(block);
                if depth + 1 < path.len {
                    fs.zero_block(block)?;
                } else {
                    self.fresh.lock().insert(logical);
                }
                match parent {
                    None => self.set_pointer(*step, block),
                    Some(parent) => fs.write(fs.block_pos(parent) + u64::from(*step) * 4, &block.to_le_bytes())?,
                }
            }
            parent = Some(fs.check_block(self.ino, block)?);
        }
        Ok(parent.unwrap_or(0))
    }

    /// Frees every block from block `keep` of the file on.
    pub(super) fn free_from(&self, space: &mut Space, keep: u64) -> Result<()> {
        let fs = &self.fs;
        drop(self.fresh.lock().split_off(&keep));
        let p = u64::from(fs.layout.pointers());
        let mut first = 0;
        for at in 0..N_BLOCKS as u32 {
            let level = (at + 1).saturating_sub(NDIR_BLOCKS as u32);
            let span = p.pow(level);
            let block = self.pointer(at);
            if block != 0 && first + span > keep && self.free_branch(space, block, level, first, keep)? {
                self.set_pointer(at, 0);
            }
            first += span;
        }
        Ok(())
    }

    /// Frees what lies behind `keep` in a tree of `level` levels whose first block of data is
    /// `first`; whether nothing of it is left.
    fn free_branch(&self, space: &mut Space, block: u32, level: u32, first: u64, keep: u64) -> Result<bool> {
        let fs = &self.fs;
        fs.check_block(self.ino, block)?;
        if level > 0 {
            let mut bytes = alloc::vec![0; fs.layout.block_size as usize];
            fs.read(fs.block_pos(block), &mut bytes)?;
            let mut pointers: Vec<u32> = (0..fs.layout.pointers() as usize).map(|n| u32_at(&bytes, 4 * n)).collect();
            let span = u64::from(fs.layout.pointers()).pow(level - 1);
            for (n, pointer) in (0..).zip(pointers.iter_mut()) {
                let start = first + n * span;
                if *pointer != 0 && start + span > keep && self.free_branch(space, *pointer, level - 1, start, keep)? {
                    *pointer = 0;
                    fs.write(fs.block_pos(block) + 4 * n, &[0; 4])?;
                }
            }
            if pointers.iter().any(|&pointer| pointer != 0) {
                return Ok(false);
            }
        }
        fs.free_block(space, block)?;
        self.note_freed_block();
        Ok(true)
    }
}

impl Ext2 {
    /// A pointer in a block of pointers.
    fn pointer_in(&self, block: u32, index: u32) -> Result<u32> {
        let mut bytes = [0; 4];
        self.read(self.block_pos(block) + u64::from(index) * 4, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}
