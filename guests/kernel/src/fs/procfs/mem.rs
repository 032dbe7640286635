//! `/proc/PID/mem`: the offset is the address. The rights of areas don't stand in the way.

use abi::errno::{EFAULT, EINVAL, EIO, Result};

use crate::{
    arch::TASK_SIZE,
    fs::{Dest, File, FileOps, Source, Whence},
    mm::{
        PAGE_SIZE,
        remote::{MmHandle, read_remote_vm, write_remote_vm},
    },
};

/// The open file. Without an address space, or when that is gone, it is empty.
pub struct Mem(pub Option<MmHandle>);

impl Mem {
    fn chunk(remaining: usize) -> alloc::vec::Vec<u8> {
        alloc::vec![0; remaining.min(PAGE_SIZE as usize)]
    }
}

/// The address that an offset stands for; EIO above all addresses.
fn address(pos: u64) -> Result<u32> {
    u32::try_from(pos).ok().filter(|&addr| addr < TASK_SIZE).ok_or(EIO)
}

impl FileOps for Mem {
    fn read(&self, _file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.0.as_ref().and_then(MmHandle::get) else { return Ok(0) };
        let mut chunk = Self::chunk(dest.remaining());
        let mut done = 0;
        while dest.remaining() > 0 {
            let want = chunk.len().min(dest.remaining());
            let got = address(*pos).map_or(0, |addr| read_remote_vm(&mm, addr, &mut chunk[..want], true));
            if got == 0 {
                return if done > 0 { Ok(done) } else { Err(EIO) };
            }
            // Where the reader's memory ends, nothing counts, as in Linux.
            if dest.put(&chunk[..got])? < got {
                return Err(EFAULT);
            }
            *pos += got as u64;
            done += got;
        }
        Ok(done)
    }

    fn write(&self, _file: &File, source: &mut Source<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.0.as_ref().and_then(MmHandle::get) else { return Ok(0) };
        let mut chunk = Self::chunk(source.remaining());
        let mut done = 0;
        while source.remaining() > 0 {
            let want = chunk.len().min(source.remaining());
            if source.take(&mut chunk[..want])? < want {
                return Err(EFAULT);
            }
            let put = address(*pos).map_or(0, |addr| write_remote_vm(&mm, addr, &chunk[..want], true));
            *pos += put as u64;
            done += put;
            if put == 0 && done == 0 {
                return Err(EIO);
            }
            if put < want {
                break;
            }
        }
        Ok(done)
    }

    /// Any address is an offset, and none counts from the end.
    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        let to = match whence {
            Whence::Set => offset,
            Whence::Cur => (file.pos() as i64).wrapping_add(offset),
            _ => return Err(EINVAL),
        };
        file.set_pos(to as u64);
        Ok(to as u64)
    }
}
