//! The opcode that the FPU keeps of its last non-control instruction, FOP (SDM Vol. 1, "Last
//! Instruction Opcode").

use iced_x86::Instruction;

use crate::decode::is_prefix;

/// Keeps the 11 bits of an x87 instruction's opcode in `insn`, whose encoding is `bytes`, for [`opcode`]: the
/// decoder forgets how a memory operand was encoded. They lie where an immediate would, of which no
/// x87 instruction has one.
#[inline]
pub(crate) fn keep_opcode(insn: &mut Instruction, bytes: &[u8]) {
    let opcode = match *bytes {
        [escape @ 0xd8..=0xdf, modrm, ..] => Some((escape, modrm)),
        [first, ref rest @ ..] if is_prefix(first) => behind_prefixes(rest),
        _ => None,
    };
    if let Some((escape, modrm)) = opcode {
        insn.set_immediate32(u32::from(escape & 7) << 8 | u32::from(modrm));
    }
}

/// The first byte that is no prefix and the one behind it, if the first is an escape to the FPU.
#[cold]
fn behind_prefixes(bytes: &[u8]) -> Option<(u8, u8)> {
    let at = bytes.iter().position(|byte| !is_prefix(*byte))?;
    match bytes[at..] {
        [escape @ 0xd8..=0xdf, modrm, ..] => Some((escape, modrm)),
        _ => None,
    }
}

/// FOP of an x87 instruction: the low three bits of its first byte, and its second.
pub(crate) fn opcode(insn: &Instruction) -> u16 {
    insn.immediate32() as u16 & 0x7ff
}

#[cfg(test)]
mod tests {
    use crate::testing::{CODE, Lab};

    const ENVIRONMENT: u32 = 0x3000;
    const AREA: u32 = 0x4000;

    /// By handlers and by slow functions: instructions, then FNSTENV and FXSAVE; FIP, FOP and FDP of both.
    fn pointers(code: &[u8], count: u64) -> [u32; 6] {
        let mut code = code.to_vec();
        code.extend([0xd9, 0x35, 0, 0x30, 0, 0, 0x0f, 0xae, 0x05, 0, 0x40, 0, 0]);
        let both = [Lab::new(&code), Lab::single_step(&code)].map(|mut lab| {
            lab.cpu.state.cr4 |= 0x200;
            lab.retire(count + 2);
            let word = |at| lab.read_u32(at);
            let environment = [word(ENVIRONMENT + 12), word(ENVIRONMENT + 16) >> 16, word(ENVIRONMENT + 20)];
            let area = [word(AREA + 8), word(AREA + 4) >> 16, word(AREA + 16)];
            [environment[0], environment[1], environment[2], area[0], area[1], area[2]]
        });
        assert_eq!(both[0], both[1], "{code:02x?}");
        both[0]
    }

    #[test]
    fn the_pointers_name_the_last_instruction_and_the_last_operand_in_memory() {
        // FLD1; FLD m64; FADDP
        let code = [0xd9, 0xe8, 0xdd, 0x05, 0, 0x20, 0, 0, 0xde, 0xc1];
        assert_eq!(pointers(&code, 3), [CODE + 8, 0x6c1, 0x2000, CODE + 8, 0x6c1, 0x2000]);
        // FSTP m32, which leaves less to be done by handlers than by slow functions.
        let code = [0xd9, 0xe8, 0xd9, 0x1d, 0, 0x21, 0, 0];
        assert_eq!(pointers(&code, 2), [CODE + 2, 0x11d, 0x2100, CODE + 2, 0x11d, 0x2100]);
        // FFREE is no control instruction, FNCLEX and FNSTCW are.
        let code = [0xd9, 0xe8, 0xdd, 0xc3, 0xdb, 0xe2, 0xd9, 0x3d, 0, 0x22, 0, 0];
        assert_eq!(pointers(&code, 4), [CODE + 2, 0x5c3, 0, CODE + 2, 0x5c3, 0]);
    }

    #[test]
    fn the_opcode_is_that_of_the_bytes_and_prefixes_are_not_part_of_it() {
        // FLD m64 by a SIB byte that nothing needs, and with a segment prefix; FIP is that of the prefix.
        let code = [0x3e, 0xdd, 0x04, 0x25, 0, 0x20, 0, 0];
        assert_eq!(pointers(&code, 1), [CODE, 0x504, 0x2000, CODE, 0x504, 0x2000]);
        // FNINIT forgets.
        let code = [0xd9, 0xe8, 0xdb, 0xe3];
        assert_eq!(pointers(&code, 2), [0; 6]);
    }
}
