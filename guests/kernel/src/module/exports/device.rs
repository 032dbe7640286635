//! What drivers claim and register.
#![allow(unsafe_code)]

use abi::{
    errno::{EINVAL, Errno},
    module::FileOperations,
};

use super::{memory::code, text::string};
use crate::{
    drivers::resource::{self, Space},
    module::chrdev,
};

/// A claim of the ports or addresses from `start` on, under a name that lies in the module:
/// 0, or the negative of EBUSY or EINVAL, where Linux has a pointer or null.
unsafe fn claim(space: Space, start: u32, len: u32, name: *const u8) -> i32 {
    if len == 0 || start.checked_add(len - 1).is_none() {
        return EINVAL.to_ret();
    }
    // SAFETY: by the module, which releases the claim before it goes.
    code(resource::request(space, start, len, unsafe { string(name) }))
}

fn give_back(space: Space, start: u32, len: u32) {
    if len != 0 && start.checked_add(len - 1).is_some() {
        resource::release(space, start, len);
    }
}

/// `request_region`.
pub unsafe extern "C" fn request_region(start: u32, len: u32, name: *const u8) -> i32 {
    // SAFETY: by the module.
    unsafe { claim(Space::Io, start, len, name) }
}

/// `release_region`.
pub unsafe extern "C" fn release_region(start: u32, len: u32) {
    give_back(Space::Io, start, len);
}

/// `request_mem_region`.
pub unsafe extern "C" fn request_mem_region(start: u32, len: u32, name: *const u8) -> i32 {
    // SAFETY: by the module.
    unsafe { claim(Space::Memory, start, len, name) }
}

/// `release_mem_region`.
pub unsafe extern "C" fn release_mem_region(start: u32, len: u32) {
    give_back(Space::Memory, start, len);
}

/// `register_chrdev`: the major if any was asked for (0), else 0; or the negative of an error.
pub unsafe extern "C" fn register_chrdev(major: u32, name: *const u8, fops: *const FileOperations) -> i32 {
    // SAFETY: by the module.
    let result = unsafe { chrdev::register(major, string(name), fops) };
    result.map_or_else(Errno::to_ret, |given| if major == 0 { given as i32 } else { 0 })
}

/// `unregister_chrdev`.
pub unsafe extern "C" fn unregister_chrdev(major: u32, name: *const u8) {
    // SAFETY: by the module.
    chrdev::unregister(major, unsafe { string(name) });
}

/// `device_create` without classes: a node `/dev/NAME` of a major that is registered.
pub unsafe extern "C" fn device_create(major: u32, minor: u32, name: *const u8) -> i32 {
    // SAFETY: by the module.
    let name = unsafe { string(name) };
    if name.is_empty() || name.len() > 255 || name.contains('/') || name == "." || name == ".." {
        return EINVAL.to_ret();
    }
    code(chrdev::create_node(major, minor, name.as_bytes()))
}

/// `device_destroy`: the node goes.
pub unsafe extern "C" fn device_destroy(major: u32, minor: u32) {
    chrdev::destroy_node(major, minor);
}
