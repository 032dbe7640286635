//! Our processor, set up as Linux sets up the host's for a 32-bit process.

use cpu::{Activity, Cpu, CpuModel, CpuState, Engine, EngineConfig, F80, RunRequest, SegmentRegister, TableRegister};
use memory::{FrameKind, PhysMem};
use x86::{Descriptor, Eflags, PhysAddr, SegReg};

use crate::{
    segments,
    state::{CODE, DATA, DATA_LEN, DATA_PAGES, End, LastX87, Outcome, SUMMARY, State, TF},
};

const DIRECTORY: u32 = 0x1000;
const KERNEL_TABLE: u32 = 0x2000;
const CODE_TABLE: u32 = 0x3000;
const DATA_TABLE: u32 = 0x4000;
const CODE_FRAME: u32 = 0x5000;
const DATA_FRAMES: u32 = 0x8000;
/// Linear address from which the supervisor sees its own frames.
const KERNEL: u32 = 0xc000_0000;
const TSS: u32 = 0x1_0000;
const GDT: u32 = 0x1_1000;
const IDT: u32 = 0x1_2000;
const LDT: u32 = 0x1_3000;
/// The supervisor's stack ends here.
const STACK: u32 = 0x1_5000;
/// Handler of exception `v` is a HLT at offset `v * SPACING`.
const HANDLERS: u32 = 0x1_6000;
const SPACING: u32 = 16;
const KERNEL_CODE: u16 = 0x10;
const KERNEL_DATA: u16 = 0x18;
const RAM: u64 = 1 << 20;
const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;

/// How much our processor may do at once; the result must be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// One instruction by its slow function.
    Slow,
    /// One instruction from a block.
    One,
    /// A block that goes on into the breakpoint behind the instruction.
    Block,
}

/// CPU, memory and engine, and a supervisor whose tables catch every exception.
pub struct Ours {
    cpu: Cpu,
    mem: PhysMem,
    engine: Engine,
    pace: Pace,
    code_at: u32,
    /// What is in the data frames.
    data: Vec<u8>,
}

impl Ours {
    /// With the page tables of `state`'s addresses.
    pub fn new(pace: Pace) -> Ours {
        let mut mem = PhysMem::new().expect("4 GiB of address space");
        mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
        let mut put = |addr: u32, value: u32| mem.write_u32(PhysAddr(addr.into()), value);
        const SUPERVISOR: u32 = 3;
        const USER: u32 = 7;
        const USER_READ_ONLY: u32 = 5;
        put(DIRECTORY + (KERNEL >> 22) * 4, KERNEL_TABLE | SUPERVISOR);
        put(DIRECTORY + (CODE >> 22) * 4, CODE_TABLE | USER);
        put(DIRECTORY + (DATA >> 22) * 4, DATA_TABLE | USER);
        for frame in 0..RAM as u32 >> 12 {
            put(KERNEL_TABLE + frame * 4, frame << 12 | SUPERVISOR);
        }
        put(CODE_TABLE, CODE_FRAME | USER_READ_ONLY);
        for page in 0..DATA_PAGES {
            let rights = if page == DATA_PAGES - 1 { USER_READ_ONLY } else { USER };
            put(DATA_TABLE + page * 4, (DATA_FRAMES + page * 4096) | rights);
        }
        put(TSS + 4, KERNEL + STACK);
        put(TSS + 8, KERNEL_DATA.into());
        put(TSS + 0x64, 0xdfff_0000); // no I/O permission map
        let mut table = |addr: u32, index: usize, value: u64| {
            mem.write(PhysAddr(u64::from(addr) + index as u64 * 8), &value.to_le_bytes());
        };
        for (i, &descriptor) in segments::GDT.iter().enumerate() {
            table(GDT, i, descriptor);
        }
        for (i, entry) in segments::LDT.iter().enumerate() {
            table(LDT, i, entry.descriptor());
        }
        for vector in 0..256 {
            // Software may raise #BP and #OF.
            let access = if matches!(vector, 3 | 4) { 0xee } else { 0x8e };
            table(IDT, vector, Descriptor::gate(KERNEL_CODE, KERNEL + HANDLERS + vector as u32 * SPACING, access).0);
        }
        mem.write(PhysAddr(CODE_FRAME.into()), &[0xcc; 4096]);
        mem.write(PhysAddr(HANDLERS.into()), &[0xf4; 4096]);
        let config = EngineConfig { single_step: pace == Pace::Slow, ..EngineConfig::default() };
        let data = vec![0; DATA_LEN];
        Ours { cpu: Cpu::new(initial()), mem, engine: Engine::new(config), pace, code_at: 0, data }
    }

    /// How much it does at once.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Executes one instruction from `state` and `data`, or all iterations of a repeated one unless TF is set.
    pub fn run(&mut self, instruction: &[u8], state: &State, data: &[u8], iterations: u64) -> Outcome {
        self.write_code(instruction, state.pc());
        if self.data != data {
            self.data.copy_from_slice(data);
            self.mem.write(PhysAddr(DATA_FRAMES.into()), data);
        }
        set(&mut self.cpu.state, state);
        let trap = state.eflags & TF != 0;
        let budget = match self.pace {
            _ if trap => 1,
            Pace::Block => iterations + 1,
            _ => iterations,
        };
        self.go(budget);
        if trap && self.cpu.state.cpl == 3 {
            self.go(1); // the trap itself
        }
        let (end, state) = self.outcome(instruction, state);
        self.mem.read(PhysAddr(DATA_FRAMES.into()), &mut self.data);
        Outcome { end, state, data: self.data.clone() }
    }

    /// What CPUID's `leaf` has in EAX, EBX, ECX, EDX.
    pub fn cpuid(&mut self, leaf: u32) -> [u32; 4] {
        let mut state = State::plain();
        state.gpr[0] = leaf;
        let gpr = self.run(&[0x0f, 0xa2], &state, &vec![0; DATA_LEN], 1).state.gpr;
        [gpr[0], gpr[3], gpr[1], gpr[2]]
    }

    fn go(&mut self, budget: u64) {
        let request = RunRequest { budget, now: 0, pass_breakpoint: false, ..RunRequest::default() };
        // Whatever ended it shows in the state.
        let _ = self.engine.run(&mut self.cpu, &mut self.mem, &mut (), request);
    }

    fn write_code(&mut self, instruction: &[u8], pc: u32) {
        let at = |pc: u32| PhysAddr((CODE_FRAME + (pc & 0xfff)).into());
        let room = |pc: u32| 4096 - (pc & 0xfff) as usize;
        self.mem.write(at(self.code_at), &[0xcc; 32][..room(self.code_at).min(32)]);
        self.mem.write(at(pc), &instruction[..instruction.len().min(room(pc))]);
        self.code_at = pc;
    }

    /// Reads the state back, from the supervisor's stack after an exception.
    fn outcome(&mut self, instruction: &[u8], before: &State) -> (End, State) {
        let mut state = get(&self.cpu.state);
        if self.cpu.state.cpl == 3 {
            return (End::Retired, state);
        }
        let vector = (self.cpu.state.eip.wrapping_sub(KERNEL + HANDLERS) / SPACING) as u8;
        let has_code = matches!(vector, 8 | 10..=14 | 17);
        let frame = self.cpu.state.gpr[4].wrapping_sub(KERNEL);
        let mut words = (0..6).map(|i| self.mem.read_u32(PhysAddr((frame + 4 * i).into())));
        let mut next = || words.next().expect("six");
        let code = if has_code { next() } else { 0 };
        state.eip = next();
        state.seg[SegReg::Cs as usize] = next() as u16;
        state.eflags = next();
        state.gpr[4] = next();
        state.seg[SegReg::Ss as usize] = next() as u16;
        let trap = before.eflags & TF != 0;
        let stopper = self.pace == Pace::Block || instruction_repeats(instruction);
        if vector == DEBUG && (trap || instruction.last() == Some(&0xf1)) {
            return (End::Retired, state);
        }
        let behind = before.eip.wrapping_add(instruction.len() as u32);
        if vector == BREAKPOINT && !trap && stopper && state.eip == behind.wrapping_add(1) {
            state.eip = behind;
            return (End::Retired, state);
        }
        let addr = if vector == 14 { self.cpu.state.cr2 } else { 0 };
        // Where our supervisor lives, nothing is on the host.
        let present = u32::from(vector == 14 && addr.wrapping_sub(KERNEL) < RAM as u32);
        let code = code & !present;
        (End::Fault { vector, code, addr }, state)
    }
}

/// Whether some prefix may repeat it, so that it may end before its budget.
fn instruction_repeats(instruction: &[u8]) -> bool {
    instruction.iter().any(|byte| matches!(byte, 0xf2 | 0xf3))
}

fn initial() -> CpuState {
    let mut state = CpuState::multiboot(CpuModel::Max, CODE, 0);
    state.tr = SegmentRegister { base: KERNEL + TSS, limit: 0x67, rights: 0x8b, selector: 0x40 };
    state.ldtr =
        SegmentRegister { base: KERNEL + LDT, limit: segments::LDT.len() as u32 * 8 - 1, rights: 0x82, selector: 0x50 };
    state.gdtr = TableRegister { base: KERNEL + GDT, limit: segments::GDT.len() as u16 * 8 - 1 };
    state.idtr = TableRegister { base: KERNEL + IDT, limit: 0x7ff };
    state.cr0 = 0x8005_0033;
    state.cr3 = DIRECTORY;
    state.cr4 = 0x600;
    state
}

fn set(cpu: &mut CpuState, state: &State) {
    cpu.activity = Activity::Running;
    cpu.cpl = 3;
    cpu.pending_debug = 0;
    cpu.mov_ss_shadow = false;
    cpu.sti_shadow = false;
    cpu.dr[6] = 0xffff_0ff0;
    cpu.gpr[..8].copy_from_slice(&state.gpr);
    cpu.eip = state.eip;
    cpu.eflags = Eflags::from_bits_retain(state.eflags);
    cpu.seg = state.seg.map(segments::register);
    cpu.fpu.control = state.control;
    cpu.fpu.status = state.status;
    cpu.fpu.tag = state.tag;
    (cpu.fpu.opcode, cpu.fpu.ip, cpu.fpu.dp) = (state.last.opcode, state.last.ip, state.last.dp);
    let top = usize::from(cpu.fpu.top());
    for (i, (significand, sign_exponent)) in state.st.into_iter().enumerate() {
        cpu.fpu.r[(top + i) & 7] = F80 { significand, sign_exponent };
    }
    cpu.xmm = state.xmm;
    cpu.mxcsr = state.mxcsr;
}

fn get(cpu: &CpuState) -> State {
    State {
        gpr: cpu.gpr[..8].try_into().expect("eight"),
        eip: cpu.eip,
        eflags: cpu.eflags.bits(),
        seg: cpu.seg.map(|segment| segment.selector),
        control: cpu.fpu.control,
        status: cpu.fpu.status,
        tag: cpu.fpu.tag,
        st: std::array::from_fn(|i| (cpu.fpu.st(i).significand, cpu.fpu.st(i).sign_exponent)),
        xmm: cpu.xmm,
        mxcsr: cpu.mxcsr,
        last: match cpu.fpu.status & SUMMARY {
            0 => LastX87::default(),
            _ => LastX87 { opcode: cpu.fpu.opcode, ip: cpu.fpu.ip, dp: cpu.fpu.dp },
        },
    }
}
