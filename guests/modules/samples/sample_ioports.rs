//! A module that claims I/O ports and physical memory. The serial port's belong to its driver:
//! the claim is refused with EBUSY, which the module reports, and then it claims what is free.
//! `/proc/ioports` and `/proc/iomem` show the claims until the module goes.
#![no_std]
#![allow(unsafe_code)]

use kmod::{errno, module, pr_info, release_mem_region, release_region, request_mem_region, request_region};

module! {
    name: "sample_ioports",
    license: "MIT OR Apache-2.0",
    description: "claims I/O ports and physical memory",
}

const NAME: &core::ffi::CStr = c"sample_ioports";

/// The ports of the first serial line: first port, how many.
const SERIAL: (u32, u32) = (0x3f8, 8);
/// Ports that no PC has anything at.
const PORTS: (u32, u32) = (0x300, 0x10);
/// Addresses between RAM and the devices at the end, where nothing answers.
const MEMORY: (u32, u32) = (0xd000_0000, 0x1_0000);

fn name() -> *const u8 {
    NAME.as_ptr().cast()
}

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    // SAFETY: the name is of this module, which releases its claims before it goes.
    let serial = unsafe { request_region(SERIAL.0, SERIAL.1, name()) };
    if serial == 0 {
        // SAFETY: just claimed.
        unsafe { release_region(SERIAL.0, SERIAL.1) };
        pr_info!("sample_ioports: nobody has the ports of the serial line");
        return errno::EINVAL.to_ret();
    }
    pr_info!("sample_ioports: ports {:04x}-{:04x} are taken (err {serial})", SERIAL.0, SERIAL.0 + SERIAL.1 - 1);
    // SAFETY: as above.
    let ports = unsafe { request_region(PORTS.0, PORTS.1, name()) };
    if ports != 0 {
        return ports;
    }
    // SAFETY: as above.
    let memory = unsafe { request_mem_region(MEMORY.0, MEMORY.1, name()) };
    if memory != 0 {
        // SAFETY: just claimed.
        unsafe { release_region(PORTS.0, PORTS.1) };
        return memory;
    }
    pr_info!("sample_ioports: claimed ports {:04x} and memory {:08x}", PORTS.0, MEMORY.0);
    0
}

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {
    // SAFETY: claimed at the beginning.
    unsafe {
        release_region(PORTS.0, PORTS.1);
        release_mem_region(MEMORY.0, MEMORY.1);
    }
    pr_info!("sample_ioports: gave everything back");
}
