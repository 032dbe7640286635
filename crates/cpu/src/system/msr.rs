//! RDMSR, WRMSR, RDTSC, RDPMC.

use iced_x86::Instruction;
use x86::{Cr4, Efer, PHYS_ADDR_BITS, msr};

use super::{cpuid, privileged};
use crate::{Cpu, CpuModel, Exception, Gpr, mmu::flush, slow::Flow};

/// RDTSC: virtual time, which CR4.TSD may keep from programs.
pub(super) fn rdtsc(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    if cpu.state.cr4().contains(Cr4::TSD) && cpu.state.cpl != 0 {
        return Err(Exception::gp(0));
    }
    let tsc = tsc(cpu);
    set_pair(cpu, tsc);
    Ok(Flow::Next)
}

/// RDTSCP: RDTSC, and ECX from IA32_TSC_AUX.
pub(super) fn rdtscp(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let flow = rdtsc(cpu, insn)?;
    cpu.state.set_gpr(Gpr::Ecx, cpu.state.msr.tsc_aux);
    Ok(flow)
}

/// RDPMC: there is no counter to name.
pub(super) fn rdpmc(_: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    Err(Exception::gp(0))
}

/// RDMSR.
pub(super) fn rdmsr(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let number = cpu.state.gpr(Gpr::Ecx);
    let value = read(cpu, number)?;
    set_pair(cpu, value);
    Ok(Flow::Next)
}

/// WRMSR.
pub(super) fn wrmsr(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let number = cpu.state.gpr(Gpr::Ecx);
    let value = u64::from(cpu.state.gpr(Gpr::Edx)) << 32 | u64::from(cpu.state.gpr(Gpr::Eax));
    write(cpu, number, value)?;
    Ok(Flow::Leave)
}

fn tsc(cpu: &Cpu) -> u64 {
    cpu.now().wrapping_add(cpu.state.msr.tsc_offset)
}

fn set_pair(cpu: &mut Cpu, value: u64) {
    cpu.state.set_gpr(Gpr::Eax, value as u32);
    cpu.state.set_gpr(Gpr::Edx, (value >> 32) as u32);
}

/// IA32_MISC_ENABLE: fast strings, the one switch of it that can be moved, to no effect.
const FAST_STRINGS: u64 = 1;
/// IA32_MISC_ENABLE: branch trace storage and precise sampling are not there.
const NO_BTS_NO_PEBS: u64 = 3 << 11;
/// IA32_APIC_BASE: global enable and bits 35:12 of the address, which can be written; the bootstrap flag cannot.
const APIC_WRITABLE: u64 = ((1 << PHYS_ADDR_BITS) - 1) & !0xfff | msr::APIC_BASE_ENABLE;
const APIC_BSP: u64 = msr::APIC_BASE_BSP;

/// Whether the model has IA32_MISC_ENABLE: those after Pentium III do.
fn has_misc_enable(model: CpuModel) -> bool {
    model != CpuModel::Pentium3
}

fn read(cpu: &Cpu, number: u32) -> Result<u64, Exception> {
    let m = &cpu.state.msr;
    let model = cpu.state.model;
    Ok(match number {
        msr::IA32_TIME_STAMP_COUNTER => tsc(cpu),
        msr::IA32_APIC_BASE if cpuid::has_apic(model) => m.apic_base,
        // Platform 0, and no microcode update is loaded.
        msr::IA32_PLATFORM_ID | msr::IA32_BIOS_SIGN_ID => 0,
        msr::IA32_SYSENTER_CS => m.sysenter_cs.into(),
        msr::IA32_SYSENTER_ESP => m.sysenter_esp.into(),
        msr::IA32_SYSENTER_EIP => m.sysenter_eip.into(),
        msr::IA32_MISC_ENABLE if has_misc_enable(model) => m.misc_enable | NO_BTS_NO_PEBS,
        msr::IA32_PAT => m.pat,
        msr::IA32_EFER if cpuid::has_nx(model) => m.efer.into(),
        msr::IA32_TSC_AUX if cpuid::has_tsc_aux(model) => m.tsc_aux.into(),
        _ => match m.mtrr.read(number) {
            Some(value) => value,
            None => return unknown("RDMSR", number),
        },
    })
}

fn write(cpu: &mut Cpu, number: u32, value: u64) -> Result<(), Exception> {
    let now = cpu.now();
    let model = cpu.state.model;
    let m = &mut cpu.state.msr;
    match number {
        msr::IA32_TIME_STAMP_COUNTER => m.tsc_offset = value.wrapping_sub(now),
        msr::IA32_APIC_BASE if cpuid::has_apic(model) => {
            if value & !(APIC_WRITABLE | APIC_BSP) != 0 {
                return Err(Exception::gp(0));
            }
            m.apic_base = value & APIC_WRITABLE | m.apic_base & APIC_BSP;
            // The machine must know where the local APIC is now, and whether.
            cpu.run.attention = true;
        }
        // Software clears it before CPUID, which would load it with the update's revision.
        msr::IA32_BIOS_SIGN_ID => {}
        msr::IA32_SYSENTER_CS => m.sysenter_cs = value as u32,
        msr::IA32_SYSENTER_ESP => m.sysenter_esp = value as u32,
        msr::IA32_SYSENTER_EIP => m.sysenter_eip = value as u32,
        msr::IA32_MISC_ENABLE if has_misc_enable(model) => m.misc_enable = value & FAST_STRINGS,
        msr::IA32_TSC_AUX if cpuid::has_tsc_aux(model) => m.tsc_aux = value as u32,
        msr::IA32_PAT => {
            // Memory types 2 and 3 and those above 7 are reserved.
            if value.to_le_bytes().iter().any(|t| !matches!(t, 0 | 1 | 4..=7)) {
                return Err(Exception::gp(0));
            }
            m.pat = value;
        }
        msr::IA32_EFER if cpuid::has_nx(model) => {
            if value & !u64::from(Efer::NXE.bits()) != 0 {
                return Err(Exception::gp(0));
            }
            m.efer = value as u32;
            flush::fetch_rights(cpu);
        }
        _ => match m.mtrr.write(number, value) {
            Some(done) => return done,
            None => return unknown("WRMSR", number).map(drop),
        },
    }
    Ok(())
}

fn unknown(what: &str, number: u32) -> Result<u64, Exception> {
    log::debug!("{what} of {number:#x}, which this CPU lacks");
    Err(Exception::gp(0))
}
