//! `/dev/sda` and its kind: a device as a file, through the device's page cache.

use alloc::sync::Arc;

use abi::errno::{EACCES, EINVAL, EIO, ENOSPC, ENOTTY, ENXIO, Result};

use super::{Dest, File, FileOps, Source, Whence, ramfs::RegularFile};
use crate::{
    block::{self, BlockDevice, PAGE_SECTORS, SECTOR_SIZE},
    mm::{
        Page,
        filemap::{AddressSpace, AddressSpaceOps},
        uaccess::{UserPtr, put_user},
    },
    task::current,
};

/// Commands for block devices.
mod blk {
    pub const ROGET: u32 = 0x125e;
    pub const RRPART: u32 = 0x125f;
    pub const GETSIZE: u32 = 0x1260;
    pub const FLSBUF: u32 = 0x1261;
    pub const SSZGET: u32 = 0x1268;
    pub const PBSZGET: u32 = 0x127b;
    pub const BSZGET: u32 = 0x8004_1270;
    pub const GETSIZE64: u32 = 0x8004_1272;
}

/// Bytes moved at a time between user memory and the page cache.
const CHUNK: usize = 4096;

/// What the device's page cache reads and writes.
pub struct DevicePages(pub Arc<BlockDevice>);

impl AddressSpaceOps for DevicePages {
    fn read_folio(&self, index: u32, page: &'static Page) -> Result<()> {
        self.0.read_page(u64::from(index) * u64::from(PAGE_SECTORS), page).inspect_err(|_| {
            crate::pr_info!("Buffer I/O error on dev {}, logical block {index}, async page read", self.0.name);
        })
    }

    fn writepage(&self, index: u32, page: &'static Page) -> Result<()> {
        self.0.write_page(u64::from(index) * u64::from(PAGE_SECTORS), page).inspect_err(|_| {
            crate::pr_info!("Buffer I/O error on dev {}, logical block {index}, lost async page write", self.0.name);
        })
    }
}

/// Opens the device of a number; ENXIO if there is none.
pub fn open(rdev: (u32, u32)) -> Result<Arc<dyn FileOps>> {
    let device = block::lookup_bdev(rdev).ok_or(ENXIO)?;
    Ok(Arc::new(DeviceFile(device)))
}

/// An open block device.
struct DeviceFile(Arc<BlockDevice>);

impl DeviceFile {
    fn bytes(&self) -> u64 {
        self.0.capacity() * u64::from(SECTOR_SIZE)
    }

    fn cache(&self) -> &Arc<AddressSpace> {
        self.0.mapping()
    }

    fn sync(&self) -> Result<()> {
        self.cache().sync()?;
        self.0.flush()
    }
}

impl FileOps for DeviceFile {
    fn read(&self, _: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        RegularFile::read_mapping(self.cache(), dest, pos)
    }

    fn write(&self, _: &File, source: &mut Source<'_>, pos: &mut u64) -> Result<usize> {
        let left = self.bytes().saturating_sub(*pos);
        if left == 0 && source.remaining() > 0 {
            return Err(ENOSPC);
        }
        let mut chunk = alloc::vec![0; CHUNK.min(source.remaining())];
        let mut done = 0;
        while source.remaining() > 0 && (done as u64) < left {
            let in_page = CHUNK - *pos as usize % CHUNK;
            let room = usize::try_from(left - done as u64).unwrap_or(usize::MAX);
            let want = in_page.min(chunk.len()).min(source.remaining()).min(room);
            let step = source.take(&mut chunk[..want]).and_then(|count| self.cache().write(*pos, &chunk[..count]));
            match step {
                Ok(0) => break,
                Ok(count) => {
                    *pos += count as u64;
                    done += count;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Cur => file.pos(),
            Whence::End => self.bytes(),
            Whence::Data | Whence::Hole => return Err(EINVAL),
        };
        let to = base.checked_add_signed(offset).filter(|to| *to <= self.bytes()).ok_or(EINVAL)?;
        file.set_pos(to);
        Ok(to)
    }

    fn ioctl(&self, _: &File, cmd: u32, arg: u32) -> Result<u32> {
        let put = |value: u32| put_user(UserPtr::new(arg), value).map(|()| 0);
        match cmd {
            blk::ROGET => put(0),
            blk::GETSIZE => put(u32::try_from(self.0.capacity()).map_err(|_| abi::errno::EFBIG)?),
            blk::GETSIZE64 => {
                let bytes = self.bytes();
                put_user(UserPtr::new(arg), bytes as u32)?;
                put_user(UserPtr::new(arg.wrapping_add(4)), (bytes >> 32) as u32).map(|()| 0)
            }
            blk::SSZGET | blk::PBSZGET => put(SECTOR_SIZE),
            blk::BSZGET => put(4096),
            blk::FLSBUF => {
                if current().fsuid_gid().0 != 0 {
                    return Err(EACCES);
                }
                self.sync()?;
                self.cache().drop_clean_pages(0, u32::MAX);
                Ok(0)
            }
            // Partitions are read when the disk is found.
            blk::RRPART => Err(EINVAL),
            _ => Err(ENOTTY),
        }
    }

    fn mapping(&self, _: &File) -> Option<Arc<AddressSpace>> {
        Some(self.cache().clone())
    }

    fn fsync(&self, _: &File) -> Result<()> {
        self.sync().map_err(|_| EIO)
    }
}
