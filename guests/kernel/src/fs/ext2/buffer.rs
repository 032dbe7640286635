//! Metadata in memory, block by block.
//!
//! It does not share pages with the device's own cache: a page of that holds several small
//! blocks, and writing one of them would write its neighbours, which may be contents of files
//! that reach the device by themselves.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};

use abi::errno::{ENOMEM, Result};

use crate::{
    block::BlockDevice,
    mm::{alloc_page, gfp::GFP_KERNEL, highmem::kmap_local, put_page},
    sync::{Mutex, SpinLock},
    time::ktime_get_ns,
};

/// Blocks that are kept, unless they are dirty.
const MAX_BUFFERS: usize = 1024;
/// Metadata is written back by the next who changes some after so long.
const WRITE_BACK_NS: u64 = 5_000_000_000;

struct Buffer {
    data: Box<[u8]>,
    dirty: bool,
}

/// The blocks of one file system.
pub(super) struct Buffers {
    device: Arc<BlockDevice>,
    block_size: u32,
    map: SpinLock<BTreeMap<u32, Buffer>>,
    /// One at a time writes, so that no older copy overtakes a newer. Holds the time of the last.
    writing: Mutex<u64>,
}

impl Buffers {
    /// No block yet. Until the size of a block is known it is 1024.
    pub fn new(device: &Arc<BlockDevice>, block_size: u32) -> Self {
        Buffers {
            device: device.clone(),
            block_size,
            map: SpinLock::new(BTreeMap::new()),
            writing: Mutex::new(ktime_get_ns()),
        }
    }

    /// Copies from the device at `pos`. EIO.
    pub fn read(&self, pos: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let (block, offset, len) = self.part(pos + done as u64, out.len() - done);
            self.with(block, |buffer| out[done..done + len].copy_from_slice(&buffer.data[offset..offset + len]))?;
            done += len;
        }
        Ok(())
    }

    /// Copies to the device at `pos`, which it reaches later. EIO.
    pub fn write(&self, pos: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            let (block, offset, len) = self.part(pos + done as u64, data.len() - done);
            let source = &data[done..done + len];
            if len == self.block_size as usize {
                self.map.lock().insert(block, Buffer { data: source.into(), dirty: true });
            } else {
                self.with(block, |buffer| {
                    buffer.data[offset..offset + len].copy_from_slice(source);
                    buffer.dirty = true;
                })?;
            }
            done += len;
        }
        Ok(())
    }

    /// A block is no metadata any more: what was to be written of it is not.
    pub fn forget(&self, block: u32) {
        let gone = self.map.lock().remove(&block);
        drop(gone);
    }

    /// Everything reaches the device. EIO; what could not be written is tried again the next time.
    pub fn sync(&self) -> Result<()> {
        let mut writing = self.writing.lock();
        *writing = ktime_get_ns();
        let dirty: Vec<u32> =
            self.map.lock().iter().filter(|(_, buffer)| buffer.dirty).map(|(&block, _)| block).collect();
        // One bad block keeps no other from the device.
        let mut result = Ok(());
        for block in dirty {
            result = result.and(self.write_out(block));
        }
        result
    }

    /// The same if it has not been done for a while.
    pub fn balance(&self) -> Result<()> {
        let due = self.writing.try_lock().is_some_and(|last| ktime_get_ns().saturating_sub(*last) >= WRITE_BACK_NS);
        if due { self.sync() } else { Ok(()) }
    }

    fn part(&self, pos: u64, left: usize) -> (u32, usize, usize) {
        let size = u64::from(self.block_size);
        let offset = (pos % size) as usize;
        ((pos / size) as u32, offset, left.min(self.block_size as usize - offset))
    }

    /// Calls `visit` with a block, which is read first if need be.
    fn with(&self, block: u32, mut visit: impl FnMut(&mut Buffer)) -> Result<()> {
        if let Some(buffer) = self.map.lock().get_mut(&block) {
            visit(buffer);
            return Ok(());
        }
        let data = self.read_in(block)?;
        let mut map = self.map.lock();
        if map.len() >= MAX_BUFFERS {
            map.retain(|_, buffer| buffer.dirty);
        }
        // Another may have been faster, and have changed it.
        visit(map.entry(block).or_insert(Buffer { data, dirty: false }));
        Ok(())
    }

    fn sector(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.block_size / 512)
    }

    fn read_in(&self, block: u32) -> Result<Box<[u8]>> {
        let page = alloc_page(GFP_KERNEL).ok_or(ENOMEM)?;
        let result = self.device.read_part(self.sector(block), page, 0, self.block_size / 512);
        let data = result.map(|()| Box::from(&kmap_local(page).as_slice()[..self.block_size as usize]));
        put_page(page);
        data
    }

    fn write_out(&self, block: u32) -> Result<()> {
        let page = alloc_page(GFP_KERNEL).ok_or(ENOMEM)?;
        {
            let mut mapped = kmap_local(page);
            let mut map = self.map.lock();
            if let Some(buffer) = map.get_mut(&block) {
                mapped.as_mut_slice()[..self.block_size as usize].copy_from_slice(&buffer.data);
                buffer.dirty = false;
            } else {
                drop(map);
                drop(mapped);
                put_page(page);
                return Ok(());
            }
        }
        let result = self.device.write_part(self.sector(block), page, 0, self.block_size / 512);
        put_page(page);
        if result.is_err()
            && let Some(buffer) = self.map.lock().get_mut(&block)
        {
            buffer.dirty = true;
        }
        result
    }
}
