//! The handlers of MMX, SSE and x87 instructions and their slow forms give the same state, on
//! random programs: every register, flag, pointer and byte of memory.

use x86::PhysAddr;

use crate::{
    F80, Gpr, TableRegister,
    testing::{CODE, Lab, Random},
};

/// Where memory operands lie.
const DATA: u32 = 0x4000;
/// Control words that programs load, from here on.
const CONTROLS: u32 = 0x9000;

impl Random {
    fn word(&mut self) -> u32 {
        (self.next() >> 16) as u32
    }

    fn below(&mut self, n: u32) -> u32 {
        self.word() % n
    }

    /// A double: mostly an ordinary one, at times any.
    fn double(&mut self) -> u64 {
        match self.below(12) {
            0 => u64::from(self.word()) << 32 | u64::from(self.word()),
            1 => [0, 1 << 63, 0x7ff0 << 48, 0xfff8 << 48, 1, 0x7ff4 << 48, 0x3ff0 << 48, 0x7fef << 48]
                [self.below(8) as usize],
            2 => f64::from(self.word() as i32 % 1000).to_bits(),
            3 => (f64::from(self.word() as i32 % 64) / 8.0).to_bits(),
            _ => (f64::from(self.word() as i32) / f64::from(1 + self.below(0x10000)) * 1.000_000_1).to_bits(),
        }
    }

    /// Two doubles, four singles, or anything.
    fn xmm(&mut self) -> u128 {
        match self.below(4) {
            0 => (0..4).fold(0, |v, _| v << 32 | u128::from(((f64::from_bits(self.double())) as f32).to_bits())),
            1 => (0..4).fold(0, |v, _| v << 32 | u128::from(self.word())),
            _ => u128::from(self.double()) << 64 | u128::from(self.double()),
        }
    }
}

/// A ModRM byte and what follows: registers, or memory at EBX with or without an index.
fn modrm(r: &mut Random, reg: u8, out: &mut Vec<u8>) {
    let reg = (reg & 7) << 3;
    match r.below(6) {
        0..=2 => out.push(0xc0 | reg | r.below(8) as u8),
        3 => {
            out.push(0x83 | reg); // [ebx + disp32]
            out.extend((r.below(0x3f) * 16).to_le_bytes());
        }
        4 => {
            out.push(0x83 | reg);
            // Any alignment, at times across the end of a page.
            out.extend(if r.below(4) == 0 { 0xff0 + r.below(16) } else { r.below(0x400) }.to_le_bytes());
        }
        _ => {
            out.extend([0x84 | reg, 0xcb]); // [ebx + ecx * 8 + disp32]
            out.extend((r.below(0x3f) * 16).to_le_bytes());
        }
    }
}

/// Opcodes after 0F that are MMX or SSE instructions with ModRM and no immediate.
const SSE: &[u8] = &[
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x50, 0x51, 0x54, 0x55,
    0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e, 0x7f, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7,
    0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
    0xeb, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe,
];
const SSE_IMMEDIATE: &[u8] = &[0x70, 0x70, 0xc2, 0xc2, 0xc4, 0xc5, 0xc6];

fn sse(r: &mut Random, out: &mut Vec<u8>) {
    let prefix = [None, Some(0x66), Some(0xf2), Some(0xf3)][r.below(4) as usize];
    out.extend(prefix);
    out.push(0x0f);
    let reg = r.below(8) as u8;
    match r.below(11) {
        10 => {
            // SSSE3.
            let long = r.below(2) == 0;
            out.extend(if long { [0x3a, 0x0f] } else { [0x38, [0x00, 0x1c, 0x1d, 0x1e][r.below(4) as usize]] });
            modrm(r, reg, out);
            if long {
                out.push(r.below(36) as u8);
            }
        }
        0 => {
            out.push(SSE_IMMEDIATE[r.below(7) as usize]);
            modrm(r, reg, out);
            out.push(r.word() as u8);
        }
        1 => {
            // Shifts by an immediate.
            let opcode = 0x71 + r.below(3) as u8;
            let which = [2, 4, 6, 3, 7][r.below(if opcode == 0x73 { 5 } else { 3 }) as usize];
            out.extend([opcode, 0xc0 | which << 3 | reg, r.below(40) as u8]);
        }
        2..=5 => {
            // Scalar and packed arithmetic.
            out.push([0x10, 0x11, 0x51, 0x58, 0x59, 0x5c, 0x5e, 0x28, 0x2f, 0x5a][r.below(10) as usize]);
            modrm(r, reg, out);
        }
        _ => {
            out.push(SSE[r.below(SSE.len() as u32) as usize]);
            modrm(r, reg, out);
        }
    }
}

fn x87(r: &mut Random, out: &mut Vec<u8>) {
    match r.below(24) {
        // Loads and stores keep the stack from running dry or over.
        0..=3 => {
            out.push([0xd9, 0xdd, 0xdb, 0xdd][r.below(4) as usize]);
            let mut tail = Vec::new();
            while tail.first().is_none_or(|&first| first >= 0xc0) {
                tail.clear();
                modrm(r, 0, &mut tail);
            }
            out.extend(tail);
        }
        4..=5 => {
            out.push([0xd9, 0xdd][r.below(2) as usize]);
            let mut tail = Vec::new();
            while tail.first().is_none_or(|&first| first >= 0xc0) {
                tail.clear();
                modrm(r, 3, &mut tail);
            }
            out.extend(tail);
        }
        6 => out.extend([0xd9, [0xe8, 0xee, 0xe0, 0xe1, 0xe4, 0xfa, 0xfc, 0xc0, 0xc9, 0xca][r.below(10) as usize]]),
        7 => out.extend([0xdf, 0xe0]),
        8 => {
            // FLDCW of one of the common words, or of any.
            out.extend([0xd9, 0x2d]);
            out.extend((CONTROLS + r.below(16) * 2).to_le_bytes());
        }
        9 => {
            out.extend([0x0f, 0xae, 0x15]); // LDMXCSR
            out.extend((CONTROLS + 64 + r.below(8) * 4).to_le_bytes());
        }
        10 => {
            out.extend([0x0f, 0xae, 0x1d]); // STMXCSR
            out.extend((DATA + r.below(64) * 4).to_le_bytes());
        }
        11 if r.below(4) == 0 => out.extend([0xdb, [0xe2, 0xe3][r.below(2) as usize]]),
        12 if r.below(3) == 0 => out.extend([0x0f, 0x77]),
        // FCMOVcc.
        13 => out.extend([[0xda, 0xdb][r.below(2) as usize], 0xc0 | r.below(32) as u8]),
        // FPU arithmetic and comparison of all forms.
        14..=20 => {
            out.push([0xd8, 0xdc, 0xde, 0xda, 0xd8, 0xdc][r.below(6) as usize]);
            let reg = r.below(8) as u8;
            modrm(r, reg, out);
        }
        _ => {
            out.push(0xd8 + r.below(8) as u8);
            let reg = r.below(8) as u8;
            modrm(r, reg, out);
        }
    }
}

fn program(r: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    let kinds = r.below(3);
    for _ in 0..20 + r.below(30) {
        match r.below(8) {
            0 => code.extend([0x0f, 0x90 | r.below(16) as u8, 0xc2]), // SETcc DL
            1 => code.extend([0x01, 0xd0]),                           // ADD EAX, EDX
            n if n % 2 == kinds % 2 && kinds < 2 => sse(r, &mut code),
            n if n % 2 == 0 => sse(r, &mut code),
            _ => x87(r, &mut code),
        }
    }
    // JMP to the start.
    code.push(0xe9);
    let back = (code.len() as u32 + 4).wrapping_neg();
    code.extend(back.to_le_bytes());
    code
}

fn prepare(lab: &mut Lab, seed: u64) {
    let mut r = Random(seed | 1);
    lab.cpu.state.cr4 |= 0x600;
    lab.cpu.state.idtr = TableRegister { base: 0, limit: 0 };
    for reg in [Gpr::Eax, Gpr::Edx, Gpr::Ebp, Gpr::Esi, Gpr::Edi] {
        lab.cpu.state.set_gpr(reg, r.word());
    }
    lab.cpu.state.set_gpr(Gpr::Ebx, DATA);
    lab.cpu.state.set_gpr(Gpr::Ecx, r.below(32) * 2);
    for i in 0..8 {
        lab.cpu.state.xmm[i] = r.xmm();
    }
    let fpu = &mut lab.cpu.state.fpu;
    fpu.tag = r.word() as u8 & r.word() as u8;
    for register in &mut fpu.r {
        *register = F80 { significand: 1 << 63 | u64::from(r.word()) << 31, sign_exponent: 0x3fff + r.below(8) as u16 };
    }
    for n in 0..0x1000 {
        lab.mem.write(PhysAddr(u64::from(DATA) + 8 * n), &r.double().to_le_bytes());
    }
    for n in 0..16 {
        let word = [0x37f, 0x37f, 0x27f, 0xf7f, 0x77f, 0x7f, 0x37f, 0xb7f][n as usize & 7];
        let word = if n == 15 { 0x35f } else { word };
        lab.mem.write(PhysAddr(u64::from(CONTROLS) + 2 * n), &u16::to_le_bytes(word));
    }
    for n in 0..8 {
        let word = [0x1f80, 0x1f80, 0x1fa1, 0x1f80, 0x3f80, 0x9fc0, 0x1f80, 0x1fbf][n as usize];
        lab.mem.write_u32(PhysAddr(u64::from(CONTROLS) + 64 + 4 * n), word);
    }
}

/// Everything that instructions here can change.
fn state(lab: &Lab) -> String {
    let s = &lab.cpu.state;
    format!(
        "eip {:x} retired {} gpr {:x?} eflags {:?}\nmxcsr {:x} xmm {:x?}\nfpu {:x?}\nmemory {:x}",
        s.eip,
        s.retired,
        s.gpr,
        s.eflags,
        s.mxcsr,
        s.xmm,
        s.fpu,
        lab.mem.hash()
    )
}

#[test]
fn float_handlers_and_slow_forms_give_the_same_state() {
    let mut retired = 0;
    for seed in 1..=400_u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let code = program(&mut r);
        let (mut blocks, mut steps) = (Lab::new(&code), Lab::single_step(&code));
        prepare(&mut blocks, seed);
        prepare(&mut steps, seed);
        for round in 0..8 {
            let budget = u64::from(1 + r.below(60));
            let exits = (blocks.run(budget), steps.run(budget));
            let context = || format!("seed {seed} round {round} from {CODE:#x}: {code:02x?}");
            assert_eq!(exits.0, exits.1, "{}", context());
            assert_eq!(state(&blocks), state(&steps), "{}", context());
            // A fault goes nowhere: step over what raised it, and clear what it waits for.
            if exits.0 != crate::Exit::Budget {
                let at = blocks.cpu.state.eip.wrapping_sub(CODE) as usize;
                let Some(rest) = code.get(at..) else { break };
                let len = iced_x86::Decoder::new(32, rest, iced_x86::DecoderOptions::NONE).decode().len() as u32;
                for lab in [&mut blocks, &mut steps] {
                    lab.cpu.state.activity = crate::Activity::Running;
                    lab.cpu.state.fpu.status &= !0x80ff;
                    lab.cpu.state.eip += len;
                }
            }
        }
        retired += blocks.cpu.state.retired;
    }
    assert!(retired > 20_000, "most programs must run on: {retired}");
}

#[test]
fn chains_of_float_handlers_use_no_stack() {
    for seed in 1..=60_u64 {
        let mut r = Random(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1);
        let mut code = program(&mut r);
        // LAHF runs by its slow form, which looks at the depth; then back to the start.
        code.truncate(code.len() - 5);
        code.extend([0x9f, 0xe9]);
        let back = (code.len() as u32 + 4).wrapping_neg();
        code.extend(back.to_le_bytes());
        let mut lab = Lab::new(&code);
        prepare(&mut lab, seed);
        lab.run(100_000);
    }
    let deepest = super::depth::deepest();
    assert!((1..4096).contains(&deepest), "{deepest} bytes");
}
