//! Page faults.
#![allow(unsafe_code)]

use x86::PageFaultCode;

use crate::{
    arch::{PAGE_OFFSET, PtRegs, extable},
    lib::oops,
    pr_info,
};

/// `do_page_fault`: resolves the fault, or sends a signal, or stops the kernel.
#[unsafe(no_mangle)]
pub fn do_page_fault(regs: &mut PtRegs, error_code: u32, addr: u32) {
    if !regs.user_mode() {
        if let Some(fixup) = extable::search(regs.eip) {
            regs.eip = fixup;
            return;
        }
    }
    let code = PageFaultCode::from_bits_truncate(error_code);
    let what = if addr < PAGE_OFFSET { "kernel NULL pointer dereference or user address" } else { "kernel address" };
    pr_info!("BUG: unable to handle page fault for address: {:08x} ({})", addr, what);
    oops::die(format_args!("{code:?}"), regs, error_code)
}

/// The file and range that an address lies in, as Linux adds it to its lines.
pub fn print_vma_addr(_prefix: &str, _addr: u32) {}
