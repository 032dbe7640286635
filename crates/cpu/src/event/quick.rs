//! Delivery and return as kernels have them almost always, in one look: through a 32-bit gate to level 0, on stacks
//! without limits, with everything in pages that the projections lead to and descriptors that were used before. What
//! is not so has not begun, and goes the long way.

use x86::{Descriptor, Eflags, LinearAddr, SegReg, Selector, SystemType, tss};

use super::{Event, interrupt, iret};
use crate::{
    Cpu, Gpr, SegmentRegister,
    mmu::{
        AccessKind, Privilege,
        access::{self, View},
    },
    operand::alignment_checked,
};

/// Bits of a descriptor's byte 5: present, S, the type.
const CODE_MASK: u8 = 0x9d;
/// Code that does not conform and was loaded before.
const CODE: u8 = 0x99;
const STACK_MASK: u8 = 0x9b;
/// Data that can be written and was loaded before.
const STACK: u8 = 0x93;

/// Whether accesses need no look for the debug registers, and segments are those of protected mode.
fn is_plain(cpu: &Cpu) -> bool {
    let state = &cpu.state;
    state.protected() && !state.v86() && state.dr[7] & 0xff == 0
}

/// Eight bytes of a table of the system's.
fn entry(cpu: &mut Cpu, addr: LinearAddr, privilege: Privilege) -> Option<u64> {
    cpu.projected(addr, 8, privilege, AccessKind::Read).map(|host| u64::from_le_bytes(host.get()))
}

/// The descriptor that `selector` names in the GDT, if the bits of `mask` of its byte 5 are `kind`, and its DPL is `level`.
fn descriptor(
    cpu: &mut Cpu,
    selector: Selector,
    privilege: Privilege,
    (mask, kind): (u8, u8),
    level: u8,
) -> Option<Descriptor> {
    let gdtr = cpu.state.gdtr;
    if selector.is_null() || selector.local() || selector.offset() + 7 > u32::from(gdtr.limit) {
        return None;
    }
    let raw = entry(cpu, LinearAddr(gdtr.base).wrapping_add(selector.offset()), privilege)?;
    let found = Descriptor(raw);
    ((raw >> 40) as u8 & mask == kind && found.dpl() == level).then_some(found)
}

/// The stack of level 0 that the TSS names: its segment and its top.
fn inner_stack(cpu: &mut Cpu, privilege: Privilege) -> Option<(SegmentRegister, u32)> {
    let tr = cpu.state.tr;
    if tr.rights & 0xf != SystemType::Tss32Busy as u32 || tss::ESP0 + 5 > tr.limit {
        return None;
    }
    let named = entry(cpu, LinearAddr(tr.base).wrapping_add(tss::ESP0), privilege)?;
    let (esp, selector) = (named as u32, Selector((named >> 32) as u16));
    if selector.rpl() != 0 {
        return None;
    }
    let found = descriptor(cpu, selector, privilege, (STACK_MASK, STACK), 0)?;
    Some((SegmentRegister::from_descriptor(selector, found), esp))
}

/// Delivers `event`, which is no exception of a task switch, through the IDT; `None` if nothing was done.
pub(super) fn deliver(cpu: &mut Cpu, event: Event) -> Option<()> {
    let vector = u32::from(event.vector());
    if !is_plain(cpu) || vector * 8 + 7 > u32::from(cpu.state.idtr.limit) {
        return None;
    }
    let privilege = access::privilege(&cpu.state, View::Supervisor);
    let gate = Descriptor(entry(cpu, LinearAddr(cpu.state.idtr.base).wrapping_add(vector * 8), privilege)?);
    let clears = match gate.system_type()? {
        SystemType::InterruptGate32 => Eflags::TF | Eflags::NT | Eflags::RF | Eflags::VM | Eflags::IF,
        SystemType::TrapGate32 => Eflags::TF | Eflags::NT | Eflags::RF | Eflags::VM,
        _ => return None,
    };
    if !gate.present() || event.is_software() && gate.dpl() < cpu.state.cpl {
        return None;
    }
    let selector = Selector(gate.gate_selector());
    let code = descriptor(cpu, selector, privilege, (CODE_MASK, CODE), 0)?;
    let eip = gate.gate_offset();
    if eip > code.limit() {
        return None;
    }

    let inner = cpu.state.cpl > 0;
    let (stack, top, rights) = if inner {
        let (stack, top) = inner_stack(cpu, privilege)?;
        (stack, top, privilege)
    } else {
        let rights = access::privilege(&cpu.state, View::Current);
        (*cpu.state.seg(SegReg::Ss), cpu.state.gpr(Gpr::Esp), rights)
    };
    if !stack.unlimited() || !stack.big() {
        return None;
    }
    // From the lowest address on: error code, EIP, CS, EFLAGS, ESP, SS.
    let error_code = event.error_code();
    let flags = cpu.eflags();
    let selector_of = |register| u32::from(cpu.state.selector(register).0);
    let frame = [
        error_code.unwrap_or(0),
        interrupt::saved_eip(cpu, event),
        selector_of(SegReg::Cs),
        interrupt::saved_eflags(cpu, event).bits(),
        cpu.state.gpr(Gpr::Esp),
        selector_of(SegReg::Ss),
    ];
    let frame = &frame[usize::from(error_code.is_none())..if inner { 6 } else { 4 }];
    let bytes = 4 * frame.len() as u32;
    let esp = top.checked_sub(bytes)?;
    cpu.projected(LinearAddr(stack.base.wrapping_add(esp)), bytes, rights, AccessKind::Write)?.write_words(frame);

    let state = &mut cpu.state;
    state.seg[SegReg::Ss as usize] = stack;
    state.set_gpr(Gpr::Esp, esp);
    state.seg[SegReg::Cs as usize] = SegmentRegister::from_descriptor(Selector(selector.0 & !3), code);
    state.cpl = 0;
    state.eip = eip;
    cpu.set_eflags(flags - clears);
    Some(())
}

/// IRETD in protected mode, not from a nested task; `None` if nothing was done.
pub(super) fn give_back(cpu: &mut Cpu) -> Option<()> {
    let stack = cpu.state.seg(SegReg::Ss);
    if !is_plain(cpu) || !stack.flat() || !stack.big() || alignment_checked(cpu) {
        return None;
    }
    let (esp, cpl) = (cpu.state.gpr(Gpr::Esp), cpu.state.cpl);
    let [eip, cs, new] = access::projected_words(cpu, LinearAddr(esp))?;
    let (cs, new) = (Selector(cs as u16), Eflags::from_bits_retain(new));
    let level = cs.rpl();
    if level < cpl || new.contains(Eflags::VM) {
        return None;
    }
    let privilege = access::privilege(&cpu.state, View::Supervisor);
    let code = descriptor(cpu, cs, privilege, (CODE_MASK, CODE), level)?;
    if eip > code.limit() {
        return None;
    }
    let outer = if level > cpl {
        let [esp, ss] = access::projected_words(cpu, LinearAddr(esp).wrapping_add(12))?;
        let ss = Selector(ss as u16);
        if ss.rpl() != level {
            return None;
        }
        let found = descriptor(cpu, ss, privilege, (STACK_MASK, STACK), level)?;
        Some((esp, SegmentRegister::from_descriptor(ss, found)))
    } else {
        None
    };
    let flags = iret::flags_of(cpu, new, 4);
    iret::enter(cpu, SegmentRegister::from_descriptor(cs, code), eip, outer);
    if outer.is_none() {
        cpu.state.set_gpr(Gpr::Esp, esp.wrapping_add(12));
    }
    cpu.set_eflags(flags);
    Some(())
}
