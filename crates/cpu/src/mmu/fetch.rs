//! Instruction fetch: the TLB is asked once a page.

use x86::{LinearAddr, PhysAddr, SegReg};

use super::{access, tlb::FetchLatch};
use crate::{Cpu, Exception};

/// The physical address of the code byte at linear `addr`. Asks the TLB, with execute rights,
/// only when the page or the view differs from the latch or the latch was cleared.
pub(crate) fn translate(cpu: &mut Cpu, addr: LinearAddr) -> Result<PhysAddr, Exception> {
    let (page, user) = (addr.page_number(), cpu.state.cpl == 3);
    let frame = match cpu.state.tlb.latch() {
        Some(latch) if latch.page == page && latch.user == user => latch.frame,
        _ => {
            let frame = access::fetch(cpu, addr)?.frame();
            cpu.state.tlb.set_latch(FetchLatch { page, frame, user });
            frame
        }
    };
    Ok(PhysAddr::from_frame(frame).add(u64::from(addr.page_offset())))
}

/// Notes that the page of `addr` leads to `frame`, for a caller who knows.
pub(crate) fn latch(cpu: &mut Cpu, addr: LinearAddr, frame: u32) {
    let user = cpu.state.cpl == 3;
    cpu.state.tlb.set_latch(FetchLatch { page: addr.page_number(), frame, user });
}

/// As [`translate`], for the second page of an instruction that crosses: asks the TLB and leaves the latch alone.
/// #GP(0) if CS does not reach that far, whatever the page is.
pub(crate) fn translate_second(cpu: &mut Cpu, addr: LinearAddr) -> Result<PhysAddr, Exception> {
    let cs = cpu.state.seg(SegReg::Cs);
    if addr.0.wrapping_sub(cs.base) > cs.limit {
        return Err(Exception::gp(0));
    }
    access::fetch(cpu, addr)
}
