//! Points at which the kernel says of a fault that it does not resolve it, for who looks on from outside
//! ([`abi::fault`]). They do nothing.
#![allow(unsafe_code)]

use core::{
    arch::{asm, naked_asm},
    fmt::{self, Write},
    mem::offset_of,
};

use abi::fault::{Refusal, SAVED_EIP};

use crate::{arch::PtRegs, task::signal};

const _: () = assert!(offset_of!(PtRegs, eip) == SAVED_EIP as usize);

/// A program's fault at `addr` leads to `signal`, which is about to be sent.
pub fn refused(regs: &PtRegs, addr: u32, error_code: u32, signal: u32) {
    let is_handled = signal::is_handled(signal);
    let refusal = Refusal { error_code: error_code as u16, signal: signal as u8, is_handled };
    come_by(page_fault_refused, [&raw const *regs as u32, addr, refusal.to_word()]);
}

/// The kernel has faulted itself.
pub fn died(regs: &PtRegs, error_code: u32) {
    come_by(kernel_died, [&raw const *regs as u32, 0, error_code]);
}

/// The kernel ends the machine.
pub fn panicked(message: fmt::Arguments) {
    let mut words = Words { bytes: [0; 160], len: 0 };
    let _ = words.write_fmt(message);
    come_by(kernel_panicked, [words.bytes.as_ptr() as u32, 0, words.len as u32]);
}

/// As much text as there is room for.
struct Words {
    bytes: [u8; 160],
    len: usize,
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let n = text.len().min(room.len());
        room[..n].copy_from_slice(&text.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Comes by a point with these values in EAX, EDX and ECX.
fn come_by(point: unsafe extern "C" fn(), [eax, edx, ecx]: [u32; 3]) {
    // SAFETY: the point only returns. It may be looked at from outside, so memory is as it should be.
    unsafe {
        asm!("call {point}", point = in(reg) point, in("eax") eax, in("edx") edx, in("ecx") ecx,
             options(preserves_flags));
    }
}

/// See [`abi::fault::REFUSED`].
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn page_fault_refused() {
    naked_asm!("ret")
}

/// See [`abi::fault::DIED`].
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn kernel_died() {
    naked_asm!("ret")
}

/// See [`abi::fault::PANICKED`].
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn kernel_panicked() {
    naked_asm!("ret")
}
