//! System instructions, far transfers, segment loads, I/O: slow functions by family.

mod control;
mod cpuid;
mod far;
mod flags;
mod interrupt;
mod io;
mod msr;
mod mtrr;
mod random;
mod rights;
mod segments;
mod sysenter;
mod tables;

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::{Cpu, Exception, slow::Slow};

pub use cpuid::answer as cpuid_answer;
pub(crate) use cpuid::signature;
pub use mtrr::Mtrrs;

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    use Mnemonic as M;
    Some(match insn.mnemonic() {
        M::Mov => return mov(insn),
        M::Push if is_segment(insn, 0) => segments::push,
        M::Pop if is_segment(insn, 0) => segments::pop,
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => segments::load_far_pointer,
        M::Jmp if is_far(insn) => far::jump,
        M::Call if is_far(insn) => far::call,
        M::Retf => far::ret,
        M::Iret | M::Iretd => interrupt::iret,
        M::Int => interrupt::int,
        M::Int3 => interrupt::int3,
        M::Into => interrupt::into,
        M::Int1 => interrupt::int1,
        M::Bound => interrupt::bound,
        M::Ud0 | M::Ud1 | M::Ud2 => interrupt::undefined,
        M::In => io::input,
        M::Out => io::output,
        M::Insb | M::Insw | M::Insd => io::input_string,
        M::Outsb | M::Outsw | M::Outsd => io::output_string,
        M::Cli => flags::cli,
        M::Sti => flags::sti,
        M::Clac => flags::clac,
        M::Stac => flags::stac,
        M::Pushf | M::Pushfd => flags::pushf,
        M::Popf | M::Popfd => flags::popf,
        M::Hlt => control::hlt,
        M::Pause => control::pause,
        M::Clts => control::clts,
        M::Lmsw => control::lmsw,
        M::Smsw => control::smsw,
        M::Invlpg => control::invlpg,
        M::Invd | M::Wbinvd => control::write_back,
        M::Clflush => control::clflush,
        M::Lgdt | M::Lidt => tables::load_table,
        M::Sgdt | M::Sidt => tables::store_table,
        M::Lldt => tables::lldt,
        M::Ltr => tables::ltr,
        M::Sldt | M::Str => tables::store_selector,
        M::Lar => rights::lar,
        M::Lsl => rights::lsl,
        M::Verr | M::Verw => rights::verify,
        M::Arpl => rights::arpl,
        M::Cpuid => cpuid::cpuid,
        M::Rdtsc => msr::rdtsc,
        M::Rdtscp => msr::rdtscp,
        M::Rdrand => random::rdrand,
        M::Rdpmc => msr::rdpmc,
        M::Rdmsr => msr::rdmsr,
        M::Wrmsr => msr::wrmsr,
        M::Sysenter => sysenter::enter,
        M::Sysexit => sysenter::exit,
        _ => return None,
    })
}

fn mov(insn: &Instruction) -> Option<Slow> {
    let register = |index| insn.op_kind(index) == OpKind::Register;
    let (to, from) = (insn.op0_register(), insn.op1_register());
    Some(match () {
        () if register(0) && to.is_segment_register() => segments::mov_to,
        () if register(1) && from.is_segment_register() => segments::mov_from,
        () if register(0) && to.is_cr() => control::mov_to_cr,
        () if register(1) && from.is_cr() => control::mov_from_cr,
        () if register(0) && to.is_dr() => control::mov_to_dr,
        () if register(1) && from.is_dr() => control::mov_from_dr,
        () => return None,
    })
}

fn is_segment(insn: &Instruction, index: u32) -> bool {
    insn.op_kind(index) == OpKind::Register && insn.op_register(index).is_segment_register()
}

fn is_far(insn: &Instruction) -> bool {
    insn.is_jmp_far() || insn.is_jmp_far_indirect() || insn.is_call_far() || insn.is_call_far_indirect()
}

/// #GP(0) unless the CPL is 0.
fn privileged(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.state.cpl == 0 { Ok(()) } else { Err(Exception::gp(0)) }
}

/// #GP(0) for what CR4.UMIP keeps from programs: SGDT, SIDT, SLDT, SMSW, STR.
fn not_prevented(cpu: &Cpu) -> Result<(), Exception> {
    let prevented = cpu.state.cpl != 0 && cpu.state.cr4().contains(x86::Cr4::UMIP);
    if prevented { Err(Exception::gp(0)) } else { Ok(()) }
}

/// #UD in real and virtual-8086 mode, where descriptor tables mean nothing.
fn needs_descriptors(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.state.protected() && !cpu.state.v86() { Ok(()) } else { Err(Exception::ud()) }
}

/// EIP behind `insn`. Beyond FFFF in 16-bit code too, as silicon has it: only what is pushed or
/// loaded as a word loses the upper half.
fn next_eip(cpu: &Cpu, insn: &Instruction) -> u32 {
    cpu.state.eip.wrapping_add(insn.len() as u32)
}

#[cfg(test)]
mod paging_tests;
#[cfg(test)]
mod tests;
