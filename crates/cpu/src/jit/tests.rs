//! Host code gives the state that single steps give, wherever a run is cut.

use x86::PhysAddr;

use crate::{
    EngineConfig, Exit, Gpr,
    testing::{CODE, Draws, Lab},
};

/// A register other than ESP, which programs are to keep most of the time.
fn register(r: &mut Draws) -> u8 {
    r.pick(&[0, 1, 2, 3, 5, 6, 7])
}

/// A ModRM byte with memory: in a frame, at a page's end, by an index, or anywhere at all.
fn memory(r: &mut Draws, out: &mut Vec<u8>, reg: u8) {
    let reg = reg << 3;
    match r.below(12) {
        0..=4 => {
            out.extend([0x44 | reg, 0x24, 4 * r.below(12) as u8]); // [esp + disp8]
        }
        5..=7 => {
            out.extend([0x43 | reg, r.next() as u8]); // [ebx + disp8]
        }
        8 => {
            out.push(0x05 | reg);
            out.extend((0x4fe0 + r.below(0x40)).to_le_bytes());
        }
        9 => {
            out.extend([0x84 | reg, (r.below(4) as u8) << 6 | 0x0b]); // [ebx + ecx * scale + disp32]
            out.extend(r.below(0x800).to_le_bytes());
        }
        10 => out.extend([0x46 | reg, r.below(128) as u8]), // [esi + disp8]
        _ => out.extend([0x45 | reg, r.below(128) as u8]),  // [ebp + disp8], whatever is there
    }
}

fn operand(r: &mut Draws, out: &mut Vec<u8>, reg: u8) {
    if r.below(2) == 0 {
        out.push(0xc0 | reg << 3 | register(r));
    } else {
        memory(r, out, reg);
    }
}

/// A shift or rotation: of a register or of memory, by a constant or by CL, of two registers.
fn shift(r: &mut Draws, out: &mut Vec<u8>, reg: u8) {
    let operation = r.pick(&[0, 1, 4, 5, 7]);
    match r.below(6) {
        0 => {
            out.push(0xc1);
            memory(r, out, operation);
            out.push(r.below(34) as u8);
        }
        1 => out.extend([0xd3, 0xc0 | operation << 3 | reg]),
        2 => {
            out.extend([0x0f, r.pick(&[0xa4, 0xac]), 0xc0 | register(r) << 3 | reg]);
            out.push(r.below(34) as u8);
        }
        3 => out.extend([0x0f, r.pick(&[0xa5, 0xad]), 0xc0 | register(r) << 3 | reg]),
        _ => out.extend([0xc1, 0xc0 | operation << 3 | reg, r.below(34) as u8]),
    }
}

/// A jump or call by memory that leads behind it, or into nowhere if what comes between the two parts fails.
fn by_memory(r: &mut Draws, code: &mut Vec<u8>, skipped: u32) {
    // At times across the end of a page.
    let place = [0x4f80u32, 0x4f84, 0x5ffe][r.below(3) as usize];
    let target = CODE + code.len() as u32 + 10 + 6 + skipped;
    code.extend([0xc7, 0x05]);
    code.extend(place.to_le_bytes());
    code.extend(target.to_le_bytes());
    code.extend([0xff, r.pick(&[0x25, 0x15])]);
    code.extend(place.to_le_bytes());
}

/// An instruction of those that host code is made for.
fn instruction(r: &mut Draws, out: &mut Vec<u8>) {
    let reg = register(r);
    match r.below(24) {
        0..=2 => {
            out.push(r.pick(&[0x89, 0x8b, 0x8b, 0x88, 0x8a]));
            operand(r, out, reg);
        }
        3..=7 => {
            // ADD to CMP, both ways, of 32 and 8 bits.
            let width = r.pick(&[1, 1, 1, 0]);
            out.push((r.below(8) as u8) << 3 | r.pick(&[0, 2]) | width);
            operand(r, out, reg);
        }
        8..=9 => {
            out.push(r.pick(&[0x83, 0x83, 0x80]));
            let operation = r.below(8) as u8;
            operand(r, out, operation);
            out.push(r.value() as u8);
        }
        10 => {
            if r.below(4) == 0 {
                out.extend([0x66, 0x81]);
                operand(r, out, 7); // CMP of 16 bits
                out.extend((r.value() as u16).to_le_bytes());
            } else {
                out.push(0x81);
                let operation = r.below(8) as u8;
                operand(r, out, operation);
                out.extend(r.value().to_le_bytes());
            }
        }
        11 => {
            out.push(r.pick(&[0x84, 0x85]));
            operand(r, out, reg);
        }
        12 => {
            out.push(0xb8 | reg);
            out.extend(r.value().to_le_bytes());
        }
        13 => out.push(r.pick(&[0x40, 0x48]) | reg),
        14 => {
            out.push(0xff);
            let down = r.below(2) as u8;
            memory(r, out, down);
        }
        15 => shift(r, out, reg),
        16 => match r.below(4) {
            0 => {
                out.push(0xf7);
                let operation = r.pick(&[4, 5]); // MUL, IMUL
                operand(r, out, operation);
            }
            1 => out.extend([0x0f, r.pick(&[0xbc, 0xbd]), 0xc0 | reg << 3 | register(r)]),
            2 => out.extend([0x0f, 0xc8 | reg]),
            _ => out.extend([0xf7, 0xc0 | r.pick(&[2, 3]) << 3 | reg]),
        },
        17 => {
            if r.below(2) == 0 {
                out.extend([0x0f, 0xaf]);
                operand(r, out, reg);
            } else {
                out.push(0x6b);
                operand(r, out, reg);
                out.push(r.value() as u8);
            }
        }
        18 => {
            out.extend([0x0f, r.pick(&[0xb6, 0xb7, 0xbe, 0xbf])]);
            operand(r, out, reg);
        }
        19 => {
            out.push(0x8d);
            memory(r, out, reg);
        }
        20 => {
            out.extend([0x0f, 0x90 | r.below(16) as u8, 0xc0 | reg]);
        }
        21 => match r.below(4) {
            0 => {
                out.push(r.pick(&[0x86, 0x87, 0x87]));
                operand(r, out, reg);
            }
            // What is in memory already.
            1 => out.extend([0x89, 0x44 | reg << 3, 0x24, 8, 0x87, 0x44 | reg << 3, 0x24, 8]),
            _ => {
                out.extend([0x0f, 0x40 | r.below(16) as u8]);
                operand(r, out, reg);
            }
        },
        22 => match r.below(5) {
            4 => {
                out.push(0xff);
                memory(r, out, 6); // PUSH
            }
            0 => out.extend([0x6a, r.value() as u8]),
            1 => out.push(0x50 | r.below(8) as u8),
            2 => out.push(0x58 | reg),
            _ => out.extend([0x50 | r.below(8) as u8, 0x50 | reg, 0x58 | reg]),
        },
        _ => match r.below(12) {
            0 => out.extend([0x8b, 0xec]), // mov ebp, esp
            1 => out.extend([0x89, 0xe5, 0xc9]),
            2 => out.extend([0x54, 0x5c]), // push esp, pop esp
            3 => out.extend([0x87, 0x04, 0x24]),
            _ => out.push(r.pick(&[0x90, 0x98, 0x99])),
        },
    }
}

/// Blocks that end with a branch, a call or a jump, in a loop.
fn program(r: &mut Draws) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..2 + r.below(6) {
        for _ in 0..1 + r.below(12) {
            instruction(r, &mut code);
        }
        let mut skipped = Vec::new();
        for _ in 0..r.below(4) {
            instruction(r, &mut skipped);
        }
        match r.below(7) {
            0 => code.extend([0xeb, skipped.len() as u8]),
            3 => by_memory(r, &mut code, skipped.len() as u32),
            1 => code.extend([0xe8, 0, 0, 0, 0]), // its return address stays on the stack
            2 => {
                // call over a function: jmp behind it; the function returns
                code.extend([0xe8, 2, 0, 0, 0, 0xeb, skipped.len() as u8 + 1]);
                code.extend(&skipped);
                code.push(0xc3);
                skipped.clear();
            }
            _ => code.extend([0x70 | r.below(16) as u8, skipped.len() as u8]),
        }
        code.extend(skipped);
    }
    code.push(0xe9);
    let back = (code.len() as u32 + 4).wrapping_neg();
    code.extend(back.to_le_bytes());
    code
}

fn prepare(lab: &mut Lab, seed: u64) {
    let mut r = Draws(seed);
    for reg in [Gpr::Eax, Gpr::Edx, Gpr::Edi] {
        lab.cpu.state.set_gpr(reg, r.value());
    }
    lab.cpu.state.set_gpr(Gpr::Ecx, r.below(32));
    lab.cpu.state.set_gpr(Gpr::Ebx, 0x4f00 + r.below(0x200));
    lab.cpu.state.set_gpr(Gpr::Ebp, 0x5000 + r.below(0x1000));
    lab.cpu.state.set_gpr(Gpr::Esi, 0x5000 + r.below(0x2000));
    // At times a page ends within the stack's frames.
    lab.cpu.state.set_gpr(Gpr::Esp, if r.below(2) == 0 { 0x7000 - r.below(0x30) } else { 0x7800 });
    for n in 0..0x1000 {
        lab.mem.write_u32(PhysAddr(0x4000 + 4 * n), r.value());
    }
}

#[test]
fn host_code_and_single_steps_give_the_same_state() {
    let (mut retired, mut compiled) = (0, 0);
    for seed in 1..=700u64 {
        let mut r = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let code = program(&mut r);
        let mut labs = [Lab::single_step(&code), Lab::eager(&code), Lab::interpreted(&code)];
        labs.iter_mut().for_each(|lab| prepare(lab, seed));
        for round in 0..12 {
            let budget = u64::from(1 + r.below(if round < 6 { 40 } else { 300 }));
            let exits = labs.each_mut().map(|lab| lab.run(budget));
            let [steps, others @ ..] = &labs;
            for (which, (other, exit)) in others.iter().zip(&exits[1..]).enumerate() {
                let context = format!("seed {seed} round {round} engine {which}: {code:02x?}");
                assert_eq!(*exit, exits[0], "{context}");
                let (a, b) = (&other.cpu.state, &steps.cpu.state);
                assert_eq!((a.retired, a.eip), (b.retired, b.eip), "{context}");
                assert_eq!(a.gpr, b.gpr, "{context}");
                assert_eq!(a.eflags, b.eflags, "{context}");
                assert_eq!(other.cpu.pauses_left(), steps.cpu.pauses_left(), "{context}");
                assert_eq!(other.bus.mmio, steps.bus.mmio, "{context}");
            }
            if !matches!(exits[0], Exit::Budget) {
                break;
            }
        }
        let hashes = labs.each_ref().map(|lab| lab.mem.hash());
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "seed {seed}: {code:02x?}");
        retired += labs[0].cpu.state.retired;
        compiled += labs[1].engine.stats().compiled;
        assert_eq!(labs[2].engine.stats().compiled, 0, "the last one makes no host code");
    }
    assert!(retired > 300_000, "most programs must run on: {retired}");
    assert!(compiled > 3_000, "most blocks have host code: {compiled}");
}

#[test]
fn code_gives_way_to_other_code_when_its_memory_is_full() {
    // A long chain of blocks, each jumped over by the next; the memory is made small by filling it.
    let mut code = Vec::new();
    for n in 0..200u8 {
        code.extend([0x83, 0xc0, n, 0x31, 0xc2, 0xeb, 0]); // add eax, n; xor edx, eax; jmp next
    }
    code.push(0xe9);
    let back = (code.len() as u32 + 4).wrapping_neg();
    code.extend(back.to_le_bytes());
    let mut labs = [Lab::single_step(&code), Lab::eager(&code)];
    labs[1].engine.leave_room_for_host_code(3 << 10);
    for lab in &mut labs {
        lab.retire(5_000);
    }
    let [a, b] = labs.each_ref().map(|lab| lab.cpu.state.gpr);
    assert_eq!(a, b);
    assert!(labs[1].engine.stats().discarded > 100, "what was there gave way: {:?}", labs[1].engine.stats());
}

#[test]
fn an_engine_without_host_code_makes_none() {
    for config in [
        EngineConfig { interpreted: true, eager: true, ..EngineConfig::default() },
        EngineConfig { single_step: true, ..EngineConfig::default() },
        EngineConfig { uncached: true, ..EngineConfig::default() },
    ] {
        let mut lab = Lab::with_config(&[0x40, 0x40, 0x40, 0xeb, 0xfb], config);
        lab.retire(100);
        assert_eq!(lab.engine.stats().compiled, 0);
        assert_eq!(lab.gpr(Gpr::Eax), 75);
    }
}
