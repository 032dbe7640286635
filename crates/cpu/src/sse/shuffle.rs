//! Shuffles, packs, unpacks, inserts, extracts, blends, widenings.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::{
    access::{Align, check_mmx, check_sse, is_mm, mm, read_narrow, read32, read64, store, with_low64, xmm_operand},
    integer::packed,
    lanes::{
        bytes, dwords, from_bytes, from_dwords, from_qwords, from_words, qwords, saturate_i8, saturate_i16,
        saturate_u8, saturate_u16, words,
    },
};
use crate::{
    Cpu, Exception, operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Punpcklbw => |c, i| unpack_low(c, i, interleave8),
        Mnemonic::Punpcklwd => |c, i| unpack_low(c, i, interleave16),
        Mnemonic::Punpckldq => |c, i| unpack_low(c, i, interleave32),
        Mnemonic::Punpcklqdq | Mnemonic::Unpcklpd => |c, i| packed(c, i, interleave64),
        Mnemonic::Unpcklps => |c, i| packed(c, i, interleave32),
        Mnemonic::Punpckhbw => |c, i| unpack_high(c, i, interleave8),
        Mnemonic::Punpckhwd => |c, i| unpack_high(c, i, interleave16),
        Mnemonic::Punpckhdq | Mnemonic::Unpckhps => |c, i| unpack_high(c, i, interleave32),
        Mnemonic::Punpckhqdq | Mnemonic::Unpckhpd => |c, i| unpack_high(c, i, interleave64),
        Mnemonic::Packsswb => |c, i| pack(c, i, |v| pack16(v, saturate_i8)),
        Mnemonic::Packuswb => |c, i| pack(c, i, |v| pack16(v, saturate_u8)),
        Mnemonic::Packssdw => |c, i| pack(c, i, |v| pack32(v, saturate_i16)),
        Mnemonic::Packusdw => |c, i| pack(c, i, |v| pack32(v, saturate_u16)),
        Mnemonic::Pshufd => |c, i| packed_imm(c, i, |_, s, imm| choose32(s, s, imm)),
        Mnemonic::Shufps => |c, i| packed_imm(c, i, choose32),
        Mnemonic::Shufpd => |c, i| {
            packed_imm(c, i, |d, s, imm| {
                from_qwords([qwords(d)[usize::from(imm & 1)], qwords(s)[usize::from(imm >> 1 & 1)]])
            })
        },
        Mnemonic::Pshufw => pshufw,
        Mnemonic::Pshuflw => |c, i| packed_imm(c, i, |_, s, imm| with_low64(s, choose16(s as u64, imm))),
        Mnemonic::Pshufhw => |c, i| {
            packed_imm(c, i, |_, s, imm| u128::from(choose16((s >> 64) as u64, imm)) << 64 | u128::from(s as u64))
        },
        Mnemonic::Pshufb => pshufb,
        Mnemonic::Palignr => palignr,
        Mnemonic::Pinsrw => pinsrw,
        Mnemonic::Pextrw => pextrw,
        Mnemonic::Movddup => movddup,
        Mnemonic::Movshdup => |c, i| packed(c, i, |_, s| choose32(s, s, 0b11_11_01_01)),
        Mnemonic::Movsldup => |c, i| packed(c, i, |_, s| choose32(s, s, 0b10_10_00_00)),
        _ => return lookup_sse41(insn),
    };
    Some(slow)
}

fn lookup_sse41(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Pblendw => |c, i| packed_imm(c, i, |d, s, imm| blend(d, s, 16, imm)),
        Mnemonic::Blendps => |c, i| packed_imm(c, i, |d, s, imm| blend(d, s, 32, imm & 15)),
        Mnemonic::Blendpd => |c, i| packed_imm(c, i, |d, s, imm| blend(d, s, 64, imm & 3)),
        Mnemonic::Pblendvb => |c, i| blend_by_xmm0(c, i, 8),
        Mnemonic::Blendvps => |c, i| blend_by_xmm0(c, i, 32),
        Mnemonic::Blendvpd => |c, i| blend_by_xmm0(c, i, 64),
        Mnemonic::Pmovsxbw => |c, i| widen::<8>(c, i, |v| from_words(std::array::from_fn(|n| sx8(v, n) as u16))),
        Mnemonic::Pmovsxbd => |c, i| widen::<4>(c, i, |v| from_dwords(std::array::from_fn(|n| sx8(v, n) as u32))),
        Mnemonic::Pmovsxbq => |c, i| widen::<2>(c, i, |v| from_qwords(std::array::from_fn(|n| sx8(v, n) as u64))),
        Mnemonic::Pmovsxwd => |c, i| widen::<8>(c, i, |v| from_dwords(std::array::from_fn(|n| sx16(v, n) as u32))),
        Mnemonic::Pmovsxwq => |c, i| widen::<4>(c, i, |v| from_qwords(std::array::from_fn(|n| sx16(v, n) as u64))),
        Mnemonic::Pmovsxdq => {
            |c, i| widen::<8>(c, i, |v| from_qwords(std::array::from_fn(|n| dwords(v)[n] as i32 as i64 as u64)))
        }
        Mnemonic::Pmovzxbw => |c, i| widen::<8>(c, i, |v| from_words(std::array::from_fn(|n| bytes(v)[n].into()))),
        Mnemonic::Pmovzxbd => |c, i| widen::<4>(c, i, |v| from_dwords(std::array::from_fn(|n| bytes(v)[n].into()))),
        Mnemonic::Pmovzxbq => |c, i| widen::<2>(c, i, |v| from_qwords(std::array::from_fn(|n| bytes(v)[n].into()))),
        Mnemonic::Pmovzxwd => |c, i| widen::<8>(c, i, |v| from_dwords(std::array::from_fn(|n| words(v)[n].into()))),
        Mnemonic::Pmovzxwq => |c, i| widen::<4>(c, i, |v| from_qwords(std::array::from_fn(|n| words(v)[n].into()))),
        Mnemonic::Pmovzxdq => |c, i| widen::<8>(c, i, |v| from_qwords(std::array::from_fn(|n| dwords(v)[n].into()))),
        Mnemonic::Pinsrb => pinsrb,
        Mnemonic::Pinsrd => pinsrd,
        Mnemonic::Pextrb => pextrb,
        Mnemonic::Pextrd | Mnemonic::Extractps => pextrd,
        Mnemonic::Insertps => insertps,
        Mnemonic::Mpsadbw => |c, i| packed_imm(c, i, mpsadbw),
        _ => return None,
    };
    Some(slow)
}

/// `dst = f(dst, src, imm8)` on XMM registers.
fn packed_imm(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u128, u128, u8) -> u128) -> Result<Flow, Exception> {
    let imm = insn.immediate8();
    packed(cpu, insn, |d, s| f(d, s, imm))
}

/// Lanes of the low halves, alternating.
fn interleave8(d: u128, s: u128) -> u128 {
    let (d, s) = (bytes(d), bytes(s));
    from_bytes(std::array::from_fn(|i| if i % 2 == 0 { d[i / 2] } else { s[i / 2] }))
}

fn interleave16(d: u128, s: u128) -> u128 {
    let (d, s) = (words(d), words(s));
    from_words(std::array::from_fn(|i| if i % 2 == 0 { d[i / 2] } else { s[i / 2] }))
}

fn interleave32(d: u128, s: u128) -> u128 {
    let (d, s) = (dwords(d), dwords(s));
    from_dwords([d[0], s[0], d[1], s[1]])
}

fn interleave64(d: u128, s: u128) -> u128 {
    with_low64(s << 64, d as u64)
}

/// PUNPCKL*; the MMX forms read only 4 bytes of memory.
fn unpack_low(cpu: &mut Cpu, insn: &Instruction, interleave: impl Fn(u128, u128) -> u128) -> Result<Flow, Exception> {
    if !is_mm(insn, 0) {
        return packed(cpu, insn, interleave);
    }
    check_mmx(cpu)?;
    let src = read32(cpu, insn, 1)?;
    let reg = mm(insn.op0_register());
    let dst = cpu.state.fpu.mmx(reg);
    cpu.state.fpu.set_mmx(reg, interleave(dst.into(), src.into()) as u64);
    Ok(Flow::Next)
}

fn unpack_high(cpu: &mut Cpu, insn: &Instruction, interleave: impl Fn(u128, u128) -> u128) -> Result<Flow, Exception> {
    let half = if is_mm(insn, 0) { 32 } else { 64 };
    packed(cpu, insn, |d, s| interleave(d >> half, s >> half))
}

/// `narrow` halves a whole register into its low half; those of destination and source are joined.
fn pack(cpu: &mut Cpu, insn: &Instruction, narrow: impl Fn(u128) -> u64) -> Result<Flow, Exception> {
    if is_mm(insn, 0) {
        packed(cpu, insn, |d, s| narrow(d | s << 64).into())
    } else {
        packed(cpu, insn, |d, s| from_qwords([narrow(d), narrow(s)]))
    }
}

fn pack16(v: u128, saturate: impl Fn(i32) -> u8) -> u64 {
    u64::from_le_bytes(words(v).map(|w| saturate(i32::from(w as i16))))
}

fn pack32(v: u128, saturate: impl Fn(i32) -> u16) -> u64 {
    dwords(v).iter().rev().fold(0, |sum, &d| sum << 16 | u64::from(saturate(d as i32)))
}

/// Two doublewords of `low`, then two of `high`, each chosen by two bits.
fn choose32(low: u128, high: u128, imm: u8) -> u128 {
    let at = |v: u128, n: u32| dwords(v)[usize::from(imm >> (2 * n) & 3)];
    from_dwords([at(low, 0), at(low, 1), at(high, 2), at(high, 3)])
}

/// Four words of `v`, each chosen by two bits.
fn choose16(v: u64, imm: u8) -> u64 {
    (0..4).map(|n| (v >> (16 * (imm >> (2 * n) & 3)) & 0xffff) << (16 * n)).sum()
}

fn pshufw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    packed_imm(cpu, insn, |_, s, imm| choose16(s as u64, imm).into())
}

fn pshufb(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let lanes = if is_mm(insn, 0) { 7 } else { 15 };
    packed(cpu, insn, |d, s| {
        let d = bytes(d);
        from_bytes(bytes(s).map(|choice| if choice & 0x80 != 0 { 0 } else { d[usize::from(choice & lanes)] }))
    })
}

/// `dst:src` shifted right by bytes.
fn palignr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let shift = u32::from(insn.immediate8()) * 8;
    if is_mm(insn, 0) {
        return packed(cpu, insn, |d, s| (d << 64 | s).checked_shr(shift).unwrap_or(0));
    }
    packed(cpu, insn, |d, s| match shift {
        0 => s,
        1..128 => s >> shift | d << (128 - shift),
        _ => d.checked_shr(shift - 128).unwrap_or(0),
    })
}

/// Replaces lane `index` of `bits` bits.
fn with_lane(v: u128, bits: u32, index: u32, lane: u32) -> u128 {
    let mask = (1u128 << bits) - 1;
    v & !(mask << (index * bits)) | (u128::from(lane) & mask) << (index * bits)
}

fn pinsrw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let index = u32::from(insn.immediate8());
    if is_mm(insn, 0) {
        check_mmx(cpu)?;
        let word = read_narrow::<2>(cpu, insn, 1)?;
        let reg = mm(insn.op0_register());
        let value = with_lane(cpu.state.fpu.mmx(reg).into(), 16, index & 3, word);
        cpu.state.fpu.set_mmx(reg, value as u64);
        return Ok(Flow::Next);
    }
    insert::<2>(cpu, insn, index & 7)
}

fn pinsrb(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    insert::<1>(cpu, insn, u32::from(insn.immediate8()) & 15)
}

fn pinsrd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    insert::<4>(cpu, insn, u32::from(insn.immediate8()) & 3)
}

/// A lane of `N` bytes from a general-purpose register or memory.
fn insert<const N: usize>(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let lane = read_narrow::<N>(cpu, insn, 1)?;
    let dst = xmm_operand(cpu, insn, 0);
    *dst = with_lane(*dst, 8 * N as u32, index, lane);
    Ok(Flow::Next)
}

fn pextrw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let index = u32::from(insn.immediate8());
    if is_mm(insn, 1) {
        check_mmx(cpu)?;
        let value = read64(cpu, insn, 1)? >> (16 * (index & 3)) & 0xffff;
        cpu.state.fpu.enter_mmx();
        operand::write_reg(cpu, insn.op0_register(), value as u32);
        return Ok(Flow::Next);
    }
    extract::<2>(cpu, insn, index & 7)
}

fn pextrb(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    extract::<1>(cpu, insn, u32::from(insn.immediate8()) & 15)
}

fn pextrd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    extract::<4>(cpu, insn, u32::from(insn.immediate8()) & 3)
}

/// A lane of `N` bytes to memory, or zero-extended to a general-purpose register.
fn extract<const N: usize>(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let bits = 8 * N as u32;
    let lane = *xmm_operand(cpu, insn, 1) >> (index * bits) & ((1 << bits) - 1);
    if insn.op0_kind() == OpKind::Memory {
        store::<N>(cpu, insn, lane, Align::Any)?;
    } else {
        operand::write_reg(cpu, insn.op0_register(), lane as u32);
    }
    Ok(Flow::Next)
}

/// A doubleword of the source to a doubleword of the destination, then zeros by mask. From memory
/// there is only one to choose.
fn insertps(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let imm = u32::from(insn.immediate8());
    let lane = if insn.op1_kind() == OpKind::Register {
        dwords(*xmm_operand(cpu, insn, 1))[(imm >> 6) as usize]
    } else {
        read32(cpu, insn, 1)?
    };
    let dst = xmm_operand(cpu, insn, 0);
    let inserted = dwords(with_lane(*dst, 32, imm >> 4 & 3, lane));
    *dst = from_dwords(std::array::from_fn(|i| if imm >> i & 1 != 0 { 0 } else { inserted[i] }));
    Ok(Flow::Next)
}

fn movddup(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = read64(cpu, insn, 1)?;
    *xmm_operand(cpu, insn, 0) = from_qwords([value; 2]);
    Ok(Flow::Next)
}

/// Lanes of `bits` bits from `s` where the mask has a bit, else from `d`.
fn blend(d: u128, s: u128, bits: u32, mask: u8) -> u128 {
    let lane = (1u128 << bits) - 1;
    (0..128 / bits).filter(|i| mask >> i & 1 != 0).fold(d, |v, i| v & !(lane << (i * bits)) | s & lane << (i * bits))
}

/// Lanes of `bits` bits from the source where XMM0's lane is negative.
fn blend_by_xmm0(cpu: &mut Cpu, insn: &Instruction, bits: u32) -> Result<Flow, Exception> {
    let choice = cpu.state.xmm[0];
    let lane = (1u128 << bits) - 1;
    packed(cpu, insn, |d, s| {
        (0..128 / bits)
            .map(|i| i * bits)
            .fold(0, |v, at| v | if choice >> (at + bits - 1) & 1 != 0 { s } else { d } & lane << at)
    })
}

/// `f` of `N` bytes.
fn widen<const N: usize>(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u128) -> u128) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = match N {
        8 => u128::from(read64(cpu, insn, 1)?),
        4 => u128::from(read32(cpu, insn, 1)?),
        _ => u128::from(read_narrow::<2>(cpu, insn, 1)?),
    };
    *xmm_operand(cpu, insn, 0) = f(src);
    Ok(Flow::Next)
}

fn sx8(v: u128, index: usize) -> i64 {
    i64::from(bytes(v)[index] as i8)
}

fn sx16(v: u128, index: usize) -> i64 {
    i64::from(words(v)[index] as i16)
}

/// Eight sums of absolute differences of 4 bytes of the source with a sliding window of the destination.
fn mpsadbw(d: u128, s: u128, imm: u8) -> u128 {
    let (d, s) = (bytes(d), bytes(s));
    let (window, block) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
    from_words(std::array::from_fn(|i| (0..4).map(|k| u16::from(d[window + i + k].abs_diff(s[block + k]))).sum()))
}
