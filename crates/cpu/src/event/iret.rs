//! IRET (SDM Vol. 2, "IRET/IRETD").

use x86::{Eflags, SegReg, Selector};

use super::{quick, task};
use crate::{
    Cpu, Exception, Gpr, SegmentRegister,
    operand::{peek, set_stack_pointer, stack_pointer, wrap_stack},
    seg,
};

/// Returns from a handler or a nested task; `size` is that of the operand, 2 or 4, `next_eip`
/// where a nested task goes on when it is called again.
pub(crate) fn iret(cpu: &mut Cpu, size: u32, next_eip: u32) -> Result<(), Exception> {
    // Even if it faults (SDM Vol. 3A, "Handling Multiple NMIs").
    cpu.state.nmi_blocked = false;
    if !cpu.state.protected() {
        real(cpu, size)?;
    } else if cpu.state.v86() {
        if cpu.state.eflags.iopl() < 3 {
            return Err(Exception::gp(0));
        }
        real(cpu, size)?;
    } else if cpu.state.eflags.contains(Eflags::NT) {
        task::return_to_link(cpu, next_eip)?;
    } else {
        protected(cpu, size)?;
    }
    Ok(())
}

/// EFLAGS after a load of `new` by IRET or POPF of `size` bytes at these privileges; bits outside
/// `extra` and those that the privileges give keep their old value.
pub(crate) fn loaded_flags(old: Eflags, new: Eflags, cpl: u8, size: u32, extra: Eflags) -> Eflags {
    let mut mask = Eflags::STATUS | Eflags::TF | Eflags::DF | Eflags::NT | extra;
    if size == 4 {
        mask |= Eflags::AC | Eflags::ID;
    } else {
        mask &= Eflags::from_bits_retain(0xffff);
    }
    if cpl == 0 {
        mask |= Eflags::IOPL;
    }
    if cpl <= old.iopl() {
        mask |= Eflags::IF;
    }
    (old - mask) | (new & mask)
}

/// Real mode, and virtual-8086 mode with IOPL 3.
fn real(cpu: &mut Cpu, size: u32) -> Result<(), Exception> {
    let eip = peek(cpu, 0, size)?;
    let selector = Selector(peek(cpu, size, size)? as u16);
    let new = Eflags::from_bits_retain(peek(cpu, 2 * size, size)?);
    let v86 = cpu.state.v86();
    let cs = if v86 { seg::v86(selector.0) } else { seg::real(cpu, SegReg::Cs, selector) };
    if eip > cs.limit {
        return Err(Exception::gp(0));
    }
    let old = cpu.eflags();
    // In virtual-8086 mode IOPL stays: it is the level 3 that keeps it.
    let flags = loaded_flags(old, new, cpu.state.cpl, size, Eflags::RF);
    pop(cpu, 3 * size);
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.eip = eip;
    cpu.set_eflags(flags);
    Ok(())
}

/// `N` items from `depth` bytes above the top of the stack.
fn items<const N: usize>(cpu: &mut Cpu, depth: u32, size: u32) -> Result<[u32; N], Exception> {
    let mut items = [0; N];
    for (item, n) in items.iter_mut().zip(0..) {
        *item = peek(cpu, depth + n * size, size)?;
    }
    Ok(items)
}

/// EFLAGS after a return in protected mode with `new` in the frame.
pub(super) fn flags_of(cpu: &Cpu, new: Eflags, size: u32) -> Eflags {
    let extra = if size == 4 { Eflags::RF } else { Eflags::empty() };
    let flags = loaded_flags(cpu.eflags(), new, cpu.state.cpl, size, extra);
    if size == 4 && cpu.state.cpl == 0 {
        let virtual_interrupt = Eflags::VIF | Eflags::VIP;
        (flags - virtual_interrupt) | (new & virtual_interrupt)
    } else {
        flags
    }
}

fn protected(cpu: &mut Cpu, size: u32) -> Result<(), Exception> {
    if size == 4 && quick::give_back(cpu).is_some() {
        return Ok(());
    }
    let [eip, selector, new] = items(cpu, 0, size)?;
    let (selector, new) = (Selector(selector as u16), Eflags::from_bits_retain(new));
    if size == 4 && new.contains(Eflags::VM) && cpu.state.cpl == 0 {
        return to_v86(cpu, eip, selector, new);
    }
    if selector.is_null() {
        return Err(Exception::gp(0));
    }
    let code = seg::find(cpu, selector, Exception::gp_sel)?;
    let (d, rpl) = (code.descriptor, selector.rpl());
    let level_fits = if d.is_conforming() { d.dpl() <= rpl } else { d.dpl() == rpl };
    if !d.is_code() || rpl < cpu.state.cpl || !level_fits {
        return Err(Exception::gp_sel(selector));
    }
    let code = code.present()?;
    let outer = rpl > cpu.state.cpl;
    let stack = if outer {
        let [esp, ss] = items(cpu, 3 * size, size)?;
        let ss = Selector(ss as u16);
        Some((esp, seg::find_stack(cpu, ss, rpl, Exception::gp_sel)?))
    } else {
        None
    };
    if eip > d.limit() {
        return Err(Exception::gp(0));
    }
    let cs = code.load_code(cpu, rpl)?;
    let stack = match stack {
        Some((esp, ss)) => Some((esp, ss.load(cpu)?)),
        None => None,
    };

    let flags = flags_of(cpu, new, size);
    enter(cpu, cs, eip, stack);
    if stack.is_none() {
        pop(cpu, 3 * size);
    }
    cpu.set_eflags(flags);
    Ok(())
}

/// Goes to `cs:eip`; with a stack, to the outer level that the selector of `cs` names.
pub(super) fn enter(cpu: &mut Cpu, cs: SegmentRegister, eip: u32, stack: Option<(u32, SegmentRegister)>) {
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.eip = eip;
    if let Some((esp, ss)) = stack {
        let level = Selector(cs.selector).rpl();
        cpu.state.seg[SegReg::Ss as usize] = ss;
        set_stack_pointer(cpu, esp);
        cpu.state.cpl = level;
        seg::drop_inaccessible(cpu, level);
    }
}

/// From a handler at CPL 0 back into virtual-8086 mode.
fn to_v86(cpu: &mut Cpu, eip: u32, cs: Selector, flags: Eflags) -> Result<(), Exception> {
    let mut items = [0; 6];
    for (i, item) in items.iter_mut().enumerate() {
        *item = peek(cpu, 12 + 4 * i as u32, 4)?;
    }
    let [esp, ss, es, ds, fs, gs] = items;
    // All of EFLAGS comes from the frame: the CPL is 0.
    if eip > 0xffff {
        return Err(Exception::gp(0));
    }
    for (reg, selector) in [
        (SegReg::Cs, u32::from(cs.0)),
        (SegReg::Ss, ss),
        (SegReg::Es, es),
        (SegReg::Ds, ds),
        (SegReg::Fs, fs),
        (SegReg::Gs, gs),
    ] {
        cpu.state.seg[reg as usize] = seg::v86(selector as u16);
    }
    cpu.state.set_gpr(Gpr::Esp, esp);
    cpu.state.cpl = 3;
    cpu.state.eip = eip;
    cpu.set_eflags(writable(flags));
    Ok(())
}

/// `flags` with the bits that are fixed set as they must be.
pub(crate) fn writable(flags: Eflags) -> Eflags {
    Eflags::from_bits_retain(flags.bits() & 0x003f_7fd7) | Eflags::RESERVED_1
}

fn pop(cpu: &mut Cpu, bytes: u32) {
    let sp = wrap_stack(cpu, stack_pointer(cpu).wrapping_add(bytes));
    set_stack_pointer(cpu, sp);
}
