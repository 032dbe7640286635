//! Instructions to try: every opcode with every /digit, in both register and memory form, with
//! each mandatory prefix; what follows is random. The decoder says what is an instruction.

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, MemorySize, Mnemonic,
    OpKind, Register,
};

use super::{
    random::Random,
    state::{CODE, State, address},
};

/// The part of an encoding that is not random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Form {
    /// 0 is none.
    prefix: u8,
    map: Map,
    opcode: u8,
    /// mod and reg of ModR/M.
    digit: u8,
    memory: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Map {
    One,
    Two,
    Three38,
    Three3a,
}

/// An instruction and the state that it starts from.
pub struct Case {
    pub bytes: Vec<u8>,
    pub instruction: Instruction,
    pub state: State,
}

/// Makes cases, form by form, for ever.
pub struct Generator {
    forms: Vec<Form>,
    next: usize,
}

impl Generator {
    /// All forms that have an instruction.
    pub fn new() -> Self {
        let mut random = Random::new(0);
        let mut forms = Vec::new();
        for (map, prefixes) in [
            (Map::One, &[0, 0x66, 0xf2, 0xf3][..]),
            (Map::Two, &[0, 0x66, 0xf2, 0xf3]),
            (Map::Three38, &[0, 0x66]),
            (Map::Three3a, &[0, 0x66]),
        ] {
            for &prefix in prefixes {
                for opcode in 0..=255 {
                    for digit in 0..8 {
                        for memory in [false, true] {
                            let form = Form { prefix, map, opcode, digit, memory };
                            if (0..4).any(|_| form.instance(&mut random).is_some()) {
                                forms.push(form);
                            }
                        }
                    }
                }
            }
        }
        Generator { forms, next: 0 }
    }

    /// How many forms there are.
    pub fn len(&self) -> usize {
        self.forms.len()
    }

    /// The next form with what is random about it.
    pub fn next(&mut self, random: &mut Random) -> Case {
        loop {
            let form = self.forms[self.next];
            self.next = (self.next + 1) % self.forms.len();
            let Some((mut bytes, instruction)) = form.instance(random) else { continue };
            let mut state = State::random(random);
            aim(&mut bytes, &instruction, &mut state, random);
            let instruction = decode(&bytes).expect("a displacement alone has changed");
            return Case { bytes, instruction, state };
        }
    }
}

impl Form {
    fn instance(self, random: &mut Random) -> Option<(Vec<u8>, Instruction)> {
        let mut bytes = Vec::with_capacity(15);
        for (prefix, odds) in [(0x66, 24), (0x67, 24), (0xf0, 24), (0x36, 40), (0x26, 40), (0x2e, 40)] {
            if random.one_in(odds) {
                bytes.push(prefix);
            }
        }
        if self.prefix != 0 {
            bytes.push(self.prefix);
        }
        match self.map {
            Map::One => {}
            Map::Two => bytes.push(0x0f),
            Map::Three38 => bytes.extend([0x0f, 0x38]),
            Map::Three3a => bytes.extend([0x0f, 0x3a]),
        }
        bytes.push(self.opcode);
        let mode = if self.memory { random.below(3) as u8 } else { 3 };
        bytes.push(mode << 6 | self.digit << 3 | random.bits(3) as u8);
        // Operands that follow, small at times.
        for _ in 0..10 {
            bytes.push(if random.one_in(4) { random.bits(2) as u8 } else { random.bits(8) as u8 });
        }
        let instruction = decode(&bytes)?;
        bytes.truncate(instruction.len());
        allowed(&instruction).then_some((bytes, instruction))
    }
}

fn decode(bytes: &[u8]) -> Option<Instruction> {
    let bytes = &bytes[..bytes.len().min(15)];
    let mut decoder = Decoder::with_ip(32, bytes, CODE.into(), DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// What both processors have and may execute in ring 3 without asking the operating system.
fn allowed(instruction: &Instruction) -> bool {
    const FEATURES: [CpuidFeature; 20] = [
        CpuidFeature::INTEL8086,
        CpuidFeature::INTEL186,
        CpuidFeature::INTEL286,
        CpuidFeature::INTEL386,
        CpuidFeature::INTEL486,
        CpuidFeature::FPU,
        CpuidFeature::FPU287,
        CpuidFeature::FPU387,
        CpuidFeature::CMOV,
        CpuidFeature::CX8,
        CpuidFeature::FXSR,
        CpuidFeature::MMX,
        CpuidFeature::SSE,
        CpuidFeature::SSE2,
        CpuidFeature::SSE3,
        CpuidFeature::SSSE3,
        CpuidFeature::SSE4_1,
        CpuidFeature::CLFSH,
        CpuidFeature::MULTIBYTENOP,
        CpuidFeature::PAUSE,
    ];
    let only_selectors_flags_or_versions = matches!(
        instruction.mnemonic(),
        Mnemonic::Lar
            | Mnemonic::Lsl
            | Mnemonic::Verr
            | Mnemonic::Verw
            | Mnemonic::Lds
            | Mnemonic::Les
            | Mnemonic::Lfs
            | Mnemonic::Lgs
            | Mnemonic::Lss
            | Mnemonic::Arpl
            | Mnemonic::Cpuid
            | Mnemonic::Sldt
            | Mnemonic::Str
            | Mnemonic::Sgdt
            | Mnemonic::Sidt
            | Mnemonic::Smsw
            | Mnemonic::Popf
            | Mnemonic::Popfd
            | Mnemonic::Pushf
            | Mnemonic::Pushfd
            | Mnemonic::Int1
            | Mnemonic::Int3
            | Mnemonic::Int
            | Mnemonic::Into
            | Mnemonic::Iret
            | Mnemonic::Iretd
            | Mnemonic::Retf
            | Mnemonic::Salc
            | Mnemonic::Fstsw
            | Mnemonic::Ud0
            | Mnemonic::Ud1
            | Mnemonic::Fndisi
            | Mnemonic::Fneni
            | Mnemonic::Fnsetpm
    );
    let far = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::IndirectCall | FlowControl::IndirectBranch
    ) && (instruction.is_jmp_far()
        || instruction.is_jmp_far_indirect()
        || instruction.is_call_far()
        || instruction.is_call_far_indirect());
    // AMD: prefixes choose between LOOPE and LOOPNE; 0F 0D has no register form.
    let maker_specific = match instruction.mnemonic() {
        Mnemonic::Loope | Mnemonic::Loopne => instruction.has_rep_prefix() || instruction.has_repne_prefix(),
        Mnemonic::Reservednop => true,
        _ => false,
    };
    let touches_segment = (0..instruction.op_count())
        .any(|i| instruction.op_kind(i) == OpKind::Register && instruction.op_register(i).is_segment_register());
    let thread_segment = matches!(instruction.segment_prefix(), Register::FS | Register::GS);
    instruction.cpuid_features().iter().all(|feature| FEATURES.contains(feature))
        && !only_selectors_flags_or_versions
        && !far
        && !maker_specific
        && !touches_segment
        && !thread_segment
        && !instruction.is_privileged()
}

/// Makes the memory operand mostly hit the data, by its base register or displacement.
fn aim(bytes: &mut [u8], instruction: &Instruction, state: &mut State, random: &mut Random) {
    let mut info = InstructionInfoFactory::new();
    if info.info(instruction).used_memory().iter().any(|memory| memory.base() == Register::ESP) {
        state.gpr[4] = address(random, 4);
    }
    if instruction.is_string_instruction() {
        state.gpr[6] = address(random, 4);
        state.gpr[7] = address(random, 4);
        if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
            state.gpr[1] = random.bits(2) as u32;
        }
        return;
    }
    let len = instruction.memory_size().size().max(1) as u32;
    match instruction.mnemonic() {
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu => state.gpr[7] = address(random, 16),
        Mnemonic::Xlatb => state.gpr[3] = address(random, 256),
        Mnemonic::Enter => state.gpr[5] = address(random, 4),
        // The bit offset reaches far: mostly keep it near.
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
            if instruction.op1_kind() == OpKind::Register && !random.one_in(4) =>
        {
            let index = instruction.op1_register().full_register32().number();
            state.gpr[index] &= 0xff;
        }
        _ => {}
    }
    if (0..instruction.op_count()).all(|i| instruction.op_kind(i) != OpKind::Memory)
        || instruction.memory_size() == MemorySize::Unknown && instruction.mnemonic() != Mnemonic::Fxsave
    {
        return;
    }
    let value = |state: &State, reg: Register| if reg.is_gpr32() { state.gpr[reg.number()] } else { 0 };
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    let indexed = value(state, index).wrapping_mul(instruction.memory_index_scale());
    let target = address(random, len);
    if base.is_gpr32() && base != index {
        state.gpr[base.number()] = target.wrapping_sub(indexed).wrapping_sub(instruction.memory_displacement32());
    } else if base == Register::None && instruction.memory_displ_size() == 4 {
        let mut decoder = Decoder::with_ip(32, bytes, CODE.into(), DecoderOptions::NONE);
        let again = decoder.decode();
        let at = decoder.get_constant_offsets(&again).displacement_offset();
        bytes[at..at + 4].copy_from_slice(&target.wrapping_sub(indexed).to_le_bytes());
    }
}
