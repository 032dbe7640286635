//! What the bytes of an instruction mean on a model: iced decodes what any processor ever had, this
//! page takes out what the model lacks.
//!
//! Both tables are made once a model; a block asks them once an instruction, when it is translated.

use std::sync::OnceLock;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderError, DecoderOptions, Instruction};

use crate::{CpuModel, system};

/// BSF and BSR ignore the prefix that makes TZCNT and LZCNT of them where these are missing, and
/// WBINVD the one that makes WBNOINVD of it.
const OPTIONS: u32 = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD | DecoderOptions::NO_WBNOINVD;

/// A decoder of `bytes`, which lie at offset `eip` of a code segment that is `bits` wide (16 or 32).
pub(crate) fn decoder(bits: u32, bytes: &[u8], eip: u32) -> Decoder<'_> {
    Decoder::with_ip(bits, bytes, eip.into(), OPTIONS)
}

/// Makes of `insn` what `model` sees: an instruction of a feature that CPUID does not tell of is UD2, a
/// hint that the model knows nothing of is NOP; both keep their length.
#[inline]
pub(crate) fn recognise(insn: &mut Instruction, model: CpuModel) {
    let code = match meaning(model)[insn.code() as usize] {
        Meaning::Itself => return,
        Meaning::Nothing => Code::Nopd,
        Meaning::Undefined => Code::Ud2,
    };
    *insn = replaced(insn, code);
}

/// Makes UD2 of `insn`, which begins `bytes`, if it is of exactly 15 bytes and none for another reason than its
/// length. The decoder reads no further and tells no difference.
#[inline]
pub(crate) fn not_too_long(insn: &mut Instruction, bits: u32, bytes: &[u8]) {
    let open = insn.is_invalid() && insn.len() == MAX_BYTES && bytes.len() >= MAX_BYTES;
    if open && fits(bits, &bytes[..MAX_BYTES]) {
        *insn = replaced(insn, Code::Ud2);
    }
}

/// The greatest length of an instruction (SDM Vol. 2, "Instruction Format").
pub(crate) const MAX_BYTES: usize = 15;

/// Whether a byte is a legacy prefix (SDM Vol. 2, "Instruction Prefixes").
pub(crate) const fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// Whether these bytes hold a whole instruction: with a prefix less, which so long a one can always spare, the
/// decoder asks for more if not.
fn fits(bits: u32, bytes: &[u8]) -> bool {
    let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte)).count();
    let is_spare = |i: usize| match bytes[i] {
        0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 => true,
        byte @ (0x66 | 0x67) => bytes[..i].contains(&byte),
        // The last one counts.
        0xf2 | 0xf3 => bytes[i + 1..prefixes].iter().any(|next| matches!(next, 0xf2 | 0xf3)),
        _ => false,
    };
    let Some(spare) = (0..prefixes).find(|&i| is_spare(i)) else { return false };
    let shorter = [&bytes[..spare], &bytes[spare + 1..]].concat();
    let mut decoder = decoder(bits, &shorter, 0);
    _ = decoder.decode();
    decoder.last_error() != DecoderError::NoMoreBytes
}

fn replaced(insn: &Instruction, code: Code) -> Instruction {
    let mut other = Instruction::default();
    other.set_code(code);
    other.set_code_size(insn.code_size());
    other.set_len(insn.len());
    other.set_next_ip(insn.next_ip());
    other
}

/// What a model makes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Itself,
    Nothing,
    Undefined,
}

/// By [`Code`].
fn meaning(model: CpuModel) -> &'static [Meaning] {
    static TABLES: [OnceLock<Vec<Meaning>>; 3] = [const { OnceLock::new() }; 3];
    TABLES[model as usize].get_or_init(|| Code::values().map(|code| meaning_of(code, model)).collect())
}

fn meaning_of(code: Code, model: CpuModel) -> Meaning {
    let new_hint = is_new_hint(code);
    if is_hint(code) || new_hint && model != CpuModel::Pentium3 {
        return Meaning::Nothing;
    }
    let features = match code {
        // iced counts it to MMX (SDM Vol. 2, "PADDB/PADDW/PADDD/PADDQ").
        Code::Paddq_mm_mmm64 => &[CpuidFeature::SSE2],
        _ => code.cpuid_features(),
    };
    let known = !new_hint && features.iter().all(|&feature| has(model, feature));
    if known { Meaning::Itself } else { Meaning::Undefined }
}

/// The NOPs with an operand of a 686, 0F 18 to 0F 1F, and what newer processors made of some
/// (SDM Vol. 2, "Opcode Maps"; "NOP"): whoever does not know the hint does nothing.
fn is_hint(code: Code) -> bool {
    use Code as C;
    matches!(
        code,
        C::Endbr32
            | C::Endbr64
            | C::Rdsspd_r32
            | C::Cldemote_m8
            | C::Prefetchnta_m8
            | C::Prefetcht0_m8
            | C::Prefetcht1_m8
            | C::Prefetcht2_m8
            | C::Prefetchit0_m8
            | C::Prefetchit1_m8
    ) || code.cpuid_features().contains(&CpuidFeature::MULTIBYTENOP) && !is_new_hint(code)
}

/// 0F 0D, a NOP since the first processors that have a 64-bit mode too.
fn is_new_hint(code: Code) -> bool {
    let prefetch = |feature: &_| matches!(feature, CpuidFeature::PREFETCHW | CpuidFeature::PREFETCHWT1);
    matches!(code, Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D)
        || code.cpuid_features().iter().any(prefetch)
}

/// Whether the model has what iced calls a feature: as CPUID tells; of what every 686 has it need not.
fn has(model: CpuModel, feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    const EBX: usize = 1;
    const ECX: usize = 2;
    const EDX: usize = 3;
    let (leaf, register, bit) = match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 => return true,
        F::FPU287 | F::FPU387 | F::CPUID | F::PAUSE | F::RDPMC => return true,
        F::FPU => (1, EDX, 0),
        F::TSC => (1, EDX, 4),
        F::MSR => (1, EDX, 5),
        F::CX8 => (1, EDX, 8),
        F::SEP => (1, EDX, 11),
        F::CMOV => (1, EDX, 15),
        F::CLFSH => (1, EDX, 19),
        F::MMX => (1, EDX, 23),
        F::FXSR => (1, EDX, 24),
        F::SSE => (1, EDX, 25),
        F::SSE2 => (1, EDX, 26),
        F::SSE3 => (1, ECX, 0),
        F::SSSE3 => (1, ECX, 9),
        F::SSE4_1 => (1, ECX, 19),
        F::MOVBE => (1, ECX, 22),
        F::POPCNT => (1, ECX, 23),
        F::RDRAND => (1, ECX, 30),
        F::SMAP => (7, EBX, 20),
        F::RDTSCP => (0x8000_0001, EDX, 27),
        _ => return false,
    };
    let answer = |leaf| system::cpuid_answer(model, leaf, 0);
    answer(leaf & 0x8000_0000)[0] >= leaf && answer(leaf)[register] >> bit & 1 != 0
}

#[cfg(test)]
mod tests {
    use iced_x86::Mnemonic;

    use super::*;
    use crate::slow;

    fn as_seen(code: &[u8], eip: u32, model: CpuModel) -> Instruction {
        let mut insn = decoder(32, code, eip).decode();
        recognise(&mut insn, model);
        insn
    }

    fn decoded(code: &[u8], model: CpuModel) -> Instruction {
        let insn = as_seen(code, 0x1000, model);
        assert_eq!((insn.len(), insn.ip32()), (code.len(), 0x1000), "{code:x?}");
        insn
    }

    #[test]
    fn what_is_no_instruction_is_too_long_only_beyond_15_bytes() {
        const ADD: [u8; 6] = [0x81, 0xc5, 0, 0, 0, 0x20];
        for (prefixes, code, length) in [
            (&[0xf0, 0x66][..], &[0x90][..], 15),
            (&[0xf0, 0x3e], &ADD, 15),
            (&[0xf2, 0xf3], &[0xf0, 0x90], 15),
            (&[0xf0, 0x66], &[0x90], 16),
            (&[0xf2, 0xf3], &[0xf0, 0x90], 16),
            (&[0xf0, 0x3e], &ADD, 16),
        ] {
            let fill = prefixes[1];
            let mut bytes = prefixes.to_vec();
            bytes.resize(length - code.len(), fill);
            bytes.extend(code);
            bytes.resize(20, 0x90);
            let mut insn = decoder(32, &bytes, 0).decode();
            not_too_long(&mut insn, 32, &bytes);
            assert_eq!((insn.code() == Code::Ud2, insn.len()), (length == 15, 15), "{bytes:x?}");
        }
    }

    #[test]
    fn an_instruction_is_there_from_the_model_on_that_cpuid_tells_it_of() {
        use CpuModel::{Core2, Max, Pentium3};
        for (code, first) in [
            (&[0x0f, 0x40, 0xc1][..], Some(Pentium3)),     // cmovo eax, ecx
            (&[0xdb, 0xf1], Some(Pentium3)),               // fcomi st, st(1)
            (&[0x0f, 0x58, 0xc1], Some(Pentium3)),         // addps
            (&[0x0f, 0xae, 0xf8], Some(Pentium3)),         // sfence
            (&[0xf3, 0x90], Some(Pentium3)),               // pause
            (&[0x66, 0x0f, 0x58, 0xc1], Some(Core2)),      // addpd
            (&[0x0f, 0xd4, 0xc1], Some(Core2)),            // paddq mm
            (&[0x0f, 0xc3, 0x00], Some(Core2)),            // movnti
            (&[0x0f, 0xae, 0xe8], Some(Core2)),            // lfence
            (&[0x0f, 0xae, 0x38], Some(Core2)),            // clflush
            (&[0xdf, 0x08], Some(Core2)),                  // fisttp
            (&[0xf2, 0x0f, 0xf0, 0x00], Some(Core2)),      // lddqu
            (&[0x0f, 0x38, 0x00, 0xc1], Some(Core2)),      // pshufb mm
            (&[0x66, 0x0f, 0x38, 0x17, 0xc1], Some(Max)),  // ptest
            (&[0xf3, 0x0f, 0xb8, 0xc1], Some(Max)),        // popcnt
            (&[0x0f, 0x38, 0xf0, 0x00], Some(Max)),        // movbe
            (&[0x0f, 0xc7, 0xf0], Some(Max)),              // rdrand eax
            (&[0x0f, 0x01, 0xf9], Some(Max)),              // rdtscp
            (&[0x0f, 0x01, 0xc8], None),                   // monitor
            (&[0xf2, 0x0f, 0x38, 0xf0, 0xc1], None),       // crc32
            (&[0x66, 0x0f, 0x38, 0xdc, 0xc1], None),       // aesenc
            (&[0x0f, 0x38, 0xc8, 0xc1], None),             // sha1nexte
            (&[0x0f, 0x01, 0xd0], None),                   // xgetbv
            (&[0xc5, 0xf8, 0x77], None),                   // vzeroupper
            (&[0x62, 0xf1, 0x7c, 0x48, 0x10, 0xc0], None), // vmovups zmm
            (&[0xc4, 0xe2, 0x78, 0xf2, 0xc1], None),       // andn
            (&[0x66, 0x0f, 0x38, 0xf6, 0xc1], None),       // adcx
            (&[0x0f, 0x05], None),                         // syscall
            (&[0x0f, 0x0f, 0xc0, 0x9e], None),             // pfadd
            (&[0x0f, 0x01, 0xc1], None),                   // vmcall
            (&[0x0f, 0xc7, 0x30], None),                   // vmptrld
            (&[0x0f, 0xc7, 0xf8], None),                   // rdseed
            (&[0xf3, 0x0f, 0xae, 0xc0], None),             // rdfsbase, which has no meaning in 32 bits
            (&[0x0f, 0xae, 0x20], None),                   // xsave
            (&[0xc6, 0xf8, 0x00], None),                   // xabort
            (&[0x66, 0x0f, 0xae, 0x38], None),             // clflushopt
        ] {
            for model in [Pentium3, Core2, Max] {
                let insn = as_seen(code, 0x1000, model);
                let there = !insn.is_invalid() && insn.mnemonic() != Mnemonic::Ud2;
                assert_eq!(there, first.is_some_and(|first| model as u8 >= first as u8), "{code:x?} on {model:?}");
            }
        }
    }

    #[test]
    fn a_prefix_that_the_model_knows_nothing_of_is_ignored() {
        for (code, mnemonic) in [
            (&[0xf3, 0x0f, 0xbc, 0xc1][..], Mnemonic::Bsf),
            (&[0xf3, 0x0f, 0xbd, 0xc1], Mnemonic::Bsr),
            (&[0xf3, 0x0f, 0x09], Mnemonic::Wbinvd),
            (&[0xf3, 0x90], Mnemonic::Pause),
        ] {
            assert_eq!(decoded(code, CpuModel::Max).mnemonic(), mnemonic, "{code:x?}");
        }
    }

    #[test]
    fn hints_do_nothing_whatever_they_will_mean_one_day() {
        let hints = (0x18..=0x1f).flat_map(|opcode| (0..=0xffu8).map(move |modrm| (opcode, modrm)));
        for (opcode, modrm) in hints {
            for prefix in [None, Some(0x66), Some(0xf2), Some(0xf3)] {
                let code: Vec<u8> = prefix.into_iter().chain([0x0f, opcode, modrm]).chain([0; 8]).collect();
                for model in [CpuModel::Pentium3, CpuModel::Max] {
                    let insn = as_seen(&code, 0, model);
                    assert_eq!(insn.mnemonic(), Mnemonic::Nop, "{code:x?} on {model:?}");
                }
            }
        }
        assert_eq!(decoded(&[0x0f, 0x0d, 0x08], CpuModel::Core2).mnemonic(), Mnemonic::Nop);
        assert_eq!(decoded(&[0x0f, 0x0d, 0x08], CpuModel::Pentium3).mnemonic(), Mnemonic::Ud2);
    }

    #[test]
    fn everything_that_the_largest_model_tells_of_is_executed() {
        let operands = (0..8).flat_map(|reg| (0xc0..=0xc7).chain([0, 4]).map(move |rm| rm | reg << 3));
        let operands: Vec<u8> = operands.collect();
        let mut absent = std::collections::BTreeSet::new();
        for prefix in [&[][..], &[0x66], &[0xf2], &[0xf3]] {
            for map in [&[][..], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]] {
                for (opcode, &modrm) in (0..=0xffu8).flat_map(|opcode| operands.iter().map(move |m| (opcode, m))) {
                    let code = [prefix, map, &[opcode, modrm], &[0; 12]].concat();
                    let insn = as_seen(&code, 0, CpuModel::Max);
                    if !insn.is_invalid() && !slow::is_executed(&insn) {
                        absent.insert(insn.code());
                    }
                }
            }
        }
        assert_eq!(absent, [].into());
    }
}
