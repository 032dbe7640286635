//! Our processor, set up as Linux sets up the host's for a 32-bit process.

use cpu::{
    Activity, Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, F80, IoEffect, IoRead, IoSize, RunRequest,
    SegmentRegister, TableRegister,
};
use memory::{FrameKind, PhysMem};
use x86::{Eflags, PhysAddr, SegReg};

use super::state::{CODE, DATA, DATA_LEN, DATA_PAGES, End, Outcome, State};

const DIRECTORY: u32 = 0x1000;
const KERNEL_TABLE: u32 = 0x2000;
const CODE_TABLE: u32 = 0x3000;
const DATA_TABLE: u32 = 0x4000;
const TSS: u32 = 0x5000;
/// Linear address from which the supervisor sees its frames: only the TSS is there.
const KERNEL: u32 = 0xc000_0000;
const CODE_FRAME: u32 = 0x6000;
const DATA_FRAMES: u32 = 0x8000;
const RAM: u64 = 1 << 20;

/// Nothing is attached.
struct NoBus;

impl Bus for NoBus {
    fn port_in(&mut self, _: u64, _: u16, _: IoSize) -> IoRead {
        IoRead { value: !0, effect: IoEffect::None }
    }
    fn port_out(&mut self, _: u64, _: u16, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn mmio_read(&mut self, _: u64, _: PhysAddr, _: IoSize) -> IoRead {
        IoRead { value: !0, effect: IoEffect::None }
    }
    fn mmio_write(&mut self, _: u64, _: PhysAddr, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn intr(&self) -> bool {
        false
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        0xff
    }
}

/// CPU, memory and engine. There is no IDT, so that every exception is a triple fault that tells which
/// one came first.
pub struct Ours {
    cpu: Cpu,
    mem: PhysMem,
    engine: Engine,
}

impl Ours {
    /// With the page tables of `super::state`'s addresses. `single_step` runs the slow functions alone.
    pub fn new(single_step: bool) -> Ours {
        let mut mem = PhysMem::new().expect("4 GiB of address space");
        mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
        let mut put = |addr: u32, value: u32| mem.write_u32(PhysAddr(addr.into()), value);
        const USER: u32 = 7;
        const USER_READ_ONLY: u32 = 5;
        put(DIRECTORY + (KERNEL >> 22) * 4, KERNEL_TABLE | 3);
        put(DIRECTORY + (CODE >> 22) * 4, CODE_TABLE | USER);
        put(DIRECTORY + (DATA >> 22) * 4, DATA_TABLE | USER);
        put(KERNEL_TABLE + (TSS >> 12) * 4, TSS | 3);
        put(CODE_TABLE, CODE_FRAME | USER_READ_ONLY);
        for page in 0..DATA_PAGES {
            let rights = if page == DATA_PAGES - 1 { USER_READ_ONLY } else { USER };
            put(DATA_TABLE + page * 4, (DATA_FRAMES + page * 4096) | rights);
        }
        put(TSS + 0x64, 0xdfff_0000); // no I/O permission map
        Ours { cpu: Cpu::new(initial()), mem, engine: Engine::new(EngineConfig { single_step }) }
    }

    /// Executes one instruction from `state` and `data`.
    pub fn run(&mut self, instruction: &[u8], state: &State, data: &[u8]) -> Outcome {
        self.mem.write(PhysAddr(CODE_FRAME.into()), &[0xcc; 32]);
        self.mem.write(PhysAddr(CODE_FRAME.into()), instruction);
        self.mem.write(PhysAddr(DATA_FRAMES.into()), data);
        set(&mut self.cpu.state, state);
        let request = RunRequest { budget: 1, now: 0, pass_breakpoint: false };
        let exit = self.engine.run(&mut self.cpu, &mut self.mem, &mut NoBus, request);
        let end = match exit {
            Exit::TripleFault { first } => End::Fault { vector: first.vector.0, code: first.code, addr: first.addr },
            _ => End::Retired,
        };
        let mut after = vec![0; DATA_LEN];
        self.mem.read(PhysAddr(DATA_FRAMES.into()), &mut after);
        Outcome { end, state: get(&self.cpu.state), data: after }
    }
}

fn initial() -> CpuState {
    let mut state = CpuState::multiboot(CpuModel::Max, CODE, 0);
    let flat = |selector, rights| SegmentRegister { base: 0, limit: !0, rights, selector };
    state.seg = [flat(0x2b, 0xc0f3); 6];
    state.seg[SegReg::Cs as usize] = flat(0x23, 0xc0fb);
    let null = SegmentRegister { rights: SegmentRegister::UNUSABLE, ..SegmentRegister::default() };
    state.seg[SegReg::Fs as usize] = null;
    state.seg[SegReg::Gs as usize] = null;
    state.tr = SegmentRegister { base: KERNEL + TSS, limit: 0x67, rights: 0x8b, selector: 0x40 };
    state.ldtr = null;
    state.idtr = TableRegister { base: KERNEL, limit: 0 };
    state.cr0 = 0x8005_0033;
    state.cr3 = DIRECTORY;
    state.cr4 = 0x600;
    state.cpl = 3;
    state
}

fn set(cpu: &mut CpuState, state: &State) {
    cpu.activity = Activity::Running;
    cpu.gpr[..8].copy_from_slice(&state.gpr);
    cpu.eip = state.eip;
    cpu.eflags = Eflags::from_bits_retain(state.eflags);
    cpu.fpu.control = state.control;
    cpu.fpu.status = state.status;
    cpu.fpu.tag = state.tag;
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
        control: cpu.fpu.control,
        status: cpu.fpu.status,
        tag: cpu.fpu.tag,
        st: std::array::from_fn(|i| (cpu.fpu.st(i).significand, cpu.fpu.st(i).sign_exponent)),
        xmm: cpu.xmm,
        mxcsr: cpu.mxcsr,
    }
}
