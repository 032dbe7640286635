//! Memory: each call is a verb of `mm`.

use alloc::sync::Arc;

use abi::{
    errno::{EBADF, EINVAL, Result},
    wire::u32_at,
};

use super::user::{bytes, file};
use crate::{
    mm::{
        MappedFile, MmStruct, PAGE_SIZE, brk, madvise, mincore, mlock,
        mmap::{self, map},
        mprotect, mremap, msync, munmap,
        uaccess::UserPtr,
    },
    task::current,
};

fn mm() -> Result<&'static MmStruct> {
    current().mm_of_current().ok_or(EINVAL)
}

fn zero(result: Result<()>) -> Result<u32> {
    result.map(|()| 0)
}

/// `brk`
pub fn brk(addr: u32) -> Result<u32> {
    Ok(brk::do_brk(mm()?, addr))
}

/// `mmap2`: the offset is in pages of 4 KiB.
pub fn mmap2(addr: u32, len: u32, prot: u32, flags: u32, fd: u32, pgoff: u32) -> Result<u32> {
    let file = match flags & map::ANONYMOUS {
        0 => Some(file(fd).map_err(|_| EBADF)? as Arc<dyn MappedFile>),
        _ => None,
    };
    mmap::do_mmap(mm()?, addr, len, prot, flags, file, pgoff)
}

/// `mmap`, whose arguments lie in memory and whose offset is in bytes.
pub fn old_mmap(args: u32) -> Result<u32> {
    let b: [u8; 24] = bytes(args)?;
    let word = |n: usize| u32_at(&b, n * 4);
    if word(5) & (PAGE_SIZE - 1) != 0 {
        return Err(EINVAL);
    }
    mmap2(word(0), word(1), word(2), word(3), word(4), word(5) / PAGE_SIZE)
}

/// `munmap`
pub fn munmap(addr: u32, len: u32) -> Result<u32> {
    zero(munmap::do_munmap(mm()?, addr, len))
}

/// `mprotect`
pub fn mprotect(addr: u32, len: u32, prot: u32) -> Result<u32> {
    zero(mprotect::do_mprotect(mm()?, addr, len, prot))
}

/// `mremap`
pub fn mremap(addr: u32, old_len: u32, new_len: u32, flags: u32, new_addr: u32) -> Result<u32> {
    mremap::do_mremap(mm()?, addr, old_len, new_len, flags, new_addr)
}

/// `madvise`
pub fn madvise(addr: u32, len: u32, behavior: u32) -> Result<u32> {
    zero(madvise::do_madvise(mm()?, addr, len, behavior))
}

/// `mincore`
pub fn mincore(addr: u32, len: u32, vec: u32) -> Result<u32> {
    zero(mincore::do_mincore(mm()?, addr, len, UserPtr::new(vec)))
}

/// `msync`
pub fn msync(addr: u32, len: u32, flags: u32) -> Result<u32> {
    zero(msync::do_msync(mm()?, addr, len, flags))
}

/// `mlock`, `mlock2`
pub fn mlock2(addr: u32, len: u32, flags: u32) -> Result<u32> {
    const MLOCK_ONFAULT: u32 = 1;
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(EINVAL);
    }
    zero(mlock::do_mlock(mm()?, addr, len, flags != 0))
}

/// `munlock`
pub fn munlock(addr: u32, len: u32) -> Result<u32> {
    zero(mlock::do_munlock(mm()?, addr, len))
}

/// `mlockall`
pub fn mlockall(flags: u32) -> Result<u32> {
    zero(mlock::do_mlockall(mm()?, flags))
}

/// `munlockall`
pub fn munlockall() -> Result<u32> {
    mlock::do_munlockall(mm()?);
    Ok(0)
}
