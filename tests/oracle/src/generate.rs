//! Cases: an instruction, and a state in which it has something to do.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use x86::SegReg;

use crate::{
    aim,
    catalogue::{Catalogue, Verdict, calls_the_host},
    forms::{Forms, decode},
    random::Random,
    segments::{self, CODE_16, FLAT_CODE},
    state::{CODE, State, TF},
};

/// An instruction and the state that it starts from.
pub struct Case {
    /// The instruction; more than it if nothing here knows how long it is.
    pub bytes: Vec<u8>,
    /// What the decoder makes of it.
    pub instruction: Instruction,
    /// Registers.
    pub state: State,
    /// What is put into the data before, at linear addresses.
    pub patches: Vec<(u32, Vec<u8>)>,
}

/// Makes cases, form by form, for ever.
pub struct Generator {
    catalogue: Catalogue,
    forms: Forms,
    next: usize,
    info: InstructionInfoFactory,
}

impl Generator {
    /// With all forms that have an instruction.
    pub fn new(catalogue: Catalogue) -> Self {
        let forms = Forms::new(&catalogue);
        Generator { catalogue, forms, next: 0, info: InstructionInfoFactory::new() }
    }

    /// What there is.
    pub fn forms(&self) -> &Forms {
        &self.forms
    }

    /// Which instructions both processors have.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Begins elsewhere among the forms.
    pub fn skip(&mut self, forms: usize) {
        self.next = forms % self.forms.forms.len();
    }

    /// The next form with what is random about it.
    pub fn next(&mut self, random: &mut Random) -> Case {
        loop {
            let form = self.forms.forms[self.next];
            self.next = (self.next + 1) % self.forms.forms.len();
            let Some((bytes, instruction)) = form.instance(random) else { continue };
            if self.catalogue.verdict(instruction.code()) != Verdict::Compare || calls_the_host(&bytes) {
                continue;
            }
            let mut state = State::random(random);
            choose_segments(form.bits, &mut state, random);
            place(bytes.len(), &mut state, random);
            let mut case = Case { bytes, instruction, state, patches: Vec::new() };
            aim::aim(&mut case, &mut self.info, random);
            case.instruction = decode(form.bits, &case.bytes, case.state.eip);
            if !case.is_fast() {
                case.state.eflags |= TF;
            }
            return case;
        }
    }
}

impl Case {
    /// Whether it goes on behind itself and neither it nor its state has anything to do with segments.
    pub fn is_fast(&self) -> bool {
        use Mnemonic::{Popf, Popfd, Pushf, Pushfd};
        const AC: u32 = 1 << 18;
        let insn = &self.instruction;
        let segment = |register: Register| register.is_segment_register();
        let operand = |i: u32| insn.op_kind(i) == OpKind::Register && segment(insn.op_register(i));
        self.state.flat()
            && self.state.eip == CODE
            && self.state.eflags & (TF | AC) == 0
            && insn.flow_control() == FlowControl::Next
            && !insn.is_privileged()
            && !matches!(insn.mnemonic(), Popf | Popfd | Pushf | Pushfd | Mnemonic::INVALID)
            && !matches!(insn.segment_prefix(), Register::FS | Register::GS)
            && !(0..insn.op_count()).any(operand)
            && !matches!(insn.mnemonic(), Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss)
    }

    /// How many instructions it counts for at most: iterations, if it repeats.
    pub fn iterations(&self) -> u64 {
        iterations(&self.instruction, &self.state)
    }

    /// Which instruction.
    pub fn code(&self) -> Code {
        self.instruction.code()
    }
}

/// How many instructions it counts for at most.
pub fn iterations(insn: &Instruction, state: &State) -> u64 {
    let repeats = insn.has_rep_prefix() || insn.has_repne_prefix();
    if !repeats || !insn.is_string_instruction() || state.eflags & TF != 0 {
        return 1;
    }
    let narrow = (0..insn.op_count())
        .any(|i| matches!(insn.op_kind(i), OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI));
    u64::from(if narrow { state.gpr[1] & 0xffff } else { state.gpr[1] }).max(1)
}

/// Mostly flat ones in 32-bit code; of 16-bit code, mostly small ones around the data.
fn choose_segments(bits: u32, state: &mut State, random: &mut Random) {
    let pick = |from: &[u16], random: &mut Random| from[random.below(from.len() as u64) as usize];
    let odd = random.one_in(5);
    let cs = &mut state.seg[SegReg::Cs as usize];
    *cs = match bits {
        16 if random.one_in(8) => segments::RUNNABLE[1],
        16 => CODE_16,
        _ if odd => pick(&[FLAT_CODE, FLAT_CODE, segments::RUNNABLE[2], segments::RUNNABLE[3]], random),
        _ => FLAT_CODE,
    };
    if odd || bits == 16 && !random.one_in(4) {
        let small = bits == 16 && !random.one_in(4);
        let common = &segments::STACKS[1..3];
        state.seg[SegReg::Ss as usize] = pick(if small { common } else { &segments::STACKS }, random);
        for reg in [SegReg::Ds, SegReg::Es, SegReg::Fs, SegReg::Gs] {
            let small = small && !random.one_in(4);
            state.seg[reg as usize] = pick(if small { common } else { &segments::READABLE }, random);
        }
    }
    if random.one_in(64) {
        state.eflags |= 1 << 18; // AC
    }
    if random.one_in(16) {
        state.eflags |= 1 << 21; // ID
    }
}

/// At the start of the code page, or so that the page or the limit ends within the instruction.
fn place(len: usize, state: &mut State, random: &mut Random) {
    let end = if state.seg[SegReg::Cs as usize] == segments::RUNNABLE[3] { 0x800 } else { 0x1000 };
    let short = 1 + random.below(len as u64) as u32;
    let offset = if random.one_in(40) { end - short } else { 0 };
    state.eip = (CODE + offset).wrapping_sub(segments::base(state.seg[SegReg::Cs as usize]));
}
