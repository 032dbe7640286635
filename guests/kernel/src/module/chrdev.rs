//! Character devices whose drivers are modules: from a program's call to the driver's
//! function.
#![allow(unsafe_code)]

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::cell::UnsafeCell;

use abi::{
    books::vm,
    errno::{EBUSY, EINVAL, ENODEV, ENOTTY, ENXIO, Errno, Result},
    module::{self, FileOperations, VmAreaStruct},
};

use super::{ModuleId, ModuleRef, module_address};
use crate::{
    fs::{Dest, File, FileOps, Source, chrdev},
    mm::{MmGuard, VmArea, vma::vm_page_prot},
    pr_info,
    sync::SpinLock,
};

/// Largest major number.
const CHRDEV_MAJOR_MAX: u32 = 511;
/// Majors that are given to those who want any: from the first of each pair down to the
/// second (`CHRDEV_MAJOR_DYN_END` and its kin).
const DYNAMIC_MAJORS: [(u32, u32); 2] = [(254, 234), (511, 384)];
/// Bits of an area that a driver may set.
const DRIVERS_FLAGS: u32 = vm::IO | vm::DONTEXPAND | vm::DONTCOPY;

/// Majors of the kernel's own block and character devices that no module may have.
fn is_ours(major: u32) -> bool {
    chrdev::OWN_MAJORS.iter().any(|&(own, _)| own == major)
}

/// A registered driver.
struct Driver {
    major: u32,
    name: Box<str>,
    fops: FileOperations,
    owner: ModuleId,
}

/// A node in `/dev`.
struct Node {
    name: Box<[u8]>,
    rdev: (u32, u32),
    owner: ModuleId,
}

struct Registry {
    /// By major.
    drivers: Vec<Driver>,
    nodes: Vec<Node>,
}

static REGISTRY: SpinLock<Registry> = SpinLock::new(Registry { drivers: Vec::new(), nodes: Vec::new() });

/// `register_chrdev`: the driver of all minors of a major, of any free one for 0. Returns the
/// major. EBUSY for one that is taken, EINVAL for one that cannot be.
///
/// # Safety
/// `fops` points to such a structure, or to no module.
pub unsafe fn register(major: u32, name: &str, fops: *const FileOperations) -> Result<u32> {
    let owner = module_address(fops as u32).ok_or(EINVAL)?;
    if major > CHRDEV_MAJOR_MAX {
        pr_info!("CHRDEV \"{name}\" major requested ({major}) is greater than the maximum ({CHRDEV_MAJOR_MAX})");
        return Err(EINVAL);
    }
    let mut registry = REGISTRY.lock();
    let drivers = &mut registry.drivers;
    let is_free = |wanted: u32| !is_ours(wanted) && !drivers.iter().any(|driver| driver.major == wanted);
    let major = match major {
        0 => DYNAMIC_MAJORS.iter().flat_map(|&(from, to)| (to..=from).rev()).find(|&any| is_free(any)).ok_or(EBUSY)?,
        major if is_free(major) => major,
        _ => return Err(EBUSY),
    };
    // SAFETY: by the caller; it lies in the module's memory, by the look above.
    let fops = unsafe { *fops };
    let at = drivers.partition_point(|driver| driver.major < major);
    drivers.insert(at, Driver { major, name: name.into(), fops, owner });
    Ok(major)
}

/// `unregister_chrdev`.
pub fn unregister(major: u32, name: &str) {
    REGISTRY.lock().drivers.retain(|driver| driver.major != major || &*driver.name != name);
}

/// `device_create` in short: a node `/dev/NAME` for a device of a driver. EEXIST.
pub fn create_node(major: u32, minor: u32, name: &[u8]) -> Result<()> {
    let owner = REGISTRY.lock().drivers.iter().find(|driver| driver.major == major).map(|driver| driver.owner);
    let (owner, rdev) = (owner.ok_or(EINVAL)?, (major, minor));
    chrdev::add_node(name, rdev)?;
    REGISTRY.lock().nodes.push(Node { name: name.into(), rdev, owner });
    Ok(())
}

/// `device_destroy`: the node goes.
pub fn destroy_node(major: u32, minor: u32) {
    remove_nodes(|node| node.rdev == (major, minor));
}

fn remove_nodes(which: impl Fn(&Node) -> bool) {
    let gone: Vec<Node> = REGISTRY.lock().nodes.extract_if(.., |node| which(node)).collect();
    for node in gone {
        // A program may have removed it, as it may any file.
        let _ = chrdev::remove_node(&node.name, node.rdev);
    }
}

/// A module goes away: so do the drivers that it has left behind.
pub fn forget(owner: ModuleId) {
    remove_nodes(|node| node.owner == owner);
    REGISTRY.lock().drivers.retain(|driver| {
        if driver.owner == owner {
            pr_info!("chrdev: {} of a module that is gone is taken away", driver.name);
        }
        driver.owner != owner
    });
}

/// Calls `visit` with the major and name of each driver, by major.
pub fn for_each(mut visit: impl FnMut(u32, &str)) {
    REGISTRY.lock().drivers.iter().for_each(|driver| visit(driver.major, &driver.name));
}

/// Opens a device of a driver. ENXIO if there is none.
pub fn open((major, minor): (u32, u32), flags: u32) -> Result<Arc<dyn FileOps>> {
    let (fops, owner) = {
        let registry = REGISTRY.lock();
        let driver = registry.drivers.iter().find(|driver| driver.major == major).ok_or(ENXIO)?;
        (driver.fops, driver.owner)
    };
    let file = module::File { f_flags: flags, private_data: core::ptr::null_mut() };
    let file = DriverFile {
        fops,
        inode: UnsafeCell::new(module::Inode { major, minor }),
        file: UnsafeCell::new(file),
        _owner: ModuleRef::get(owner).ok_or(ENXIO)?,
    };
    if let Some(open) = fops.open {
        // SAFETY: a function of a module that stays, with what it expects.
        error_of(unsafe { open(file.inode.get(), file.file.get()) } as isize)?;
    }
    Ok(Arc::new(file))
}

/// The result of a driver's function.
fn error_of(result: isize) -> Result<usize> {
    match result {
        0.. => Ok(result as usize),
        -4095..=-1 => Err(Errno(-result as u16)),
        _ => Err(EINVAL),
    }
}

/// An open device of a driver.
struct DriverFile {
    fops: FileOperations,
    inode: UnsafeCell<module::Inode>,
    file: UnsafeCell<module::File>,
    _owner: ModuleRef,
}

// SAFETY: what is in the cells is the driver's, which sees to it that its calls do not
// meddle, as it must in Linux.
unsafe impl Send for DriverFile {}
// SAFETY: as above.
unsafe impl Sync for DriverFile {}

impl FileOps for DriverFile {
    fn read(&self, _: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        let (Some(read), Dest::User(list)) = (self.fops.read, dest) else { return Err(EINVAL) };
        transfer(list, pos, |addr, len, pos| {
            // SAFETY: a function of a module that stays, with what it expects.
            unsafe { read(self.file.get(), addr as *mut u8, len, pos) }
        })
    }

    fn write(&self, _: &File, source: &mut Source<'_>, pos: &mut u64) -> Result<usize> {
        let (Some(write), Source::User(list)) = (self.fops.write, source) else { return Err(EINVAL) };
        transfer(list, pos, |addr, len, pos| {
            // SAFETY: a function of a module that stays, with what it expects.
            unsafe { write(self.file.get(), addr as *const u8, len, pos) }
        })
    }

    fn ioctl(&self, _: &File, cmd: u32, arg: u32) -> Result<u32> {
        let ioctl = self.fops.unlocked_ioctl.ok_or(ENOTTY)?;
        // SAFETY: a function of a module that stays, with what it expects.
        error_of(unsafe { ioctl(self.file.get(), cmd, arg as usize) }).map(|value| value as u32)
    }

    fn fills_areas(&self) -> bool {
        self.fops.mmap.is_some()
    }

    fn mmap(&self, _: &File, mm: &mut MmGuard, area: &mut VmArea) -> Result<()> {
        let mmap = self.fops.mmap.ok_or(ENODEV)?;
        let record = &area.record;
        let shown = VmAreaStruct {
            vm_start: record.start,
            vm_end: record.end,
            vm_pgoff: record.pgoff,
            vm_flags: record.flags,
            vm_page_prot: vm_page_prot(record.flags),
            vm_private_data: core::ptr::null_mut(),
        };
        let (mm, area) = (core::ptr::from_mut(mm).cast(), core::ptr::from_mut(area));
        let mut vma = DriverArea { shown, mm, area };
        // SAFETY: a function of a module that stays, with what it expects: an area that it
        // may hand to `remap_pfn_range` and `vm_insert_page` until it returns.
        let result = unsafe { mmap(self.file.get(), (&raw mut vma).cast()) };
        // SAFETY: the area is the caller's, and the driver's use of it is over.
        unsafe { (*area).record.flags |= vma.shown.vm_flags & DRIVERS_FLAGS };
        error_of(result as isize).map(drop)
    }

    fn release(&self, _: &File) {
        if let Some(release) = self.fops.release {
            // SAFETY: a function of a module that stays, with what it expects. Its result is
            // nobody's.
            unsafe { release(self.inode.get(), self.file.get()) };
        }
    }
}

/// Moves bytes piece by piece; what came before an error counts.
fn transfer(
    list: &mut [(u32, u32)],
    pos: &mut u64,
    mut step: impl FnMut(u32, usize, *mut i64) -> isize,
) -> Result<usize> {
    let mut done = 0;
    for (addr, len) in list.iter_mut().filter(|(_, len)| *len > 0) {
        let mut at = *pos as i64;
        let count = match error_of(step(*addr, *len as usize, &raw mut at)) {
            Ok(count) => count.min(*len as usize),
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        *pos = at as u64;
        *addr = addr.wrapping_add(count as u32);
        *len -= count as u32;
        done += count;
        if *len > 0 {
            break;
        }
    }
    Ok(done)
}

/// What a driver's `mmap` gets: what it sees, and what only the kernel does.
#[repr(C)]
pub(super) struct DriverArea {
    shown: VmAreaStruct,
    mm: *mut (),
    area: *mut VmArea,
}

/// Calls `fill` with the area that a driver was given.
///
/// # Safety
/// `vma` is what the driver's `mmap` got, which has not returned yet.
pub(super) unsafe fn with_area<R>(vma: *mut VmAreaStruct, fill: impl FnOnce(&mut MmGuard, &mut VmArea) -> R) -> R {
    let vma = vma.cast::<DriverArea>();
    // SAFETY: by the caller; `DriverFile::mmap` does not use the two meanwhile.
    unsafe {
        (*(*vma).area).record.flags |= (*vma).shown.vm_flags & DRIVERS_FLAGS;
        let result = fill(&mut *(*vma).mm.cast::<MmGuard>(), &mut *(*vma).area);
        (*vma).shown.vm_flags = (*(*vma).area).record.flags;
        result
    }
}
