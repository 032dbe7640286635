//! Aims a case: its memory operand mostly at the data, its selectors at descriptors, its returns at code.

use iced_x86::{Code, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpKind, Register};
use x86::SegReg;

use crate::{
    forms::decode,
    generate::Case,
    random::Random,
    segments,
    state::{CODE, State, address},
};

/// Changes registers, displacement and data of a fresh case.
pub fn aim(case: &mut Case, info: &mut InstructionInfoFactory, random: &mut Random) {
    let insn = case.instruction;
    if insn.is_invalid() {
        return;
    }
    let uses_stack = {
        let used = info.info(&insn).used_memory();
        used.iter().any(|memory| matches!(memory.base(), Register::ESP | Register::SP))
    };
    if uses_stack || insn.is_stack_instruction() {
        case.state.gpr[4] = address(random, 4).wrapping_sub(segments::base(case.state.seg[SegReg::Ss as usize]));
    }
    if insn.is_string_instruction() {
        aim_string(case, random);
        return;
    }
    match insn.mnemonic() {
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu => {
            case.state.gpr[7] = address(random, 16).wrapping_sub(segment_base(&insn, &case.state));
        }
        Mnemonic::Xlatb => case.state.gpr[3] = address(random, 256).wrapping_sub(segment_base(&insn, &case.state)),
        Mnemonic::Enter => {
            case.state.gpr[5] = address(random, 4).wrapping_sub(segments::base(case.state.seg[SegReg::Ss as usize]));
        }
        Mnemonic::Retf => aim_return(case, random, false),
        Mnemonic::Iret | Mnemonic::Iretd => aim_return(case, random, true),
        // The bit offset reaches far: mostly keep it near.
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
            if insn.op1_kind() == OpKind::Register && !random.one_in(4) =>
        {
            case.state.gpr[insn.op1_register().full_register32().number()] &= 0xff;
        }
        _ => {}
    }
    aim_operand(case, random);
    aim_selectors(case, random);
}

fn has_memory(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
}

/// Linear address of the memory operand.
pub fn linear(insn: &Instruction, state: &State) -> u32 {
    let value = |reg: Register| match reg {
        Register::ES | Register::CS | Register::SS | Register::DS | Register::FS | Register::GS => {
            segments::base(state.seg[reg.number()])
        }
        _ if reg.is_gpr32() => state.gpr[reg.number()],
        _ if reg.is_gpr16() => state.gpr[reg.number()] & 0xffff,
        _ => 0,
    };
    let operand = (0..insn.op_count()).find(|&i| insn.op_kind(i) == OpKind::Memory).unwrap_or(0);
    insn.virtual_address(operand, 0, |reg, _, _| Some(value(reg).into())).unwrap_or(0) as u32
}

fn segment_base(insn: &Instruction, state: &State) -> u32 {
    let reg = insn.memory_segment();
    segments::base(state.seg[if reg.is_segment_register() { reg.number() } else { SegReg::Ds as usize }])
}

/// Makes the operand hit the data, by its base register or its displacement.
fn aim_operand(case: &mut Case, random: &mut Random) {
    let insn = case.instruction;
    let is_area = matches!(insn.mnemonic(), Mnemonic::Fxsave | Mnemonic::Fxrstor);
    if !has_memory(&insn) || insn.memory_size() == MemorySize::Unknown && !is_area && random.one_in(2) {
        return;
    }
    let len = insn.memory_size().size().max(1) as u32;
    let by = address(random, len).wrapping_sub(linear(&insn, &case.state));
    let (base, index) = (insn.memory_base(), insn.memory_index());
    if base != Register::None && base != index {
        let register = &mut case.state.gpr[base.number() & 7];
        *register = match base.is_gpr16() {
            true => *register & 0xffff_0000 | register.wrapping_add(by) & 0xffff,
            false => register.wrapping_add(by),
        };
    } else if base == Register::None && insn.memory_displ_size() >= 2 {
        let bits = case.state.bits();
        let mut decoder = iced_x86::Decoder::with_ip(bits, &case.bytes, 0, iced_x86::DecoderOptions::NONE);
        let again = decoder.decode();
        let offsets = decoder.get_constant_offsets(&again);
        let at = offsets.displacement_offset();
        let displacement = insn.memory_displacement32().wrapping_add(by).to_le_bytes();
        let size = offsets.displacement_size();
        case.bytes[at..at + size].copy_from_slice(&displacement[..size]);
        case.instruction = decode(bits, &case.bytes, case.state.eip);
    }
}

fn aim_string(case: &mut Case, random: &mut Random) {
    let insn = case.instruction;
    case.state.gpr[6] = address(random, 4).wrapping_sub(segment_base(&insn, &case.state));
    case.state.gpr[7] = address(random, 4).wrapping_sub(segments::base(case.state.seg[SegReg::Es as usize]));
    if insn.has_rep_prefix() || insn.has_repne_prefix() {
        case.state.gpr[1] = match random.below(8) {
            0 => random.bits(6) as u32,
            1 => random.bits(16) as u32,
            _ => random.bits(2) as u32,
        };
    }
}

/// A selector, mostly of the kind that is wanted.
fn selector(random: &mut Random, wanted: &[u16]) -> u16 {
    let from = if random.one_in(3) { &segments::ANY } else { wanted };
    from[random.below(from.len() as u64) as usize]
}

const CODES: [u16; 6] = [segments::FLAT_CODE, segments::FLAT_CODE, 0x07, 0x0f, 0x17, 0x1f];

/// An offset that often is of the code page in the segment.
fn offset(random: &mut Random, code: u16) -> u32 {
    match random.below(4) {
        0 => random.bits(32) as u32,
        1 => random.bits(12) as u32,
        _ => (CODE + random.bits(8) as u32).wrapping_sub(segments::base(code)),
    }
}

/// EIP and CS on the stack, for IRET the flags too: no NT, which makes the next IRET another instruction.
fn aim_return(case: &mut Case, random: &mut Random, interrupt: bool) {
    let code = selector(random, &CODES);
    let eip = offset(random, code);
    let flags = random.bits(32) as u32 & !(1 << 14 | 1 << 17);
    let wide = matches!(case.instruction.code(), Code::Iretd | Code::Retfd | Code::Retfd_imm16);
    let words: &[u32] = if interrupt { &[eip, code as u32, flags] } else { &[eip, code as u32] };
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()[..if wide { 4 } else { 2 }].to_vec()).collect();
    let stack = segments::register(case.state.seg[SegReg::Ss as usize]);
    let esp = if stack.big() { case.state.gpr[4] } else { case.state.gpr[4] & 0xffff };
    case.patches.push((stack.base.wrapping_add(esp), bytes));
}

/// Selectors in registers, in memory and in the instruction.
fn aim_selectors(case: &mut Case, random: &mut Random) {
    let insn = case.instruction;
    let far_memory =
        matches!(insn.mnemonic(), Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss)
            || insn.is_jmp_far_indirect()
            || insn.is_call_far_indirect();
    if insn.is_jmp_far() || insn.is_call_far() {
        let code = selector(random, &CODES);
        let offset = offset(random, code).to_le_bytes();
        let end = case.bytes.len();
        let wide = insn.op0_kind() == OpKind::FarBranch32;
        let size = if wide { 4 } else { 2 };
        case.bytes[end - 2..].copy_from_slice(&code.to_le_bytes());
        case.bytes[end - 2 - size..end - 2].copy_from_slice(&offset[..size]);
        return;
    }
    if far_memory && has_memory(&insn) {
        let code = insn.is_jmp_far_indirect() || insn.is_call_far_indirect();
        let wanted = if code { &CODES[..] } else { &segments::STACKS[..] };
        let selector = selector(random, wanted);
        let mut bytes = offset(random, selector).to_le_bytes()[..insn.memory_size().size().max(4) - 2].to_vec();
        bytes.extend(selector.to_le_bytes());
        case.patches.push((linear(&insn, &case.state), bytes));
        return;
    }
    let wanted = match insn.mnemonic() {
        Mnemonic::Mov | Mnemonic::Pop
            if insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register() =>
        {
            if insn.op0_register() == Register::SS { &segments::STACKS[..] } else { &segments::READABLE[..] }
        }
        Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Verr | Mnemonic::Verw | Mnemonic::Arpl => &segments::ANY[..],
        _ => return,
    };
    let value = selector(random, wanted);
    if insn.mnemonic() == Mnemonic::Pop {
        let stack = segments::register(case.state.seg[SegReg::Ss as usize]);
        let esp = if stack.big() { case.state.gpr[4] } else { case.state.gpr[4] & 0xffff };
        case.patches.push((stack.base.wrapping_add(esp), value.to_le_bytes().to_vec()));
    } else if has_memory(&insn) {
        case.patches.push((linear(&insn, &case.state), value.to_le_bytes().to_vec()));
    } else {
        let operand = (0..insn.op_count()).rev().map(|i| insn.op_register(i)).find(|reg| reg.is_gpr());
        if let Some(reg) = operand {
            let register = &mut case.state.gpr[reg.full_register32().number()];
            *register = *register & 0xffff_0000 | u32::from(value);
        }
    }
}
