//! `process_vm_readv`, `process_vm_writev`: bytes between the caller's memory and another
//! process's.

use abi::errno::{EFAULT, EINVAL, ESRCH, Result};

use crate::{
    fs::{
        Dest, Source,
        iov::{IoVec, import_iovec, iovec_from_user},
    },
    mm::{
        MmStruct, PAGE_SIZE,
        remote::{read_remote_vm, write_remote_vm},
    },
    task::{cred::mm_access, pid},
};

/// Which way is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the other process.
    Read,
    /// To it.
    Write,
}

/// An array of pieces of memory in the caller: address and length.
pub type Pieces = [u32; 2];

/// Copies until either side's pieces are through or one byte can't be. What was copied by then
/// counts; EFAULT if nothing was. A process is asked for only when there is something to copy.
pub fn process_vm(pid: u32, local: Pieces, remote: Pieces, flags: u32, direction: Direction) -> Result<u32> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let mut own = import_iovec(local[0], local[1])?;
    if is_empty(&own) {
        return Ok(0);
    }
    let others = iovec_from_user(remote[0], remote[1])?;
    if is_empty(&others) {
        return Ok(0);
    }
    let target = pid::find(pid).ok_or(ESRCH)?;
    let mm = mm_access(&target)?.ok_or(ESRCH)?;
    let mut buffer = alloc::vec![0; PAGE_SIZE as usize];
    let mut total = 0;
    for (mut addr, mut len) in others {
        while len > 0 && !is_empty(&own) {
            let want = (PAGE_SIZE - (addr & (PAGE_SIZE - 1))).min(len) as usize;
            let done = match copy(&mm, addr, &mut buffer[..want], &mut own, direction) {
                Ok(done) => done as u32,
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            };
            total += done;
            addr = addr.wrapping_add(done);
            len -= done;
        }
    }
    Ok(total)
}

fn is_empty(pieces: &[IoVec]) -> bool {
    pieces.iter().all(|&(_, len)| len == 0)
}

/// Copies what lies in one page of the other process, as far as the caller's pieces go.
fn copy(mm: &MmStruct, addr: u32, buffer: &mut [u8], own: &mut [IoVec], direction: Direction) -> Result<usize> {
    match direction {
        Direction::Read => {
            let mut dest = Dest::User(own);
            let want = buffer.len().min(dest.remaining());
            match read_remote_vm(mm, addr, &mut buffer[..want], false) {
                0 => Err(EFAULT),
                got => dest.put(&buffer[..got]),
            }
        }
        Direction::Write => {
            let got = Source::User(own).take(buffer)?;
            match write_remote_vm(mm, addr, &buffer[..got], false) {
                0 => Err(EFAULT),
                done => Ok(done),
            }
        }
    }
}
