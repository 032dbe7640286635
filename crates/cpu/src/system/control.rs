//! Control and debug registers, HLT, PAUSE, INVLPG, caches.

use iced_x86::{Instruction, OpKind};
use x86::{Cr0, Cr4, LinearAddr};

use super::{cpuid, not_prevented, privileged};
use crate::{
    Activity, Cpu, CpuModel, Exception, Exit,
    mmu::{
        access::{self, View},
        flush, pdpte,
    },
    operand,
    seg::SegmentRegister,
    slow::Flow,
};

/// The bits of CR0 that exist.
const CR0_DEFINED: u32 = 0xe005_003f;
/// What CR4 may have on every model.
const CR4_COMMON: Cr4 = Cr4::TSD
    .union(Cr4::DE)
    .union(Cr4::PSE)
    .union(Cr4::PAE)
    .union(Cr4::PGE)
    .union(Cr4::PCE)
    .union(Cr4::OSFXSR)
    .union(Cr4::OSXMMEXCPT);
/// The bits of CR4 whose change removes every translation; and SMEP, when it is set.
const CR4_FLUSHES: Cr4 = Cr4::PSE.union(Cr4::PGE).union(Cr4::PAE);
/// The bits whose change loads the PDPTE registers, if PAE paging is in use afterwards.
const CR0_LOADS_PDPTES: Cr0 = Cr0::CD.union(Cr0::NW).union(Cr0::PG);
const CR4_LOADS_PDPTES: Cr4 = CR4_FLUSHES.union(Cr4::SMEP);

/// What CR4 may have, for what CPUID tells.
fn cr4_allowed(model: CpuModel) -> Cr4 {
    [(cpuid::has_smep(model), Cr4::SMEP), (cpuid::has_smap(model), Cr4::SMAP), (cpuid::has_umip(model), Cr4::UMIP)]
        .into_iter()
        .filter(|&(has, _)| has)
        .fold(CR4_COMMON, |allowed, (_, bit)| allowed | bit)
}

/// MOV to a control register.
pub(super) fn mov_to_cr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let value = operand::read_reg(cpu, insn.op1_register());
    match insn.op0_register().number() {
        0 => set_cr0(cpu, value)?,
        2 => cpu.state.cr2 = value,
        3 => {
            let (cr0, cr4) = (cpu.state.cr0(), cpu.state.cr4());
            pdpte::load(cpu, cr0, cr4, value)?;
            let before = std::mem::replace(&mut cpu.state.cr3, value);
            flush::non_global(cpu, before);
            if before != value {
                cpu.switches_space();
            }
        }
        4 => set_cr4(cpu, value)?,
        _ => return Err(Exception::ud()),
    }
    Ok(Flow::Leave)
}

/// MOV from a control register.
pub(super) fn mov_from_cr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let state = &cpu.state;
    let value = match insn.op1_register().number() {
        0 => state.cr0,
        2 => state.cr2,
        3 => state.cr3,
        4 => state.cr4,
        _ => return Err(Exception::ud()),
    };
    operand::write_reg(cpu, insn.op0_register(), value);
    Ok(Flow::Next)
}

fn set_cr0(cpu: &mut Cpu, value: u32) -> Result<(), Exception> {
    let old = cpu.state.cr0();
    let new = Cr0::from_bits_retain(value & CR0_DEFINED) | Cr0::ET;
    let impossible = new.contains(Cr0::PG) && !new.contains(Cr0::PE) || new.contains(Cr0::NW) && !new.contains(Cr0::CD);
    if impossible {
        return Err(Exception::gp(0));
    }
    let changed = old ^ new;
    if changed.intersects(CR0_LOADS_PDPTES) {
        let (cr3, cr4) = (cpu.state.cr3, cpu.state.cr4());
        pdpte::load(cpu, new, cr4, cr3)?;
    }
    cpu.state.cr0 = new.bits();
    if changed.contains(Cr0::PG) {
        flush::all(cpu);
    } else if changed.contains(Cr0::WP) {
        flush::write_protect(cpu);
    } else if changed.contains(Cr0::PE) {
        cpu.state.tlb.clear_latch();
    }
    Ok(())
}

fn set_cr4(cpu: &mut Cpu, value: u32) -> Result<(), Exception> {
    let new = Cr4::from_bits_retain(value);
    if !cr4_allowed(cpu.state.model).contains(new) {
        log::debug!("CR4 {value:#x} asks for what this CPU lacks");
        return Err(Exception::gp(0));
    }
    let changed = cpu.state.cr4() ^ new;
    if changed.intersects(CR4_LOADS_PDPTES) {
        let (cr0, cr3) = (cpu.state.cr0(), cpu.state.cr3);
        pdpte::load(cpu, cr0, new, cr3)?;
    }
    cpu.state.cr4 = value;
    if changed.intersects(CR4_FLUSHES) || (changed & new).contains(Cr4::SMEP) {
        flush::all(cpu);
    } else if changed.contains(Cr4::SMEP) {
        flush::fetch_rights(cpu);
    }
    Ok(())
}

/// MOV to a debug register.
pub(super) fn mov_to_dr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let number = debug_register(cpu, insn.op0_register().number())?;
    let value = operand::read_reg(cpu, insn.op1_register());
    cpu.state.dr[number] = match number {
        6 => value & 0xe00f | 0xffff_0ff0,
        7 => value & 0xffff_23ff | 0x400,
        _ => value,
    };
    Ok(Flow::Leave)
}

/// MOV from a debug register.
pub(super) fn mov_from_dr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let number = debug_register(cpu, insn.op1_register().number())?;
    let value = cpu.state.dr[number];
    operand::write_reg(cpu, insn.op0_register(), value);
    Ok(Flow::Next)
}

/// The register that an access to DR`number` reaches (SDM Vol. 3B, "Debug Registers").
fn debug_register(cpu: &mut Cpu, number: usize) -> Result<usize, Exception> {
    /// DR7.GD and DR6.BD: general detect.
    const GENERAL_DETECT: u32 = 1 << 13;
    let number = match number {
        4 | 5 if cpu.state.cr4().contains(Cr4::DE) => return Err(Exception::ud()),
        4 | 5 => number + 2,
        0..=7 => number,
        _ => return Err(Exception::ud()),
    };
    privileged(cpu)?;
    if cpu.state.dr[7] & GENERAL_DETECT != 0 {
        cpu.state.dr[6] |= GENERAL_DETECT;
        return Err(Exception::db());
    }
    Ok(number)
}

/// LMSW: sets PE, MP, EM, TS; cannot clear PE.
pub(super) fn lmsw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let value = operand::read_op(cpu, insn, 0)?;
    let kept = cpu.state.cr0 & !0xe;
    set_cr0(cpu, kept | value & 0xf)?;
    Ok(Flow::Leave)
}

/// SMSW. A 32-bit register gets all of CR0.
pub(super) fn smsw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    not_prevented(cpu)?;
    let value = cpu.state.cr0;
    operand::write_op(cpu, insn, 0, value)?;
    Ok(Flow::Next)
}

/// CLTS.
pub(super) fn clts(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    cpu.state.cr0 &= !Cr0::TS.bits();
    Ok(Flow::Leave)
}

/// HLT.
pub(super) fn hlt(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    cpu.state.activity = Activity::Halted;
    Ok(Flow::Exit(Exit::Halted))
}

/// PAUSE: a CPU that waits for another one lets it have its turn, after a few of them.
pub(super) fn pause(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    Ok(cpu.wait_for_others())
}

/// INVLPG: the segment's base counts, its limit does not.
pub(super) fn invlpg(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let (seg, offset) = operand::effective_address(cpu, insn);
    let addr = LinearAddr(cpu.state.seg(seg).base.wrapping_add(offset));
    flush::invlpg(cpu, addr);
    Ok(Flow::Leave)
}

/// INVD, WBINVD: there is no cache to write back.
pub(super) fn write_back(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    Ok(Flow::Next)
}

/// CLFLUSH: faults as a load of the byte would, but that it may name execute-only code (SDM Vol. 2, "CLFLUSH").
pub(super) fn clflush(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    debug_assert_eq!(insn.op0_kind(), OpKind::Memory, "it names a line of memory");
    let (reg, offset) = operand::effective_address(cpu, insn);
    let segment = *cpu.state.seg(reg);
    let execute_only = cpu.state.protected() && segment.rights & (SegmentRegister::UNUSABLE | 0x1a) == 0x18;
    let addr = if execute_only && segment.contains(offset, 1) {
        LinearAddr(segment.base.wrapping_add(offset))
    } else {
        operand::linear(cpu, insn, 1, false)?
    };
    access::probe_read(cpu, addr, 1, View::Current)?;
    Ok(Flow::Next)
}
