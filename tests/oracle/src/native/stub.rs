//! The assembly: from 64-bit code to the instruction under test and back.

use std::arch::global_asm;

use super::{EXCHANGE, Exchange, handler};
use crate::state::{LastX87, SUMMARY, State};

/// Linear address of the page of code; the page of registers follows. No operand gets there but by chance.
pub const ADDR: u32 = 0x9e37_6000;
/// Bytes of both.
pub const LEN: u32 = 2 * 4096;
/// Linux's selector of 64-bit user code.
pub const CODE_64: i64 = 0x33;
/// Bytes of the area of FXSAVE.
pub const FXSAVE: usize = 512;

/// The registers that go in and come out, at a fixed address.
#[repr(C, align(64))]
pub struct Area {
    fx: [u8; FXSAVE],
    /// By encoding.
    gpr: [u32; 8],
    eip: u32,
    eflags: u32,
    /// The host's.
    rsp: u64,
    host_mxcsr: u32,
    _reserved: u32,
    /// With what ID the way by signals begins.
    host_flags: u64,
}

const AREA: u32 = ADDR + 4096;
const GPR: u32 = AREA + std::mem::offset_of!(Area, gpr) as u32;
const EIP: u32 = AREA + std::mem::offset_of!(Area, eip) as u32;
const EFLAGS: u32 = AREA + std::mem::offset_of!(Area, eflags) as u32;
const RSP: u32 = AREA + std::mem::offset_of!(Area, rsp) as u32;
const FLAGS: u32 = AREA + std::mem::offset_of!(Area, host_flags) as u32;
const MXCSR: u32 = AREA + std::mem::offset_of!(Area, host_mxcsr) as u32;

global_asm!(
    // Position independent up to its own addresses, which are relative to ADDR, where it is copied.
    ".globl oracle_stub, oracle_stub_end, oracle_stub_slow, oracle_stub_leave, oracle_stub_back, oracle_stub_32",
    "oracle_stub:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov eax, {AREA}",
    "mov [rax + {RSP} - {AREA}], rsp",
    "stmxcsr [rax + {MXCSR} - {AREA}]",
    "fxrstor [rax]",
    "push 0x23",
    "lea rcx, [rip + oracle_stub_32]",
    "push rcx",
    "retfq",
    "oracle_stub_slow:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov eax, {AREA}",
    "mov [rax + {RSP} - {AREA}], rsp",
    "stmxcsr [rax + {MXCSR} - {AREA}]",
    // A signal frame leaves ID alone: what it should be is set here.
    "push [rax + {FLAGS} - {AREA}]",
    "popfq",
    "int3",
    "oracle_stub_back:",
    "mov eax, {AREA}",
    "mov rsp, [rax + {RSP} - {AREA}]",
    "fninit",
    "ldmxcsr [rax + {MXCSR} - {AREA}]",
    "push 0x202",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".code32",
    "oracle_stub_32:",
    "mov esp, {EFLAGS}",
    "popfd",
    "mov eax, [{GPR}]",
    "mov ecx, [{GPR} + 4]",
    "mov edx, [{GPR} + 8]",
    "mov ebx, [{GPR} + 12]",
    "mov esp, [{GPR} + 16]",
    "mov ebp, [{GPR} + 20]",
    "mov esi, [{GPR} + 24]",
    "mov edi, [{GPR} + 28]",
    "jmp [{EIP}]",
    "oracle_stub_leave:",
    "mov [{GPR} + 16], esp",
    "mov esp, {EFLAGS} + 4",
    "pushfd",
    "mov [{GPR}], eax",
    "mov [{GPR} + 4], ecx",
    "mov [{GPR} + 8], edx",
    "mov [{GPR} + 12], ebx",
    "mov [{GPR} + 20], ebp",
    "mov [{GPR} + 24], esi",
    "mov [{GPR} + 28], edi",
    "fxsave [{AREA}]",
    // A far jump to `back` in 64-bit code.
    ".byte 0xea",
    ".long {ADDR} + oracle_stub_back - oracle_stub",
    ".short 0x33",
    ".code64",
    "oracle_stub_end:",
    AREA = const AREA,
    ADDR = const ADDR,
    GPR = const GPR,
    EIP = const EIP,
    EFLAGS = const EFLAGS,
    RSP = const RSP,
    FLAGS = const FLAGS,
    MXCSR = const MXCSR,
);

// The signal handler's first and last instructions. The code under test may have changed FS, whose
// base 64-bit code needs; DS, ES, FS and GS are no part of a signal frame.
global_asm!(
    ".globl oracle_entry",
    "oracle_entry:",
    // AC stays set across the kernel, and nobody aligns anything here.
    "pushfq",
    "and dword ptr [rsp], 0xfffbffff",
    "popfq",
    "lea rax, [rip + {exchange}]",
    "cmp rsp, [rax + {stack}]",
    "jb 2f",
    "cmp rsp, [rax + {stack_end}]",
    "ja 2f",
    "mov [rax + {found}], ds",
    "mov [rax + {found} + 2], es",
    "mov [rax + {found} + 4], fs",
    "mov [rax + {found} + 6], gs",
    "mov rcx, [rax + {fs_base}]",
    "wrfsbase rcx",
    "sub rsp, 8",
    "call {handler}",
    "add rsp, 8",
    "lea rax, [rip + {exchange}]",
    "mov ds, [rax + {load}]",
    "mov es, [rax + {load} + 2]",
    "mov gs, [rax + {load} + 6]",
    "movzx ecx, word ptr [rax + {load} + 4]",
    "mov fs, ecx",
    // Back in 64-bit code: its own base. Phase::Idle is 0.
    "cmp byte ptr [rax + {phase}], 0",
    "jne 3f",
    "mov rcx, [rax + {fs_base}]",
    "wrfsbase rcx",
    "3: ret",
    "2: jmp {handler}",
    exchange = sym EXCHANGE,
    handler = sym handler,
    stack = const std::mem::offset_of!(Exchange, stack),
    stack_end = const std::mem::offset_of!(Exchange, stack_end),
    found = const std::mem::offset_of!(Exchange, found),
    load = const std::mem::offset_of!(Exchange, load),
    fs_base = const std::mem::offset_of!(Exchange, fs_base),
    phase = const std::mem::offset_of!(Exchange, phase),
);

unsafe extern "C" {
    fn oracle_stub();
    fn oracle_stub_end();
    fn oracle_stub_slow();
    fn oracle_stub_leave();
    fn oracle_stub_back();
    #[link_name = "oracle_entry"]
    pub fn entry();
}

/// Where a label of the stub is once it is copied.
fn placed(label: unsafe extern "C" fn()) -> u32 {
    ADDR + (label as usize - oracle_stub as *const () as usize) as u32
}

/// Where all registers are stored.
pub fn leave() -> u32 {
    placed(oracle_stub_leave)
}

/// Where the handler goes back to.
pub fn back() -> u32 {
    placed(oracle_stub_back)
}

/// Copies the code to its page, of which `page` is a writable view.
///
/// # Safety
/// `page` has 4096 bytes.
pub unsafe fn copy_to(page: *mut u8) {
    let len = oracle_stub_end as *const () as usize - oracle_stub as *const () as usize;
    assert!(len <= 4096, "the stub fits its page");
    // SAFETY: the code is that long, and the page longer.
    unsafe { page.copy_from_nonoverlapping((oracle_stub as *const ()).cast(), len) };
}

/// Runs the instruction by the fast way.
///
/// # Safety
/// The pages are mapped, the area is filled, handlers are installed.
pub unsafe fn call_fast() {
    // SAFETY: the caller's.
    unsafe { call(ADDR) };
}

/// Runs it by way of two signals.
///
/// # Safety
/// As [`call_fast`]; the exchange is filled.
pub unsafe fn call_slow() {
    // SAFETY: the caller's.
    unsafe { call(placed(oracle_stub_slow)) };
}

unsafe fn call(addr: u32) {
    // SAFETY: the code at `addr` keeps what the calling convention says, and the red zone is stepped over.
    unsafe {
        std::arch::asm!(
            "sub rsp, 128",
            "call {}",
            "add rsp, 128",
            in(reg) u64::from(addr),
            clobber_abi("C"),
        );
    }
}

impl Area {
    /// Sets what the instruction starts from.
    pub fn put(&mut self, state: &State) {
        to_fx(state, &mut self.fx);
        self.gpr = state.gpr;
        self.eip = state.eip;
        self.eflags = state.eflags;
    }

    /// Sets what a signal frame does not.
    pub fn put_flags(&mut self, state: &State) {
        const ID: u32 = 1 << 21;
        self.host_flags = u64::from(0x202 | state.eflags & ID);
    }

    /// What it left. It went on behind itself; the caller knows where that is.
    pub fn state(&self) -> State {
        let mut state = State { gpr: self.gpr, eip: self.eip, eflags: self.eflags, ..State::plain() };
        of_fx(&self.fx, &mut state);
        state
    }
}

/// Lays x87 and SSE state out for FXRSTOR.
pub fn to_fx(state: &State, fx: &mut [u8; FXSAVE]) {
    let mut put = |at: usize, bytes: &[u8]| fx[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &state.control.to_le_bytes());
    put(2, &state.status.to_le_bytes());
    put(4, &[state.tag, 0]);
    put(6, &[0; 18]);
    put(24, &state.mxcsr.to_le_bytes());
    put(28, &0xffff_u32.to_le_bytes());
    for i in 0..8 {
        put(32 + 16 * i, &state.st[i].0.to_le_bytes());
        put(40 + 16 * i, &u64::from(state.st[i].1).to_le_bytes());
        put(160 + 16 * i, &state.xmm[i].to_le_bytes());
    }
}

/// Reads what FXSAVE has laid out.
pub fn of_fx(fx: &[u8; FXSAVE], state: &mut State) {
    let u16_at = |at: usize| u16::from_le_bytes(fx[at..at + 2].try_into().expect("2 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(fx[at..at + 8].try_into().expect("8 bytes"));
    state.control = u16_at(0);
    state.status = u16_at(2);
    state.tag = fx[4];
    state.st = std::array::from_fn(|i| (u64_at(32 + 16 * i), u16_at(40 + 16 * i)));
    state.xmm = std::array::from_fn(|i| u128::from(u64_at(168 + 16 * i)) << 64 | u128::from(u64_at(160 + 16 * i)));
    state.mxcsr = u64_at(24) as u32;
    state.last = match state.status & SUMMARY {
        0 => LastX87::default(),
        _ => LastX87 { opcode: u16_at(6), ip: u64_at(8) as u32, dp: u64_at(16) as u32 },
    };
}
