//! System V shared memory.

use alloc::{collections::BTreeMap, format, sync::Arc};

use abi::{
    errno::{EEXIST, EIDRM, EINVAL, ENOENT, ENOSYS, Result},
    wire::record,
};

use super::user::store;
use crate::{
    mm::{
        MappedFile, PAGE_SIZE,
        mmap::{self, map, prot},
        munmap,
        shmem::ShmemFile,
    },
    sync::SpinLock,
    task::current,
};

const IPC_PRIVATE: u32 = 0;
const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
const IPC_RMID: u32 = 0;
const IPC_STAT: u32 = 2;
/// Huge pages for a segment: there are none.
const SHM_HUGETLB: u32 = 0o4000;
const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100_000;

struct Segment {
    key: u32,
    size: u32,
    mode: u32,
    file: Arc<ShmemFile>,
}

struct Segments {
    by_id: BTreeMap<u32, Segment>,
    next_id: u32,
}

static SEGMENTS: SpinLock<Segments> = SpinLock::new(Segments { by_id: BTreeMap::new(), next_id: 0 });

/// `shmget`
pub fn shmget(key: u32, size: u32, flags: u32) -> Result<u32> {
    if flags & SHM_HUGETLB != 0 {
        return Err(EINVAL);
    }
    let mut all = SEGMENTS.lock();
    let found = all.by_id.iter().find(|(_, s)| key != IPC_PRIVATE && s.key == key).map(|(id, s)| (*id, s.size));
    match found {
        Some(_) if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => return Err(EEXIST),
        Some((_, have)) if size > have => return Err(EINVAL),
        Some((id, _)) => return Ok(id),
        None if key != IPC_PRIVATE && flags & IPC_CREAT == 0 => return Err(ENOENT),
        None => {}
    }
    if size == 0 || size > i32::MAX as u32 {
        return Err(EINVAL);
    }
    let id = all.next_id;
    all.next_id += 1;
    // The number of the segment is the number of its inode, as in Linux.
    let file = ShmemFile::new(&format!("/SYSV{key:08x}"), size.into(), 0);
    all.by_id.insert(id, Segment { key, size, mode: flags & 0o777, file });
    Ok(id)
}

/// `shmat`
pub fn shmat(id: u32, addr: u32, flags: u32) -> Result<u32> {
    let (file, size) = SEGMENTS.lock().by_id.get(&id).map(|s| (s.file.clone(), s.size)).ok_or(EINVAL)?;
    let mut at = addr;
    if at & (PAGE_SIZE - 1) != 0 {
        if flags & SHM_RND == 0 {
            return Err(EINVAL);
        }
        at &= !(PAGE_SIZE - 1);
    }
    let mut rights = prot::READ;
    if flags & SHM_RDONLY == 0 {
        rights |= prot::WRITE;
    }
    if flags & SHM_EXEC != 0 {
        rights |= prot::EXEC;
    }
    let fixed = match (addr, flags & SHM_REMAP) {
        (0, 0) => 0,
        (0, _) => return Err(EINVAL),
        (_, 0) => map::FIXED_NOREPLACE,
        _ => map::FIXED,
    };
    let mm = current().mm().ok_or(EINVAL)?;
    let mapped = mmap::do_mmap(&mm, at, size, rights, map::SHARED | fixed, Some(file as Arc<dyn MappedFile>), 0);
    mapped.map_err(|e| if e == EEXIST { EINVAL } else { e })
}

/// `shmdt`: unmaps the segment that was attached at `addr`.
pub fn shmdt(addr: u32) -> Result<u32> {
    let mm = current().mm().ok_or(EINVAL)?;
    let sizes: alloc::vec::Vec<_> = SEGMENTS.lock().by_id.values().map(|s| (s.file.record(), s.size)).collect();
    let mut attached = None;
    mm.lock().for_each_area(|area| {
        if area.start == addr && area.pgoff == 0 && !area.file.is_null() {
            let size = sizes.iter().find(|(file, _)| *file == area.file).map(|(_, size)| *size);
            // A removed segment lives on in its mappings; what is left of it is one area.
            attached = Some(size.unwrap_or(area.end - area.start));
        }
    });
    munmap::do_munmap(&mm, addr, attached.ok_or(EINVAL)?).map(|()| 0)
}

/// `shmctl`
pub fn shmctl(id: u32, cmd: u32, buf: u32) -> Result<u32> {
    const IPC_64: u32 = 0x100;
    match cmd & !IPC_64 {
        IPC_RMID => {
            let removed = SEGMENTS.lock().by_id.remove(&id).ok_or(EINVAL)?;
            drop(removed);
            Ok(0)
        }
        IPC_STAT => {
            let (key, size, mode) = SEGMENTS.lock().by_id.get(&id).map(|s| (s.key, s.size, s.mode)).ok_or(EIDRM)?;
            // key, uid, gid, cuid, cgid, mode, sequence; then the size.
            let told = record::<84>(|w| _ = w.u32(key).skip(16).u32(mode).skip(12).u32(size));
            store(buf, &told).map(|()| 0)
        }
        _ => Err(ENOSYS),
    }
}

/// `ipc`: one call for all of System V's; the version is in the upper half.
pub fn ipc(call: u32, first: u32, second: u32, third: u32, ptr: u32) -> Result<u32> {
    const SHMAT: u32 = 21;
    const SHMDT: u32 = 22;
    const SHMGET: u32 = 23;
    const SHMCTL: u32 = 24;
    match call & 0xffff {
        SHMAT => {
            let at = shmat(first, ptr, second)?;
            store(third, &at.to_le_bytes()).map(|()| 0)
        }
        SHMDT => shmdt(ptr),
        SHMGET => shmget(first, second, third),
        SHMCTL => shmctl(first, second, ptr),
        _ => Err(ENOSYS),
    }
}
