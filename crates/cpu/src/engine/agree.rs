//! Blocks and single steps give the same state, on random programs.

use x86::PhysAddr;

use crate::{
    Gpr,
    testing::{Draws, Lab},
};

/// A ModRM byte and what follows: a register, or memory that lies in RAM most of the time.
fn modrm(r: &mut Draws, out: &mut Vec<u8>) {
    let reg = r.below(8) as u8;
    modrm_with(r, out, reg);
}

fn modrm_with(r: &mut Draws, out: &mut Vec<u8>, reg: u8) {
    let reg = reg << 3;
    match r.below(8) {
        0..=3 => out.push(0xc0 | reg | r.below(8) as u8),
        4 => {
            // A fixed place, at times at the end of a page.
            out.push(reg | 5);
            let place = if r.below(4) == 0 { 0x4ffd + r.below(3) } else { 0x4000 + r.below(64) };
            out.extend(place.to_le_bytes());
        }
        5 => {
            out.push(0x40 | reg | 3); // [ebx + disp8]; EBX begins in RAM
            out.push(r.below(128) as u8);
        }
        6 => {
            out.extend([0x44 | reg, 0x24]); // [esp + disp8]
            out.push(r.below(64) as u8);
        }
        _ => {
            out.extend([0x84 | reg, (r.below(4) as u8) << 6 | 0x0b]); // [ebx + ecx * scale + disp32]
            out.extend(r.below(0x1000).to_le_bytes());
        }
    }
}

/// One random instruction.
fn instruction(r: &mut Draws, out: &mut Vec<u8>) {
    let prefix = r.below(12) == 0;
    match r.below(26) {
        0..=5 => {
            if prefix {
                out.push(0x66);
            }
            out.push((r.below(8) as u8) << 3 | r.pick(&[0, 1, 2, 3]));
            modrm(r, out);
        }
        6..=7 => {
            out.push(0x83);
            modrm(r, out);
            out.push(r.value() as u8);
        }
        8 => {
            out.push(0x81);
            modrm(r, out);
            out.extend(r.value().to_le_bytes());
        }
        9 => {
            out.push(0x80);
            modrm(r, out);
            out.push(r.value() as u8);
        }
        10 => {
            out.push(r.pick(&[0x88, 0x89, 0x8a, 0x8b, 0x84, 0x85, 0x86, 0x87]));
            modrm(r, out);
        }
        11 => {
            out.push(0xb8 | r.pick(&[0, 1, 2, 6, 7, 5]));
            out.extend(r.value().to_le_bytes());
        }
        12 => out.push(0x40 | r.pick(&[0, 1, 2, 6, 7, 8, 9, 10, 14, 15])),
        13..=14 => {
            out.push(r.pick(&[0xc0, 0xc1, 0xc1]));
            let which = r.below(8) as u8;
            modrm_with(r, out, which);
            out.push(r.below(34) as u8);
        }
        15 => {
            out.push(r.pick(&[0xd0, 0xd1, 0xd2, 0xd3, 0xd3]));
            let which = r.below(8) as u8;
            modrm_with(r, out, which);
        }
        16 => {
            out.extend([0x0f, 0x90 | r.below(16) as u8]);
            modrm(r, out);
        }
        17 => {
            out.extend([0x0f, 0x40 | r.below(16) as u8]);
            modrm(r, out);
        }
        18 => {
            out.extend([
                0x0f,
                r.pick(&[0xb6, 0xb7, 0xbe, 0xbf, 0xaf, 0xbc, 0xbd, 0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xc1, 0xb1]),
            ]);
            modrm(r, out);
        }
        19 => {
            out.extend([0x0f, r.pick(&[0xa4, 0xac])]);
            modrm(r, out);
            out.push(r.below(33) as u8);
        }
        20 => out.push(r.pick(&[
            0x50, 0x51, 0x52, 0x58, 0x59, 0x5a, 0x98, 0x99, 0x9f, 0xf5, 0xf8, 0xf9, 0x90, 0x60, 0x61, 0xfc, 0xfd,
        ])),
        21 => {
            out.push(r.pick(&[0xf6, 0xf7]));
            let which = r.pick(&[2, 3, 4, 5]);
            modrm_with(r, out, which);
        }
        22 => {
            out.push(0x69);
            modrm(r, out);
            out.extend(r.value().to_le_bytes());
        }
        23 => {
            out.push(r.pick(&[0x8d, 0xff]));
            let which = if out.last() == Some(&0xff) { r.below(2) as u8 } else { r.pick(&[0, 1, 2, 6, 7]) };
            let at = out.len();
            modrm_with(r, out, which);
            if out[at - 1] == 0x8d && out[at] >= 0xc0 {
                out.truncate(at - 1); // LEA of a register is no instruction
            }
        }
        24 => out.extend([0x0f, 0xc8 | r.pick(&[0, 1, 2, 6, 7])]),
        _ => out.extend([r.pick(&[0xf3, 0xf2, 0x90]), r.pick(&[0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xae, 0xad])]),
    }
}

/// A loop over random instructions with branches forward, and a call.
fn program(r: &mut Draws) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..4 + r.below(40) {
        if r.below(6) == 0 {
            // Jcc or LOOP over the next instruction.
            let mut skipped = Vec::new();
            instruction(r, &mut skipped);
            let jump = if r.below(8) == 0 { 0xe2 } else { 0x70 | r.below(16) as u8 };
            code.extend([jump, skipped.len() as u8]);
            code.extend(skipped);
        } else {
            instruction(r, &mut code);
        }
    }
    // call next; add esp, 4; jmp start
    code.extend([0xe8, 0, 0, 0, 0, 0x83, 0xc4, 4, 0xe9]);
    let back = (code.len() as u32 + 4).wrapping_neg();
    code.extend(back.to_le_bytes());
    code
}

fn prepare(lab: &mut Lab, seed: u64) {
    let mut r = Draws(seed);
    for reg in [Gpr::Eax, Gpr::Edx, Gpr::Ebp] {
        lab.cpu.state.set_gpr(reg, r.value());
    }
    lab.cpu.state.set_gpr(Gpr::Ecx, r.below(32));
    lab.cpu.state.set_gpr(Gpr::Ebx, 0x4000 + r.below(0x1000));
    lab.cpu.state.set_gpr(Gpr::Esi, 0x5000 + r.below(0x2000));
    lab.cpu.state.set_gpr(Gpr::Edi, 0x5000 + r.below(0x2000));
    for n in 0..0x1000 {
        lab.mem.write_u32(PhysAddr(0x4000 + 4 * n), r.value());
    }
}

#[test]
fn blocks_and_single_steps_give_the_same_state() {
    let mut retired = 0;
    for seed in 1..=250u64 {
        let mut r = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let code = program(&mut r);
        // The second and third time that it is met, a block is another one than the first time.
        let mut labs = [Lab::single_step(&code), Lab::eager(&code), Lab::new(&code)];
        labs.iter_mut().for_each(|lab| prepare(lab, seed));
        for round in 0..6 {
            let budget = u64::from(1 + r.below(200));
            let exits = labs.each_mut().map(|lab| lab.run(budget));
            let [steps, others @ ..] = &labs;
            for (blocks, exit) in others.iter().zip(&exits[1..]) {
                let context = format!("seed {seed} round {round}: {:02x?}", code);
                assert_eq!(*exit, exits[0], "{context}");
                let (a, b) = (&blocks.cpu.state, &steps.cpu.state);
                assert_eq!(a.retired, b.retired, "{context}");
                assert_eq!(a.eip, b.eip, "{context}");
                assert_eq!(a.gpr, b.gpr, "{context}");
                assert_eq!(a.eflags, b.eflags, "{context}");
                assert_eq!(blocks.bus.mmio, steps.bus.mmio, "{context}");
            }
            if !matches!(exits[0], crate::Exit::Budget) {
                break;
            }
        }
        let hashes = labs.each_ref().map(|lab| lab.mem.hash());
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "seed {seed}: {code:02x?}");
        retired += labs[0].cpu.state.retired;
    }
    assert!(retired > 40_000, "most programs must run on: {retired}");
}

#[test]
fn short_repetitions_give_the_same_state_as_single_steps() {
    for seed in 1..=200u64 {
        let mut r = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut code = Vec::new();
        for _ in 0..8 {
            // CLD or STD; places that are near each other, or near a page's end; MOVS or STOS.
            code.push(r.pick(&[0xfc, 0xfd]));
            let near = 0x5000 + r.below(2) * 0xf00 + r.below(0x100);
            for (opcode, value) in [(0xb9, r.below(70)), (0xbe, near), (0xbf, near + r.below(32) - 16)] {
                code.push(opcode);
                code.extend(value.to_le_bytes());
            }
            code.extend([0xf3, r.pick(&[0xa4, 0xa5, 0xaa, 0xab])]);
        }
        code.push(0xe9);
        let back = (code.len() as u32 + 4).wrapping_neg();
        code.extend(back.to_le_bytes());

        let mut labs = [Lab::single_step(&code), Lab::eager(&code)];
        labs.iter_mut().for_each(|lab| prepare(lab, seed));
        for round in 0..20 {
            let budget = u64::from(1 + r.below(150));
            let exits = labs.each_mut().map(|lab| lab.run(budget));
            assert_eq!(exits[0], exits[1], "seed {seed} round {round}: {code:02x?}");
            let [a, b] = labs.each_ref().map(|lab| (lab.cpu.state.retired, lab.cpu.state.eip, lab.cpu.state.gpr));
            assert_eq!(a, b, "seed {seed} round {round}: {code:02x?}");
            let [a, b] = labs.each_ref().map(|lab| lab.mem.hash());
            assert_eq!(a, b, "seed {seed} round {round}: {code:02x?}");
        }
    }
}

#[test]
fn chains_of_handlers_use_no_stack() {
    for seed in 1..=120u64 {
        let mut r = Draws(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let mut code = program(&mut r);
        let end = code.len() - 5;
        // LAHF runs by its slow form, which looks at the depth.
        code.splice(end..end, [0x9f]);
        let back = (code.len() as u32).wrapping_neg();
        let end = code.len();
        code[end - 4..].copy_from_slice(&back.to_le_bytes());
        let mut lab = Lab::new(&code);
        prepare(&mut lab, seed);
        lab.run(100_000);
    }
    let deepest = crate::exec::hot::depth::deepest();
    assert!((1..4096).contains(&deepest), "{deepest} bytes");
}
