//! Packed integer arithmetic of MMX, SSE, SSE2, SSSE3 and SSE4.1: one body for each
//! operation, on MMX and XMM registers alike.

use iced_x86::{Instruction, Mnemonic};
use x86::Eflags;

use super::{
    access::{Align, check_mmx, check_sse, is_mm, mm, read64, read128, xmm_operand},
    lanes::{
        bytes, dwords, from_dwords, from_qwords, from_words, mask8, mask16, mask32, mask64, saturate_i16, words, zip8,
        zip16, zip32, zip64,
    },
};
use crate::{
    Cpu, Exception,
    alu::Flags,
    slow::{Flow, Slow},
};

/// `dst = f(dst, src)`. An MMX operand is the low half of the lanes that `f` sees.
pub(super) fn packed(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u128, u128) -> u128) -> Result<Flow, Exception> {
    if is_mm(insn, 0) {
        check_mmx(cpu)?;
        let src = read64(cpu, insn, 1)?;
        let reg = mm(insn.op0_register());
        let dst = cpu.state.fpu.mmx(reg);
        cpu.state.fpu.set_mmx(reg, f(dst.into(), src.into()) as u64);
    } else {
        check_sse(cpu)?;
        let src = read128(cpu, insn, 1, Align::Must)?;
        let dst = xmm_operand(cpu, insn, 0);
        *dst = f(*dst, src);
    }
    Ok(Flow::Next)
}

/// A non-capturing `packed`.
macro_rules! packed {
    ($f:expr) => {
        |cpu, insn| packed(cpu, insn, $f)
    };
}

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    arithmetic(insn.mnemonic()).or_else(|| logic(insn.mnemonic())).or_else(|| newer(insn.mnemonic()))
}

fn arithmetic(mnemonic: Mnemonic) -> Option<Slow> {
    let slow: Slow = match mnemonic {
        Mnemonic::Paddb => packed!(|d, s| zip8(d, s, u8::wrapping_add)),
        Mnemonic::Paddw => packed!(|d, s| zip16(d, s, u16::wrapping_add)),
        Mnemonic::Paddd => packed!(|d, s| zip32(d, s, u32::wrapping_add)),
        Mnemonic::Paddq => packed!(|d, s| zip64(d, s, u64::wrapping_add)),
        Mnemonic::Psubb => packed!(|d, s| zip8(d, s, u8::wrapping_sub)),
        Mnemonic::Psubw => packed!(|d, s| zip16(d, s, u16::wrapping_sub)),
        Mnemonic::Psubd => packed!(|d, s| zip32(d, s, u32::wrapping_sub)),
        Mnemonic::Psubq => packed!(|d, s| zip64(d, s, u64::wrapping_sub)),
        Mnemonic::Paddsb => packed!(|d, s| zip8(d, s, |a, b| (a as i8).saturating_add(b as i8) as u8)),
        Mnemonic::Paddsw => packed!(|d, s| zip16(d, s, |a, b| (a as i16).saturating_add(b as i16) as u16)),
        Mnemonic::Paddusb => packed!(|d, s| zip8(d, s, u8::saturating_add)),
        Mnemonic::Paddusw => packed!(|d, s| zip16(d, s, u16::saturating_add)),
        Mnemonic::Psubsb => packed!(|d, s| zip8(d, s, |a, b| (a as i8).saturating_sub(b as i8) as u8)),
        Mnemonic::Psubsw => packed!(|d, s| zip16(d, s, |a, b| (a as i16).saturating_sub(b as i16) as u16)),
        Mnemonic::Psubusb => packed!(|d, s| zip8(d, s, u8::saturating_sub)),
        Mnemonic::Psubusw => packed!(|d, s| zip16(d, s, u16::saturating_sub)),
        Mnemonic::Pmullw => packed!(|d, s| zip16(d, s, u16::wrapping_mul)),
        Mnemonic::Pmulhw => packed!(|d, s| zip16(d, s, |a, b| ((signed(a) * signed(b)) >> 16) as u16)),
        Mnemonic::Pmulhuw => packed!(|d, s| zip16(d, s, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16)),
        Mnemonic::Pmuludq => packed!(|d, s| zip64(d, s, |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff))),
        Mnemonic::Pmaddwd => packed!(pmaddwd),
        Mnemonic::Pavgb => packed!(|d, s| zip8(d, s, |a, b| (u16::from(a) + u16::from(b)).div_ceil(2) as u8)),
        Mnemonic::Pavgw => packed!(|d, s| zip16(d, s, |a, b| (u32::from(a) + u32::from(b)).div_ceil(2) as u16)),
        Mnemonic::Psadbw => packed!(psadbw),
        Mnemonic::Pminub => packed!(|d, s| zip8(d, s, u8::min)),
        Mnemonic::Pmaxub => packed!(|d, s| zip8(d, s, u8::max)),
        Mnemonic::Pminsw => packed!(|d, s| zip16(d, s, |a, b| (a as i16).min(b as i16) as u16)),
        Mnemonic::Pmaxsw => packed!(|d, s| zip16(d, s, |a, b| (a as i16).max(b as i16) as u16)),
        Mnemonic::Pcmpeqb => packed!(|d, s| zip8(d, s, |a, b| mask8(a == b))),
        Mnemonic::Pcmpeqw => packed!(|d, s| zip16(d, s, |a, b| mask16(a == b))),
        Mnemonic::Pcmpeqd => packed!(|d, s| zip32(d, s, |a, b| mask32(a == b))),
        Mnemonic::Pcmpgtb => packed!(|d, s| zip8(d, s, |a, b| mask8(a as i8 > b as i8))),
        Mnemonic::Pcmpgtw => packed!(|d, s| zip16(d, s, |a, b| mask16(a as i16 > b as i16))),
        Mnemonic::Pcmpgtd => packed!(|d, s| zip32(d, s, |a, b| mask32(a as i32 > b as i32))),
        _ => return None,
    };
    Some(slow)
}

fn logic(mnemonic: Mnemonic) -> Option<Slow> {
    let slow: Slow = match mnemonic {
        Mnemonic::Pand | Mnemonic::Andps | Mnemonic::Andpd => packed!(|d, s| d & s),
        Mnemonic::Pandn | Mnemonic::Andnps | Mnemonic::Andnpd => packed!(|d, s| !d & s),
        Mnemonic::Por | Mnemonic::Orps | Mnemonic::Orpd => packed!(|d, s| d | s),
        Mnemonic::Pxor | Mnemonic::Xorps | Mnemonic::Xorpd => packed!(|d, s| d ^ s),
        _ => return None,
    };
    Some(slow)
}

/// SSSE3 and SSE4.1.
fn newer(mnemonic: Mnemonic) -> Option<Slow> {
    let slow: Slow = match mnemonic {
        Mnemonic::Pabsb => packed!(|d, s| zip8(d, s, |_, b| (b as i8).unsigned_abs())),
        Mnemonic::Pabsw => packed!(|d, s| zip16(d, s, |_, b| (b as i16).unsigned_abs())),
        Mnemonic::Pabsd => packed!(|d, s| zip32(d, s, |_, b| (b as i32).unsigned_abs())),
        Mnemonic::Psignb => packed!(|d, s| zip8(d, s, |a, b| (a as i8).wrapping_mul((b as i8).signum()) as u8)),
        Mnemonic::Psignw => packed!(|d, s| zip16(d, s, |a, b| (a as i16).wrapping_mul((b as i16).signum()) as u16)),
        Mnemonic::Psignd => packed!(|d, s| zip32(d, s, |a, b| (a as i32).wrapping_mul((b as i32).signum()) as u32)),
        Mnemonic::Pmulhrsw => packed!(|d, s| zip16(d, s, |a, b| ((((signed(a) * signed(b)) >> 14) + 1) >> 1) as u16)),
        Mnemonic::Pmaddubsw => packed!(pmaddubsw),
        Mnemonic::Phaddw => |cpu, insn| horizontal16(cpu, insn, u16::wrapping_add),
        Mnemonic::Phsubw => |cpu, insn| horizontal16(cpu, insn, u16::wrapping_sub),
        Mnemonic::Phaddsw => |cpu, insn| horizontal16(cpu, insn, |a, b| (a as i16).saturating_add(b as i16) as u16),
        Mnemonic::Phsubsw => |cpu, insn| horizontal16(cpu, insn, |a, b| (a as i16).saturating_sub(b as i16) as u16),
        Mnemonic::Phaddd => |cpu, insn| horizontal32(cpu, insn, u32::wrapping_add),
        Mnemonic::Phsubd => |cpu, insn| horizontal32(cpu, insn, u32::wrapping_sub),
        Mnemonic::Pminsb => packed!(|d, s| zip8(d, s, |a, b| (a as i8).min(b as i8) as u8)),
        Mnemonic::Pmaxsb => packed!(|d, s| zip8(d, s, |a, b| (a as i8).max(b as i8) as u8)),
        Mnemonic::Pminuw => packed!(|d, s| zip16(d, s, u16::min)),
        Mnemonic::Pmaxuw => packed!(|d, s| zip16(d, s, u16::max)),
        Mnemonic::Pminsd => packed!(|d, s| zip32(d, s, |a, b| (a as i32).min(b as i32) as u32)),
        Mnemonic::Pmaxsd => packed!(|d, s| zip32(d, s, |a, b| (a as i32).max(b as i32) as u32)),
        Mnemonic::Pminud => packed!(|d, s| zip32(d, s, u32::min)),
        Mnemonic::Pmaxud => packed!(|d, s| zip32(d, s, u32::max)),
        Mnemonic::Pmulld => packed!(|d, s| zip32(d, s, u32::wrapping_mul)),
        Mnemonic::Pmuldq => packed!(|d, s| zip64(d, s, |a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64)),
        Mnemonic::Pcmpeqq => packed!(|d, s| zip64(d, s, |a, b| mask64(a == b))),
        Mnemonic::Phminposuw => packed!(phminposuw),
        Mnemonic::Ptest => ptest,
        _ => return None,
    };
    Some(slow)
}

fn signed(word: u16) -> i32 {
    i32::from(word as i16)
}

/// Products of words, neighbours added; only 0x8000 four times wraps.
fn pmaddwd(d: u128, s: u128) -> u128 {
    let (d, s) = (words(d), words(s));
    let product = |i: usize| signed(d[i]) * signed(s[i]);
    from_dwords(std::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1)) as u32))
}

/// Unsigned bytes of `d` times signed bytes of `s`, neighbours added with saturation.
fn pmaddubsw(d: u128, s: u128) -> u128 {
    let (d, s) = (bytes(d), bytes(s));
    let product = |i: usize| i32::from(d[i]) * i32::from(s[i] as i8);
    from_words(std::array::from_fn(|i| saturate_i16(product(2 * i) + product(2 * i + 1))))
}

/// For each half the sum of absolute differences of its bytes.
fn psadbw(d: u128, s: u128) -> u128 {
    let (d, s) = (bytes(d), bytes(s));
    let sum = |half: usize| (half..half + 8).map(|i| u64::from(d[i].abs_diff(s[i]))).sum();
    from_qwords([sum(0), sum(8)])
}

/// The least word and the index of its first place.
fn phminposuw(_: u128, s: u128) -> u128 {
    let lanes = words(s);
    let (index, least) = lanes.iter().enumerate().min_by_key(|&(_, lane)| lane).expect("eight lanes");
    (index as u128) << 16 | u128::from(*least)
}

/// ZF: no bit in common; CF: no bit of the source beyond the destination; the other flags are cleared.
fn ptest(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read128(cpu, insn, 1, Align::Must)?;
    let dst = *xmm_operand(cpu, insn, 0);
    let flags = Flags { zf: src & dst == 0, cf: src & !dst == 0, ..Flags::default() };
    let kept = cpu.eflags() & !Eflags::STATUS;
    cpu.set_eflags(kept | flags.into());
    Ok(Flow::Next)
}

/// `f` of neighbours, those of the destination first.
fn horizontal16(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u16, u16) -> u16) -> Result<Flow, Exception> {
    let pairs = |v: u128| {
        let v = words(v);
        from_words(std::array::from_fn(|i| if i < 4 { f(v[2 * i], v[2 * i + 1]) } else { 0 }))
    };
    horizontal(cpu, insn, pairs)
}

/// As `horizontal16`, by doublewords.
fn horizontal32(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u32, u32) -> u32) -> Result<Flow, Exception> {
    let pairs = |v: u128| {
        let v = dwords(v);
        from_dwords([f(v[0], v[1]), f(v[2], v[3]), 0, 0])
    };
    horizontal(cpu, insn, pairs)
}

/// `pairs` halves a whole register; the halves of destination and source are joined.
fn horizontal(cpu: &mut Cpu, insn: &Instruction, pairs: impl Fn(u128) -> u128) -> Result<Flow, Exception> {
    if is_mm(insn, 0) {
        packed(cpu, insn, |d, s| pairs(d | s << 64))
    } else {
        packed(cpu, insn, |d, s| pairs(d) | pairs(s) << 64)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lanes::qwords, *};

    #[test]
    fn pmaddwd_wraps_only_at_its_corner() {
        let corner = from_words([0x8000; 8]);
        assert_eq!(dwords(pmaddwd(corner, corner)), [0x8000_0000; 4]);
    }

    #[test]
    fn psadbw_sums_each_half() {
        assert_eq!(qwords(psadbw(u128::MAX, 0)), [8 * 255; 2]);
    }

    #[test]
    fn phminposuw_names_the_first_of_equals() {
        assert_eq!(phminposuw(0, from_words([9, 3, 7, 3, 8, 8, 8, 8])), 0x1_0003);
    }
}
