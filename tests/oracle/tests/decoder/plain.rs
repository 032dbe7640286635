//! What both decoders say of an instruction, in the same words.

use capstone::{
    Capstone, Insn, RegId,
    arch::{
        DetailsArchInsn,
        x86::{X86OpMem, X86OperandType},
    },
};
use iced_x86::{Instruction, OpKind, Register};

/// An instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    pub len: usize,
    pub name: String,
    pub operands: Vec<Operand>,
}

/// An operand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    Register(String),
    /// A constant or a near branch's target, of this many bits.
    Constant(u32, u32),
    Memory {
        segment: String,
        base: String,
        index: String,
        scale: u32,
        displacement: u32,
    },
}

impl Operand {
    /// Whether it is the same, a constant in its own size.
    pub fn means(&self, other: &Operand) -> bool {
        match (self, other) {
            (Operand::Constant(a, bits), Operand::Constant(b, _)) => (a ^ b) << (32 - bits) == 0,
            _ => self == other,
        }
    }
}

impl Plain {
    /// As iced has it; `None` for what is no instruction.
    pub fn of_iced(insn: &Instruction) -> Option<Plain> {
        if insn.is_invalid() {
            return None;
        }
        let name = format!("{:?}", insn.mnemonic()).to_lowercase();
        let operands = (0..insn.op_count()).flat_map(|i| iced_operand(insn, i)).collect();
        Some(Plain { len: insn.len(), name, operands })
    }

    /// As capstone has it.
    pub fn of_capstone(capstone: &Capstone, insn: &Insn) -> Plain {
        let detail = capstone.insn_detail(insn).expect("details are on");
        let arch = detail.arch_detail();
        let x86 = arch.x86().expect("it decodes x86");
        let name = capstone.insn_name(insn.id()).expect("every instruction has a name");
        let register = |id: RegId| if id.0 == 0 { String::new() } else { capstone.reg_name(id).expect("has a name") };
        let operands = x86.operands().map(|operand| match operand.op_type {
            X86OperandType::Reg(id) => Operand::Register(register(id)),
            X86OperandType::Imm(value) => Operand::Constant(value as u32, u32::from(operand.size) * 8),
            X86OperandType::Mem(memory) => capstone_memory(memory, x86.addr_size(), register),
            X86OperandType::Invalid => Operand::Register("(invalid)".into()),
        });
        Plain { len: insn.bytes().len(), name, operands: operands.collect() }
    }
}

fn name(register: Register) -> String {
    let name = format!("{register:?}").to_lowercase();
    match (register, name.strip_prefix("st")) {
        (Register::None, _) => String::new(),
        (_, Some(number)) => format!("st({number})"),
        _ => name,
    }
}

fn iced_operand(insn: &Instruction, i: u32) -> Vec<Operand> {
    let memory = |segment: Register, base: &str| Operand::Memory {
        segment: name(segment),
        base: base.into(),
        index: String::new(),
        scale: 1,
        displacement: 0,
    };
    let bits = match insn.op_kind(i) {
        OpKind::Register => return vec![Operand::Register(name(insn.op_register(i)))],
        OpKind::NearBranch16 => return vec![Operand::Constant(insn.near_branch16().into(), 16)],
        OpKind::NearBranch32 => return vec![Operand::Constant(insn.near_branch32(), 32)],
        OpKind::FarBranch16 => {
            let selector = Operand::Constant(insn.far_branch_selector().into(), 16);
            return vec![selector, Operand::Constant(insn.far_branch16().into(), 16)];
        }
        OpKind::FarBranch32 => {
            let selector = Operand::Constant(insn.far_branch_selector().into(), 16);
            return vec![selector, Operand::Constant(insn.far_branch32(), 32)];
        }
        OpKind::MemorySegSI => return vec![memory(insn.memory_segment(), "si")],
        OpKind::MemorySegESI => return vec![memory(insn.memory_segment(), "esi")],
        OpKind::MemorySegDI => return vec![memory(insn.memory_segment(), "di")],
        OpKind::MemorySegEDI => return vec![memory(insn.memory_segment(), "edi")],
        OpKind::MemoryESDI => return vec![memory(Register::ES, "di")],
        OpKind::MemoryESEDI => return vec![memory(Register::ES, "edi")],
        OpKind::Memory => {
            return vec![Operand::Memory {
                segment: name(insn.memory_segment()),
                base: name(insn.memory_base()),
                index: name(insn.memory_index()),
                scale: insn.memory_index_scale(),
                displacement: insn.memory_displacement32(),
            }];
        }
        OpKind::Immediate8 | OpKind::Immediate8_2nd => 8,
        OpKind::Immediate16 | OpKind::Immediate8to16 => 16,
        _ => 32,
    };
    vec![Operand::Constant(insn.immediate(i) as u32 & u32::MAX >> (32 - bits), bits)]
}

/// capstone names a segment only where a prefix or the instruction does.
fn capstone_memory(memory: X86OpMem, address_size: u8, register: impl Fn(RegId) -> String) -> Operand {
    let base = register(memory.base());
    let segment = match register(memory.segment()) {
        named if !named.is_empty() => named,
        _ if matches!(base.as_str(), "bp" | "ebp" | "esp") => "ss".into(),
        _ => "ds".into(),
    };
    let mut displacement = memory.disp() as u32;
    if address_size == 2 {
        displacement &= 0xffff;
    }
    let index = register(memory.index());
    Operand::Memory { segment, base, index, scale: memory.scale() as u32, displacement }
}
