//! What a loadable module and the guest kernel agree on: how a module says what it is, and
//! the structures that a driver hands to the kernel and gets from it. They are laid out as C
//! lays them out on i386, where both sides are compiled; elsewhere nothing uses them.

use core::ffi::c_void;

/// What a module must say in `vermagic=` to be loaded: the kernel's release, that modules
/// can be unloaded, and the processor that it is compiled for.
pub const VERMAGIC: &str = "6.1.0-pagewalk mod_unload 586 ";

/// Room for a module's name and its terminating zero (`MODULE_NAME_LEN`).
pub const MODULE_NAME_LEN: usize = 60;

/// The section of `tag=value` strings, each ended by a zero.
pub const MODINFO_SECTION: &str = ".modinfo";
/// The section of [`KernelParam`]s.
pub const PARAM_SECTION: &str = "__param";
/// The section of [`KernelSymbol`]s.
pub const KSYMTAB_SECTION: &str = "__ksymtab";
/// The function that a module begins with, if it has one.
pub const INIT_SYMBOL: &str = "init_module";
/// The function that a module ends with; without it, it stays for ever.
pub const EXIT_SYMBOL: &str = "cleanup_module";

/// Kinds of parameters: [`KernelParam::kind`].
pub mod param_kind {
    /// An `i32`.
    pub const INT: u32 = 0;
    /// A `u32`.
    pub const UINT: u32 = 1;
    /// A byte that is 0 or 1.
    pub const BOOL: u32 = 2;
}

/// `kernel_param`: a variable of a module that `insmod x.ko name=value` sets.
#[derive(Debug)]
#[repr(C)]
pub struct KernelParam {
    /// The name, ended by a zero.
    pub name: *const u8,
    /// One of [`param_kind`].
    pub kind: u32,
    /// The variable.
    pub value: *mut c_void,
}

/// `kernel_symbol`: what a module lets others use.
#[derive(Debug)]
#[repr(C)]
pub struct KernelSymbol {
    /// The function or variable.
    pub value: *const c_void,
    /// Its name, ended by a zero.
    pub name: *const u8,
}

/// What a driver sees of an inode.
#[derive(Debug)]
#[repr(C)]
pub struct Inode {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
}

/// What a driver sees of an open file.
#[derive(Debug)]
#[repr(C)]
pub struct File {
    /// The flags of `open`.
    pub f_flags: u32,
    /// The driver's own.
    pub private_data: *mut c_void,
}

/// What a driver sees of an area that a program maps.
#[derive(Debug)]
#[repr(C)]
pub struct VmAreaStruct {
    /// First address.
    pub vm_start: u32,
    /// First address after.
    pub vm_end: u32,
    /// Offset in the device, in pages.
    pub vm_pgoff: u32,
    /// `VM_*` bits; a driver may set more of them.
    pub vm_flags: u32,
    /// The rights of its page-table entries, for `remap_pfn_range`.
    pub vm_page_prot: u32,
    /// The driver's own.
    pub vm_private_data: *mut c_void,
}

/// `open` and `release` of a driver: 0 or the negative of an error.
pub type OpenFn = unsafe extern "C" fn(inode: *mut Inode, file: *mut File) -> i32;
/// `read` of a driver: into user memory from an offset on, which it moves.
pub type ReadFn = unsafe extern "C" fn(file: *mut File, to: *mut u8, count: usize, pos: *mut i64) -> isize;
/// `write` of a driver.
pub type WriteFn = unsafe extern "C" fn(file: *mut File, from: *const u8, count: usize, pos: *mut i64) -> isize;
/// `unlocked_ioctl` of a driver.
pub type IoctlFn = unsafe extern "C" fn(file: *mut File, cmd: u32, arg: usize) -> isize;
/// `mmap` of a driver: fills the new area, or refuses it.
pub type MmapFn = unsafe extern "C" fn(file: *mut File, vma: *mut VmAreaStruct) -> i32;

/// `file_operations` of a character device. What is `None` gives the error that Linux gives.
/// The structure lies in the module that it belongs to, which is how the kernel knows whose
/// code it calls.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FileOperations {
    /// A program opens the device.
    pub open: Option<OpenFn>,
    /// The last reference to an open file is gone.
    pub release: Option<OpenFn>,
    /// EINVAL without.
    pub read: Option<ReadFn>,
    /// EINVAL without.
    pub write: Option<WriteFn>,
    /// ENOTTY without.
    pub unlocked_ioctl: Option<IoctlFn>,
    /// ENODEV without.
    pub mmap: Option<MmapFn>,
}

impl FileOperations {
    /// A device that can nothing.
    pub const NONE: FileOperations =
        FileOperations { open: None, release: None, read: None, write: None, unlocked_ioctl: None, mmap: None };
}
