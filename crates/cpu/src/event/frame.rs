//! Stacks that are written before they are entered.

use x86::{LinearAddr, SegReg, Selector, SystemType, tss};

use crate::{
    Cpu, Exception,
    mmu::access::{self, View},
    operand,
    seg::{self, Found, SegmentRegister},
};

/// A stack and where its pointer stands: the current one, or one that is about to be entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub seg: SegmentRegister,
    pub esp: u32,
    /// With whose rights it is written.
    pub view: View,
    /// The error code of #SS when the frame does not fit.
    pub fault_code: u32,
    /// The descriptor of a stack that is about to be entered.
    found: Option<Found>,
}

impl Stack {
    /// The largest frame: that of a call gate with 31 parameters.
    const MOST_BYTES: usize = 35 * 4;

    /// The stack in use.
    pub fn current(cpu: &Cpu) -> Self {
        let seg = *cpu.state.seg(SegReg::Ss);
        Stack { seg, esp: operand::stack_pointer(cpu), view: View::Current, fault_code: 0, found: None }
    }

    /// Takes the faults that a push of `count` items of `size` bytes would; writes nothing.
    pub fn probe(&self, cpu: &mut Cpu, count: u32, size: u32) -> Result<(), Exception> {
        let (top, whole) = (self.wrap(self.esp), size * count);
        if top == 0 || top >= whole {
            let addr = self.linear(cpu, self.wrap(top.wrapping_sub(whole)), whole, size)?;
            return access::probe_write(cpu, addr, whole, self.view);
        }
        for place in 1..=count {
            let addr = self.linear(cpu, self.wrap(self.esp.wrapping_sub(size * place)), size, size)?;
            access::probe_write(cpu, addr, size, self.view)?;
        }
        Ok(())
    }

    /// Marks the segment of a stack that is about to be entered as accessed.
    pub fn mark(&self, cpu: &mut Cpu) -> Result<(), Exception> {
        match self.found {
            Some(found) => found.mark(cpu),
            None => Ok(()),
        }
    }

    /// Pushes `values`, the first first, as items of `size` bytes (2 or 4). Nothing is written
    /// unless all can be.
    pub fn push(&mut self, cpu: &mut Cpu, values: &[u32], size: u32) -> Result<(), Exception> {
        let (top, whole) = (self.wrap(self.esp), size * values.len() as u32);
        let bottom = self.wrap(top.wrapping_sub(whole));
        if top == 0 || top >= whole {
            let addr = self.linear(cpu, bottom, whole, size)?;
            let mut bytes = [0; Self::MOST_BYTES];
            let mut at = whole as usize;
            for value in values {
                at -= size as usize;
                bytes[at..at + size as usize].copy_from_slice(&value.to_le_bytes()[..size as usize]);
            }
            access::write_from(cpu, addr, &bytes[..whole as usize], self.view)?;
        } else {
            self.push_wrapping(cpu, values, size)?;
        }
        self.esp = bottom;
        Ok(())
    }

    /// The frame passes offset 0 of its stack: item by item.
    fn push_wrapping(&self, cpu: &mut Cpu, values: &[u32], size: u32) -> Result<(), Exception> {
        let place = |i: usize| self.wrap(self.esp.wrapping_sub(size * (i as u32 + 1)));
        self.probe(cpu, values.len() as u32, size)?;
        for (i, value) in values.iter().enumerate() {
            let addr = self.linear(cpu, place(i), size, size)?;
            access::write_from(cpu, addr, &value.to_le_bytes()[..size as usize], self.view)?;
        }
        Ok(())
    }

    /// Makes it the CPU's stack. The part of ESP above a 16-bit stack pointer stays `esp_above`'s.
    pub fn enter(self, cpu: &mut Cpu, esp_above: u32) {
        cpu.state.seg[SegReg::Ss as usize] = self.seg;
        let esp = if self.seg.big() { self.esp } else { esp_above & 0xffff_0000 | self.esp & 0xffff };
        cpu.state.set_gpr(crate::Gpr::Esp, esp);
    }

    fn wrap(&self, offset: u32) -> u32 {
        if self.seg.big() { offset } else { offset & 0xffff }
    }

    fn linear(&self, cpu: &Cpu, offset: u32, len: u32, size: u32) -> Result<LinearAddr, Exception> {
        if !self.seg.contains(offset, len) {
            return Err(Exception::ss(self.fault_code));
        }
        let addr = LinearAddr(self.seg.base.wrapping_add(offset));
        let aligned = addr.0 & (size - 1) == 0;
        if !aligned && self.view == View::Current && operand::alignment_checked(cpu) {
            return Err(Exception::ac());
        }
        Ok(addr)
    }
}

/// The stack that the TSS names for privilege level `cpl` (SDM Vol. 3A, "Stack Switching").
pub(crate) fn inner_stack(cpu: &mut Cpu, cpl: u8) -> Result<Stack, Exception> {
    let tr = cpu.state.tr;
    let tr_selector = Selector(tr.selector);
    let wide = tr.rights & 0xf == SystemType::Tss32Busy as u32;
    let (offset, len) = if wide { (tss::ESP0 + 8 * u32::from(cpl), 6) } else { (2 + 4 * u32::from(cpl), 4) };
    if offset + len - 1 > tr.limit {
        return Err(Exception::ts_sel(tr_selector));
    }
    let addr = LinearAddr(tr.base).wrapping_add(offset);
    let (esp, selector) = if wide {
        let esp = access::read_u32(cpu, addr, View::Supervisor)?;
        (esp, access::read_u16(cpu, addr.wrapping_add(4), View::Supervisor)?)
    } else {
        let sp = access::read_u16(cpu, addr, View::Supervisor)?;
        (u32::from(sp), access::read_u16(cpu, addr.wrapping_add(2), View::Supervisor)?)
    };
    let selector = Selector(selector);
    let found = seg::find_stack(cpu, selector, cpl, Exception::ts_sel)?;
    let view = if cpl == 3 { View::User } else { View::Supervisor };
    Ok(Stack { seg: found.register(), esp, view, fault_code: selector.error_code(), found: Some(found) })
}
