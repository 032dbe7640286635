//! Loading of segment registers (SDM Vol. 2, "MOV", and Vol. 3A, "Privilege Level Checking
//! When Accessing Data Segments").

use x86::{Descriptor, LinearAddr, SegReg, Selector};

use super::SegmentRegister;
use crate::{
    Cpu, Exception,
    mmu::access::{self, View},
};

/// The bit of a descriptor's byte 5 that says that its segment was loaded.
const ACCESSED: u8 = 1;

/// A descriptor and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub selector: Selector,
    pub descriptor: Descriptor,
    addr: LinearAddr,
}

impl Found {
    /// What its load leaves in the register; sets the accessed bit in the table, which may fault.
    pub fn load(self, cpu: &mut Cpu) -> Result<SegmentRegister, Exception> {
        self.mark(cpu)?;
        Ok(self.register())
    }

    /// Sets the accessed bit in the table.
    pub fn mark(self, cpu: &mut Cpu) -> Result<(), Exception> {
        let rights = (self.descriptor.0 >> 40) as u8;
        if rights & ACCESSED != 0 {
            return Ok(());
        }
        access::write_u8(cpu, self.rights_addr(), rights | ACCESSED, View::Supervisor)
    }

    /// What its load leaves in the register.
    pub fn register(self) -> SegmentRegister {
        let accessed = Descriptor(self.descriptor.0 | u64::from(ACCESSED) << 40);
        SegmentRegister::from_descriptor(self.selector, accessed)
    }

    /// As [`Found::load`], for CS, whose selector carries the CPL.
    pub fn load_code(self, cpu: &mut Cpu, cpl: u8) -> Result<SegmentRegister, Exception> {
        let selector = Selector(self.selector.0 & !3 | u16::from(cpl));
        Found { selector, ..self }.load(cpu)
    }

    /// Linear address of the descriptor's byte 5, which holds its type.
    pub fn rights_addr(self) -> LinearAddr {
        self.addr.wrapping_add(5)
    }

    /// This, if the segment is there; #NP(selector) otherwise.
    pub fn present(self) -> Result<Self, Exception> {
        if self.descriptor.present() { Ok(self) } else { Err(Exception::np_sel(self.selector)) }
    }
}

/// Reads the descriptor that `selector` names; `outside` is raised if its table does not reach so far.
pub(crate) fn find(cpu: &mut Cpu, selector: Selector, outside: fn(Selector) -> Exception) -> Result<Found, Exception> {
    let (base, limit) = if selector.local() {
        let ldtr = &cpu.state.ldtr;
        if ldtr.unusable() {
            return Err(outside(selector));
        }
        (ldtr.base, ldtr.limit)
    } else {
        (cpu.state.gdtr.base, u32::from(cpu.state.gdtr.limit))
    };
    if selector.offset() + 7 > limit {
        return Err(outside(selector));
    }
    let addr = LinearAddr(base).wrapping_add(selector.offset());
    let descriptor = Descriptor(access::read_u64(cpu, addr, View::Supervisor)?);
    Ok(Found { selector, descriptor, addr })
}

/// What a load of `selector` into `reg` (not CS) leaves there, after all checks of the current mode.
pub(crate) fn prepare(cpu: &mut Cpu, reg: SegReg, selector: Selector) -> Result<SegmentRegister, Exception> {
    debug_assert_ne!(reg, SegReg::Cs, "CS is loaded by far transfers");
    if !cpu.state.protected() {
        return Ok(real(cpu, reg, selector));
    }
    if cpu.state.v86() {
        return Ok(v86(selector.0));
    }
    if reg == SegReg::Ss {
        let cpl = cpu.state.cpl;
        return prepare_stack(cpu, selector, cpl, Exception::gp_sel);
    }
    prepare_data(cpu, selector, Exception::gp_sel)
}

/// What a load of ES, DS, FS or GS in protected mode leaves there. `wrong` is raised for all but
/// an absent segment: #GP in an instruction, #TS in a task switch.
pub(crate) fn prepare_data(
    cpu: &mut Cpu,
    selector: Selector,
    wrong: fn(Selector) -> Exception,
) -> Result<SegmentRegister, Exception> {
    if selector.is_null() {
        return Ok(null(selector));
    }
    let found = find(cpu, selector, wrong)?;
    let d = found.descriptor;
    let too_privileged = !d.is_conforming() && d.dpl() < cpu.state.cpl.max(selector.rpl());
    if !d.is_segment() || !d.is_readable() || too_privileged {
        return Err(wrong(selector));
    }
    found.present()?.load(cpu)
}

/// What a load of SS for privilege level `cpl` leaves there; see [`find_stack`].
fn prepare_stack(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    wrong: fn(Selector) -> Exception,
) -> Result<SegmentRegister, Exception> {
    find_stack(cpu, selector, cpl, wrong)?.load(cpu)
}

/// A segment that SS may hold at privilege level `cpl`. `wrong` is raised for all but an absent
/// segment: #GP in an instruction, #TS in a switch of stacks.
pub(crate) fn find_stack(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    wrong: fn(Selector) -> Exception,
) -> Result<Found, Exception> {
    if selector.is_null() {
        return Err(wrong(selector)); // the code is 0 whatever its RPL
    }
    let found = find(cpu, selector, wrong)?;
    let d = found.descriptor;
    if selector.rpl() != cpl || d.dpl() != cpl || !d.is_writable() {
        return Err(wrong(selector));
    }
    if !d.present() {
        return Err(Exception::ss(selector.error_code()));
    }
    Ok(found)
}

/// A register that holds a null selector.
pub(crate) const fn null(selector: Selector) -> SegmentRegister {
    SegmentRegister { base: 0, limit: 0, rights: SegmentRegister::UNUSABLE, selector: selector.0 }
}

/// What a load leaves in real mode: selector and base; limit and rights stay
/// (SDM Vol. 3A, "Real-Address Mode": software may have set them in protected mode).
pub(crate) fn real(cpu: &Cpu, reg: SegReg, selector: Selector) -> SegmentRegister {
    let old = cpu.state.seg(reg);
    if old.unusable() {
        return SegmentRegister::real(selector.0);
    }
    SegmentRegister { base: u32::from(selector.0) << 4, selector: selector.0, ..*old }
}

/// What a load leaves in virtual-8086 mode.
pub(crate) const fn v86(selector: u16) -> SegmentRegister {
    SegmentRegister { rights: 0xf3, ..SegmentRegister::real(selector) }
}

/// After a return to `cpl`: registers that hold segments which that level may not use become
/// null (SDM Vol. 2, "RET").
pub(crate) fn drop_inaccessible(cpu: &mut Cpu, cpl: u8) {
    for reg in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
        let seg = &mut cpu.state.seg[reg as usize];
        let conforming = seg.rights & 0x1c == 0x1c;
        if !seg.unusable() && !conforming && seg.dpl() < cpl {
            *seg = null(Selector(0));
        }
    }
}
