//! Block devices: disks and their partitions (`struct block_device`, `struct gendisk`).

pub mod genhd;
pub mod partitions;
pub mod proc;
pub mod queue;

use alloc::{string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::errno::{EBUSY, EIO, Result};

use self::{
    genhd::Stats,
    queue::{Op, Queue, Segment},
};
use crate::{
    fs::block_dev::DevicePages,
    mm::{
        PAGE_SIZE, Page,
        filemap::{AddressSpace, Backing},
    },
    sync::{Once, SpinLock},
};

/// Bytes in a sector, whatever the disk's own are.
pub const SECTOR_SIZE: u32 = 512;
/// Sectors in a page.
pub const PAGE_SECTORS: u32 = PAGE_SIZE / SECTOR_SIZE;
/// Major number of the disks that libata names `sd`.
pub const SCSI_DISK0_MAJOR: u32 = 8;
/// Minor numbers of a disk: itself and 15 partitions.
pub const DISK_MINORS: u32 = 16;

/// A disk or a partition.
pub struct BlockDevice {
    /// `sda`, `sda1`.
    pub name: String,
    /// Major and minor number.
    pub rdev: (u32, u32),
    /// First sector on the disk.
    start: u64,
    sectors: u64,
    /// The drive's number in its queue.
    unit: u8,
    queue: &'static Queue,
    /// Counts of the device; those of a partition count for its disk, too.
    stats: Arc<Stats>,
    disk_stats: Option<Arc<Stats>>,
    /// A file system has it for itself.
    claimed: AtomicBool,
    mapping: Once<Arc<AddressSpace>>,
}

impl BlockDevice {
    /// Its size in sectors of 512 bytes.
    pub fn capacity(&self) -> u64 {
        self.sectors
    }

    /// Reads the eight sectors from `sector` on into a page, wherever the page lies; what is
    /// behind the device's end becomes zeros. Sleeps. EIO.
    pub fn read_page(&self, sector: u64, page: &'static Page) -> Result<()> {
        let sectors = self.sectors_within(sector)?;
        if sectors < PAGE_SECTORS {
            crate::mm::page::clear_highpage(page);
        }
        self.transfer(Op::Read, sector, Segment { page, offset: 0, sectors })
    }

    /// Writes a page to the eight sectors from `sector` on, as far as the device goes. Sleeps.
    /// EIO.
    pub fn write_page(&self, sector: u64, page: &'static Page) -> Result<()> {
        let sectors = self.sectors_within(sector)?;
        self.transfer(Op::Write, sector, Segment { page, offset: 0, sectors })
    }

    /// Reads `sectors` sectors into a page from byte `offset` on. Sleeps. EIO.
    pub fn read_part(&self, sector: u64, page: &'static Page, offset: u32, sectors: u32) -> Result<()> {
        self.transfer(Op::Read, sector, Segment { page, offset, sectors })
    }

    /// Writes `sectors` sectors from byte `offset` of a page on. Sleeps. EIO.
    pub fn write_part(&self, sector: u64, page: &'static Page, offset: u32, sectors: u32) -> Result<()> {
        self.transfer(Op::Write, sector, Segment { page, offset, sectors })
    }

    /// The device's own page cache.
    pub fn mapping(&self) -> &Arc<AddressSpace> {
        self.mapping.get()
    }

    /// All that was written is on the medium when this returns. Sleeps. EIO.
    pub fn flush(&self) -> Result<()> {
        self.account(Op::Flush, 0, |queue| queue.flush(self.unit))
    }

    /// Takes the device for one user alone: EBUSY if somebody has it.
    pub fn claim(&self) -> Result<()> {
        if self.claimed.swap(true, Relaxed) { Err(EBUSY) } else { Ok(()) }
    }

    /// Gives it back.
    pub fn unclaim(&self) {
        self.claimed.store(false, Relaxed);
    }

    fn sectors_within(&self, sector: u64) -> Result<u32> {
        match self.sectors.saturating_sub(sector).min(PAGE_SECTORS.into()) as u32 {
            0 => Err(EIO),
            sectors => Ok(sectors),
        }
    }

    fn transfer(&self, op: Op, sector: u64, segment: Segment) -> Result<()> {
        let end = sector.checked_add(segment.sectors.into()).ok_or(EIO)?;
        if end > self.sectors {
            crate::pr_info!(
                "attempt to access beyond end of device\n{}: want={}, limit={}",
                self.name,
                end,
                self.sectors
            );
            return Err(EIO);
        }
        let absolute = self.start + sector;
        let result = self.account(op, segment.sectors, |queue| queue.transfer(self.unit, op, absolute, segment));
        if result.is_err() {
            let disk = self.name.trim_end_matches(|c: char| c.is_ascii_digit());
            let (number, name) = op.number_and_name();
            crate::pr_info!(
                "I/O error, dev {disk}, sector {absolute} op {number:#x}:({name}) flags 0x0 phys_seg 1 prio class 2"
            );
        }
        result
    }

    fn account(&self, op: Op, sectors: u32, run: impl FnOnce(&'static Queue) -> Result<()>) -> Result<()> {
        let began = crate::time::ktime_get_ns();
        let all = || [Some(&self.stats), self.disk_stats.as_ref()].into_iter().flatten();
        all().for_each(|stats| stats.begin(began));
        let result = run(self.queue);
        let now = crate::time::ktime_get_ns();
        all().for_each(|stats| stats.end(op, sectors, began, now));
        result
    }
}

/// Announces a device, with an empty page cache.
fn register(device: BlockDevice) -> Arc<BlockDevice> {
    let device = Arc::new(device);
    let mapping = Arc::new(AddressSpace::with_ops(Backing::BlockDevice, Arc::new(DevicePages(device.clone()))));
    // An empty cache has nothing to read when its size is set.
    let _ = mapping.set_size(device.sectors * u64::from(SECTOR_SIZE));
    device.mapping.set(mapping);
    DEVICES.lock().push(device.clone());
    device
}

/// All devices, a disk before its partitions.
static DEVICES: SpinLock<Vec<Arc<BlockDevice>>> = SpinLock::new(Vec::new());

/// Finds a device by its number.
pub fn lookup_bdev(rdev: (u32, u32)) -> Option<Arc<BlockDevice>> {
    DEVICES.lock().iter().find(|device| device.rdev == rdev).cloned()
}

/// Finds a device by its name.
pub fn lookup_name(name: &str) -> Option<Arc<BlockDevice>> {
    DEVICES.lock().iter().find(|device| device.name == name).cloned()
}

/// All devices, for `/dev` and `/proc`.
pub fn devices() -> Vec<Arc<BlockDevice>> {
    DEVICES.lock().clone()
}
