//! System calls.

use abi::errno::ENOSYS;

use crate::arch::PtRegs;

/// Runs the call whose number is in EAX and puts its result there.
pub fn dispatch(regs: &mut PtRegs) {
    regs.eax = ENOSYS.to_ret() as u32;
}
