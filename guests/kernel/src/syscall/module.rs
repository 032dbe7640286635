//! `init_module`, `finit_module`, `delete_module`.
#![allow(unsafe_code)]

use abi::{
    errno::{
        EBADF, EFAULT, EFBIG, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOEXEC, ENOMEM, EOPNOTSUPP, EPERM, ETXTBSY, Result,
    },
    module::MODULE_NAME_LEN,
    stat::mode,
};

use super::user;
use crate::{
    mm::{
        uaccess::{UserPtr, access_ok, copy_from_user, strncpy_from_user},
        vmalloc::{vfree, vmalloc},
    },
    module,
    task::current,
};

/// Bytes of an ELF header: less is no module.
const EHDR_SIZE: u32 = 52;
/// Longest text of parameters.
const MAX_ARGS: usize = 4096;

/// Flags of `finit_module`.
const MODULE_INIT_IGNORE_MODVERSIONS: u32 = 1;
const MODULE_INIT_IGNORE_VERMAGIC: u32 = 2;
const MODULE_INIT_COMPRESSED_FILE: u32 = 4;

/// The bytes of a module's file while it is loaded.
struct FileCopy {
    at: *mut u8,
    len: u32,
}

impl FileCopy {
    fn new(len: u32) -> Result<Self> {
        let at = vmalloc(len);
        if at.is_null() { Err(ENOMEM) } else { Ok(FileCopy { at, len }) }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as many bytes of ours; what was in the frames before is as good as any.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len as usize) }
    }
}

impl Drop for FileCopy {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { vfree(self.at) };
    }
}

/// `may_init_module`.
fn check_permission() -> Result<()> {
    if current().cred.lock().euid == 0 { Ok(()) } else { Err(EPERM) }
}

fn load(mut copy: FileCopy, args_addr: u32) -> Result<u32> {
    let args = strncpy_from_user(UserPtr::new(args_addr), MAX_ARGS);
    let args = args.map_err(|error| if error == ENAMETOOLONG { EINVAL } else { error })?;
    module::load_module(copy.bytes(), &args).map(|()| 0)
}

/// `init_module`
pub fn init_module(image: u32, len: u32, args: u32) -> Result<u32> {
    check_permission()?;
    if len < EHDR_SIZE {
        return Err(ENOEXEC);
    }
    if !access_ok(image, len as usize) {
        return Err(EFAULT);
    }
    let mut copy = FileCopy::new(len)?;
    copy_from_user(copy.bytes(), UserPtr::new(image))?;
    load(copy, args)
}

/// `finit_module`
pub fn finit_module(fd: u32, args: u32, flags: u32) -> Result<u32> {
    const KNOWN: u32 = MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC | MODULE_INIT_COMPRESSED_FILE;
    check_permission()?;
    if flags & !KNOWN != 0 {
        return Err(EINVAL);
    }
    let file = user::file(fd)?;
    if !file.readable() {
        return Err(EBADF);
    }
    if file.inode().kind() != mode::S_IFREG {
        return Err(EINVAL);
    }
    if *file.inode().write_count.lock() > 0 {
        return Err(ETXTBSY);
    }
    let size = file.inode().size();
    if size == 0 {
        return Err(EINVAL);
    }
    let len = u32::try_from(size).ok().filter(|&len| len <= i32::MAX as u32).ok_or(EFBIG)?;
    if flags & MODULE_INIT_COMPRESSED_FILE != 0 {
        return Err(EOPNOTSUPP);
    }
    // A module is never loaded by force, as where the kernel was built without that.
    if flags & MODULE_INIT_IGNORE_VERMAGIC != 0 {
        return Err(ENOEXEC);
    }
    let mut copy = FileCopy::new(len)?;
    if file.kernel_read(0, copy.bytes())? != len as usize {
        return Err(EIO);
    }
    load(copy, args)
}

/// `delete_module`. No flag makes it go by force, and none makes it wait.
pub fn delete_module(name: u32, _flags: u32) -> Result<u32> {
    check_permission()?;
    // A name that is too long is the name of no module.
    let name = strncpy_from_user(UserPtr::new(name), MODULE_NAME_LEN);
    let name = name.map_err(|error| if error == ENAMETOOLONG { ENOENT } else { error })?;
    module::delete_module(&name).map(|()| 0)
}
