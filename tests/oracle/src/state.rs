//! What an unprivileged instruction starts from and what it leaves, on either processor.

use x86::SegReg;

use crate::{
    random::Random,
    segments::{self, FLAT_CODE, FLAT_DATA},
};

/// Linear address of the page with the instruction: user, not writable.
pub const CODE: u32 = 0x1000_0000;
/// Linear address of the data pages; the pages around them are not present.
pub const DATA: u32 = 0x2000_0000;
/// The first two data pages are writable, the last is not.
pub const DATA_PAGES: u32 = 3;
/// Bytes of data.
pub const DATA_LEN: usize = DATA_PAGES as usize * 4096;

/// The registers that an unprivileged instruction sees. The FPU is as FXSAVE lays it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// By encoding: EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
    pub gpr: [u32; 8],
    /// Offset in CS.
    pub eip: u32,
    /// All of it.
    pub eflags: u32,
    /// By encoding: ES, CS, SS, DS, FS, GS.
    pub seg: [u16; 6],
    /// x87 control word.
    pub control: u16,
    /// x87 status word.
    pub status: u16,
    /// Abridged.
    pub tag: u8,
    /// ST(0) first: significand, sign and exponent.
    pub st: [(u64, u16); 8],
    /// XMM0 to XMM7.
    pub xmm: [u128; 8],
    /// MXCSR.
    pub mxcsr: u32,
    /// FOP, FIP and FDP, where every maker's processor tells them: 0 unless an x87 exception is pending.
    pub last: LastX87,
}

/// What the FPU keeps of its last non-control instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastX87 {
    /// FOP: 11 bits of its opcode.
    pub opcode: u16,
    /// FIP: its offset in CS.
    pub ip: u32,
    /// FDP: the offset of its operand in memory, or that of an instruction before it.
    pub dp: u32,
}

/// The x87 status word's summary: an exception is pending that is not masked.
pub const SUMMARY: u16 = 1 << 7;

/// The trap flag: then a debug exception follows the instruction.
pub const TF: u32 = 1 << 8;

/// How the instruction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Retired.
    Retired,
    /// With an exception; `addr` only for #PF.
    Fault {
        /// Number of the exception.
        vector: u8,
        /// Its error code.
        code: u32,
        /// CR2.
        addr: u32,
    },
}

/// One run of one instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How.
    pub end: End,
    /// The registers then.
    pub state: State,
    /// The data then.
    pub data: Vec<u8>,
}

impl State {
    /// Everything 0 but what FNINIT and Linux set.
    pub fn plain() -> State {
        let mut seg = [FLAT_DATA; 6];
        seg[SegReg::Cs as usize] = FLAT_CODE;
        seg[SegReg::Fs as usize] = 0;
        seg[SegReg::Gs as usize] = 0;
        State {
            gpr: [0; 8],
            eip: CODE,
            eflags: 0x202,
            seg,
            control: 0x37f,
            status: 0,
            tag: 0,
            st: [(0, 0); 8],
            xmm: [0; 8],
            mxcsr: 0x1f80,
            last: LastX87::default(),
        }
    }

    /// Whether every segment is as Linux starts a program with it.
    pub fn flat(&self) -> bool {
        self.seg == Self::plain().seg
    }

    /// Whether CS is of 16 bits.
    pub fn bits(&self) -> u32 {
        if segments::register(self.seg[SegReg::Cs as usize]).big() { 32 } else { 16 }
    }

    /// Linear address of the instruction.
    pub fn pc(&self) -> u32 {
        segments::base(self.seg[SegReg::Cs as usize]).wrapping_add(self.eip)
    }

    /// Registers that are often addresses of data, flags, numbers of every class.
    pub fn random(r: &mut Random) -> State {
        let mut state = State {
            gpr: [0; 8].map(|_| gpr(r)),
            eip: CODE,
            eflags: 0x202 | r.bits(32) as u32 & 0x8d5 | if r.one_in(8) { 0x400 } else { 0 },
            seg: Self::plain().seg,
            control: control(r),
            status: (r.bits(3) as u16) << 11 | r.bits(16) as u16 & 0x4700,
            tag: if r.one_in(4) { r.bits(8) as u8 } else { !0 },
            st: [(0, 0); 8].map(|_| extended(r)),
            xmm: [0; 8].map(|_| xmm(r)),
            mxcsr: mxcsr(r),
            last: LastX87::default(),
        };
        if r.one_in(4) {
            state.tag &= r.bits(8) as u8;
        }
        if r.one_in(16) {
            state.status |= r.bits(6) as u16;
        }
        let pending = state.status & !state.control & 0x3f != 0;
        state.status |= if pending { 0x8080 } else { 0 };
        state
    }
}

/// An address of data at which `len` bytes mostly fit, at times at the edge of a page or beyond.
pub fn address(r: &mut Random, len: u32) -> u32 {
    let page = r.below(DATA_PAGES.into()) as u32 * 4096;
    match r.below(16) {
        0 => DATA + r.below(DATA_PAGES as u64 + 1) as u32 * 4096 - r.below(len as u64 + 1) as u32,
        1 => DATA + page + r.below(4096) as u32,
        2 => r.bits(32) as u32,
        3..=8 => DATA + (page & 0x1000) + (r.below(4096 - 64) as u32 & !15),
        _ => DATA + (page & 0x1000) + r.below(4096 - 64) as u32,
    }
}

fn gpr(r: &mut Random) -> u32 {
    match r.below(8) {
        0 => [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, !0][r.below(12) as usize],
        1 => r.bits(8) as u32,
        2 => r.bits(5) as u32,
        3 | 4 => r.bits(32) as u32,
        _ => address(r, 4),
    }
}

fn control(r: &mut Random) -> u16 {
    let masks = if r.one_in(4) { r.bits(6) as u16 } else { 0x3f };
    let precision = [0x000, 0x200, 0x300, 0x300][r.below(4) as usize];
    0x40 | masks | precision | (r.bits(2) as u16) << 10
}

fn mxcsr(r: &mut Random) -> u32 {
    let masks = if r.one_in(4) { (r.bits(6) as u32) << 7 } else { 0x1f80 };
    let modes = if r.one_in(3) { r.bits(32) as u32 & 0x8040 } else { 0 };
    let flags = if r.one_in(4) { r.bits(6) as u32 } else { 0 };
    masks | modes | flags | (r.bits(2) as u32) << 13
}

/// An 80-bit number of any class, often near another's exponent.
fn extended(r: &mut Random) -> (u64, u16) {
    let sign = (r.bits(1) as u16) << 15;
    let integer = 1 << 63;
    match r.below(16) {
        0 => (0, sign),
        1 => (integer, sign | 0x7fff),
        2 => (integer | r.bits(63), sign | 0x7fff),
        3 => (r.bits(63) >> r.below(63), sign),
        4 => (r.bits(64), r.bits(16) as u16),
        5 => (integer, sign | (0x3fff + r.below(4) as u16)),
        6 => (integer | r.bits(8) << 55, sign | (0x3fff + r.below(70) as u16)),
        7 => (integer | r.bits(63), sign | r.below(100) as u16),
        8 => (integer | r.bits(63), sign | (0x7fff - r.below(100) as u16)),
        9 => (integer | r.bits(63), sign | (0x3fff - 1100 + r.below(2200) as u16)),
        _ => (integer | r.bits(63) & (!0 << r.below(63)), sign | (0x3fff - 70 + r.below(140) as u16)),
    }
}

/// Bits, singles, doubles.
pub fn xmm(r: &mut Random) -> u128 {
    let wide = |r: &mut Random| u128::from(r.bits(64)) << 64 | u128::from(r.bits(64));
    match r.below(4) {
        0 => wide(r),
        1 => (0..4).fold(0, |v, _| v << 32 | u128::from(single(r))),
        2 => (0..2).fold(0, |v, _| v << 64 | u128::from(double(r))),
        _ => {
            let edges = [0_u8, 1, 0x7f, 0x80, 0xff];
            (0..16).fold(0, |v, _| v << 8 | u128::from(edges[r.below(5) as usize]))
        }
    }
}

fn single(r: &mut Random) -> u32 {
    let sign = (r.bits(1) as u32) << 31;
    sign | match r.below(12) {
        0 => 0,
        1 => 0x7f80_0000,
        2 => 0x7f80_0000 | r.bits(23) as u32,
        3 => r.bits(23) as u32 >> r.below(22),
        4 => r.bits(31) as u32,
        5 => 0x3f80_0000,
        6 => (0x3f80_0000 + ((r.below(40) as u32) << 23)) | (r.bits(4) as u32) << 19,
        7 => (r.below(30) as u32) << 23 | r.bits(23) as u32,
        8 => (0x7f00_0000 - ((r.below(30) as u32) << 23)) | r.bits(23) as u32,
        _ => (0x3800_0000 + ((r.below(32) as u32) << 23)) | r.bits(23) as u32,
    }
}

fn double(r: &mut Random) -> u64 {
    let sign = r.bits(1) << 63;
    sign | match r.below(12) {
        0 => 0,
        1 => 0x7ff << 52,
        2 => 0x7ff << 52 | r.bits(52),
        3 => r.bits(52) >> r.below(51),
        4 => r.bits(63),
        5 => 0x3ff << 52,
        6 => (0x3ff + r.below(70)) << 52 | r.bits(4) << 48,
        7 => r.below(60) << 52 | r.bits(52),
        8 => (0x7fe - r.below(60)) << 52 | r.bits(52),
        9 => (0x3ff - 150 + r.below(300)) << 52 | r.bits(52),
        _ => (0x3ff - 35 + r.below(70)) << 52 | r.bits(52),
    }
}
