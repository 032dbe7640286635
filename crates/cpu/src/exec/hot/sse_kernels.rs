//! What SSE instructions compute, by the host's own.
//!
//! Floating-point kernels run in the host's MXCSR, which holds what governs the guest's arithmetic, all
//! exceptions masked. They leave their flags there; see [`super::sse::take_flags`].

use std::arch::{asm, x86_64::*};

use crate::sse::by_predicate;

/// `dst = run(dst, src, imm)` on whole registers.
pub(crate) trait Kernel {
    /// Raises flags in MXCSR.
    const FLOAT: bool = false;
    /// Bytes of a source in memory.
    const BYTES: usize = 16;
    /// A source in memory must be aligned to 16 bytes.
    const ALIGNED: bool = Self::BYTES == 16;

    /// The new value of the destination.
    fn run(dst: __m128i, src: __m128i, imm: u32) -> __m128i;
}

/// As [`Kernel`], for a result in a general-purpose register or in flags.
pub(crate) trait Scalar {
    /// Raises flags in MXCSR.
    const FLOAT: bool = true;
    /// Bytes of a source in memory.
    const BYTES: usize = 8;

    /// The result.
    fn run(dst: __m128i, src: __m128i) -> u32;
}

/// Kernels that are one intrinsic.
macro_rules! integer {
    ($($name:ident = $intrinsic:ident;)*) => { $(
        pub(crate) struct $name;
        impl Kernel for $name {
            #[inline(always)]
            fn run(dst: __m128i, src: __m128i, _: u32) -> __m128i {
                // SAFETY: every x86-64 processor has SSE2.
                unsafe { $intrinsic(dst, src) }
            }
        }
    )* };
}

integer! {
    Paddb = _mm_add_epi8;
    Paddw = _mm_add_epi16;
    Paddd = _mm_add_epi32;
    Paddq = _mm_add_epi64;
    Psubb = _mm_sub_epi8;
    Psubw = _mm_sub_epi16;
    Psubd = _mm_sub_epi32;
    Psubq = _mm_sub_epi64;
    Paddsb = _mm_adds_epi8;
    Paddsw = _mm_adds_epi16;
    Paddusb = _mm_adds_epu8;
    Paddusw = _mm_adds_epu16;
    Psubsb = _mm_subs_epi8;
    Psubsw = _mm_subs_epi16;
    Psubusb = _mm_subs_epu8;
    Psubusw = _mm_subs_epu16;
    Pmullw = _mm_mullo_epi16;
    Pmulhw = _mm_mulhi_epi16;
    Pmulhuw = _mm_mulhi_epu16;
    Pmuludq = _mm_mul_epu32;
    Pmaddwd = _mm_madd_epi16;
    Pavgb = _mm_avg_epu8;
    Pavgw = _mm_avg_epu16;
    Psadbw = _mm_sad_epu8;
    Pminub = _mm_min_epu8;
    Pmaxub = _mm_max_epu8;
    Pminsw = _mm_min_epi16;
    Pmaxsw = _mm_max_epi16;
    Pcmpeqb = _mm_cmpeq_epi8;
    Pcmpeqw = _mm_cmpeq_epi16;
    Pcmpeqd = _mm_cmpeq_epi32;
    Pcmpgtb = _mm_cmpgt_epi8;
    Pcmpgtw = _mm_cmpgt_epi16;
    Pcmpgtd = _mm_cmpgt_epi32;
    Pand = _mm_and_si128;
    Pandn = _mm_andnot_si128;
    Por = _mm_or_si128;
    Pxor = _mm_xor_si128;
    Punpcklbw = _mm_unpacklo_epi8;
    Punpcklwd = _mm_unpacklo_epi16;
    Punpckldq = _mm_unpacklo_epi32;
    Punpcklqdq = _mm_unpacklo_epi64;
    Punpckhbw = _mm_unpackhi_epi8;
    Punpckhwd = _mm_unpackhi_epi16;
    Punpckhdq = _mm_unpackhi_epi32;
    Punpckhqdq = _mm_unpackhi_epi64;
    Packsswb = _mm_packs_epi16;
    Packuswb = _mm_packus_epi16;
    Packssdw = _mm_packs_epi32;
    Psllw = _mm_sll_epi16;
    Pslld = _mm_sll_epi32;
    Psllq = _mm_sll_epi64;
    Psrlw = _mm_srl_epi16;
    Psrld = _mm_srl_epi32;
    Psrlq = _mm_srl_epi64;
    Psraw = _mm_sra_epi16;
    Psrad = _mm_sra_epi32;
}

/// Kernels of a few steps; sources in memory have the given size.
macro_rules! composed {
    ($($name:ident $bytes:literal |$dst:ident, $src:ident, $imm:ident| $body:expr;)*) => { $(
        pub(crate) struct $name;
        impl Kernel for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            fn run($dst: __m128i, $src: __m128i, $imm: u32) -> __m128i {
                // SAFETY: every x86-64 processor has SSE2.
                #[allow(unused_unsafe, reason = "not all are intrinsics")]
                unsafe { $body }
            }
        }
    )* };
}

composed! {
    /* Moves: the whole source. */
    Move4 4 |_dst, src, _imm| src;
    Move8 8 |_dst, src, _imm| src;
    Move16 16 |_dst, src, _imm| src;
    /* Between registers. */
    MergeLow4 4 |dst, src, _imm| _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(dst), _mm_castsi128_ps(src)));
    MergeLow8 8 |dst, src, _imm| _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(dst), _mm_castsi128_pd(src)));
    ZeroHigh8 8 |_dst, src, _imm| _mm_move_epi64(src);
    MergeHigh8 8 |dst, src, _imm| _mm_unpacklo_epi64(dst, src);
    Movhlps 8 |dst, src, _imm| _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(dst), _mm_castsi128_pd(_mm_srli_si128::<8>(src))));
    Movddup 8 |_dst, src, _imm| _mm_unpacklo_epi64(src, src);
    /* Shuffles by an immediate that is known only when they run. */
    Pshufd 16 |_dst, src, imm| of_dwords(chosen(dwords(src), dwords(src), imm));
    Shufps 16 |dst, src, imm| of_dwords(chosen(dwords(dst), dwords(src), imm));
    Shufpd 16 |dst, src, imm| of_qwords([qwords(dst)[imm as usize & 1], qwords(src)[imm as usize >> 1 & 1]]);
    Pshuflw 16 |_dst, src, imm| {
        let w = words(src);
        let at = |n: u32| w[(imm >> (2 * n) & 3) as usize];
        of_words([at(0), at(1), at(2), at(3), w[4], w[5], w[6], w[7]])
    };
    Pshufhw 16 |_dst, src, imm| {
        let w = words(src);
        let at = |n: u32| w[4 + (imm >> (2 * n) & 3) as usize];
        of_words([w[0], w[1], w[2], w[3], at(0), at(1), at(2), at(3)])
    };
    Pshufb 16 |dst, src, _imm| {
        let (d, s) = (bytes(dst), bytes(src));
        of_bytes(std::array::from_fn(|i| if s[i] & 0x80 != 0 { 0 } else { d[usize::from(s[i] & 15)] }))
    };
    Movsldup 16 |_dst, src, _imm| _mm_shuffle_epi32::<0b10_10_00_00>(src);
    Movshdup 16 |_dst, src, _imm| _mm_shuffle_epi32::<0b11_11_01_01>(src);
    Palignr 16 |dst, src, imm| of_u128(match imm {
        0 => to_u128(src),
        1..16 => to_u128(src) >> (8 * imm) | to_u128(dst) << (128 - 8 * imm),
        16..32 => to_u128(dst) >> (8 * (imm - 16)),
        _ => 0,
    });
    /* The magnitude: what is negative is inverted, plus 1. */
    Pabsb 16 |_dst, src, _imm| _mm_min_epu8(src, _mm_sub_epi8(_mm_setzero_si128(), src));
    Pabsw 16 |_dst, src, _imm| {
        let sign = _mm_srai_epi16::<15>(src);
        _mm_sub_epi16(_mm_xor_si128(src, sign), sign)
    };
    Pabsd 16 |_dst, src, _imm| {
        let sign = _mm_srai_epi32::<31>(src);
        _mm_sub_epi32(_mm_xor_si128(src, sign), sign)
    };
    /* Shifts by bytes: the immediate is the source. */
    Pslldq 16 |dst, _src, imm| of_u128(if imm < 16 { to_u128(dst) << (8 * imm) } else { 0 });
    Psrldq 16 |dst, _src, imm| of_u128(if imm < 16 { to_u128(dst) >> (8 * imm) } else { 0 });
}

/// As [`Move16`], from any address.
pub(crate) struct MoveUnaligned;
impl Kernel for MoveUnaligned {
    const ALIGNED: bool = false;
    #[inline(always)]
    fn run(_: __m128i, src: __m128i, _: u32) -> __m128i {
        src
    }
}

/// Two doublewords of `low`, then two of `high`, each chosen by two bits.
#[inline(always)]
fn chosen(low: [u32; 4], high: [u32; 4], imm: u32) -> [u32; 4] {
    let at = |n: u32| (imm >> (2 * n) & 3) as usize;
    [low[at(0)], low[at(1)], high[at(2)], high[at(3)]]
}

/// Reinterpretations of 16 bytes.
macro_rules! views {
    ($($to:ident $of:ident $t:ty;)*) => { $(
        #[inline(always)]
        fn $to(v: __m128i) -> $t {
            // SAFETY: both are 16 bytes in which every pattern is a value.
            unsafe { std::mem::transmute::<__m128i, $t>(v) }
        }
        #[inline(always)]
        fn $of(v: $t) -> __m128i {
            // SAFETY: as above.
            unsafe { std::mem::transmute::<$t, __m128i>(v) }
        }
    )* };
}

views! {
    bytes of_bytes [u8; 16];
    words of_words [u16; 8];
    dwords of_dwords [u32; 4];
    qwords of_qwords [u64; 2];
    to_u128 of_u128 u128;
}

/// Floating-point kernels: the instruction of the same name.
macro_rules! float {
    ($($name:ident $insn:literal $bytes:literal;)*) => { $(
        pub(crate) struct $name;
        impl Kernel for $name {
            const FLOAT: bool = true;
            const BYTES: usize = $bytes;
            #[inline(always)]
            fn run(dst: __m128i, src: __m128i, _: u32) -> __m128i {
                let mut result = dst;
                // SAFETY: touches its operands and the flags in MXCSR.
                unsafe {
                    asm!(
                        concat!($insn, " {dst}, {src}"),
                        dst = inout(xmm_reg) result,
                        src = in(xmm_reg) src,
                        options(nomem, nostack),
                    );
                }
                result
            }
        }
    )* };
}

float! {
    Addps "addps" 16;
    Addss "addss" 4;
    Addpd "addpd" 16;
    Addsd "addsd" 8;
    Subps "subps" 16;
    Subss "subss" 4;
    Subpd "subpd" 16;
    Subsd "subsd" 8;
    Mulps "mulps" 16;
    Mulss "mulss" 4;
    Mulpd "mulpd" 16;
    Mulsd "mulsd" 8;
    Divps "divps" 16;
    Divss "divss" 4;
    Divpd "divpd" 16;
    Divsd "divsd" 8;
    Minps "minps" 16;
    Minss "minss" 4;
    Minpd "minpd" 16;
    Minsd "minsd" 8;
    Maxps "maxps" 16;
    Maxss "maxss" 4;
    Maxpd "maxpd" 16;
    Maxsd "maxsd" 8;
    Sqrtps "sqrtps" 16;
    Sqrtss "sqrtss" 4;
    Sqrtpd "sqrtpd" 16;
    Sqrtsd "sqrtsd" 8;
    Cvtss2sd "cvtss2sd" 4;
    Cvtsd2ss "cvtsd2ss" 8;
    Cvtps2pd "cvtps2pd" 8;
    Cvtpd2ps "cvtpd2ps" 16;
    Cvtdq2pd "cvtdq2pd" 8;
    Cvtdq2ps "cvtdq2ps" 16;
    Cvtps2dq "cvtps2dq" 16;
    Cvttps2dq "cvttps2dq" 16;
    Cvtpd2dq "cvtpd2dq" 16;
    Cvttpd2dq "cvttpd2dq" 16;
}

/// CMPPS and its kin; the predicate is the immediate.
macro_rules! compare {
    ($($name:ident $insn:literal $bytes:literal;)*) => { $(
        pub(crate) struct $name;
        impl Kernel for $name {
            const FLOAT: bool = true;
            const BYTES: usize = $bytes;
            #[inline(always)]
            fn run(dst: __m128i, src: __m128i, imm: u32) -> __m128i {
                let mut result = dst;
                macro_rules! by {
                    ($predicate:literal) => {
                        // SAFETY: touches its operands and the flags in MXCSR.
                        unsafe {
                            asm!(
                                concat!($insn, " {dst}, {src}, ", $predicate),
                                dst = inout(xmm_reg) result,
                                src = in(xmm_reg) src,
                                options(nomem, nostack),
                            )
                        }
                    };
                }
                by_predicate!(imm, by);
                result
            }
        }
    )* };
}

compare! {
    Cmpps "cmpps" 16;
    Cmpss "cmpss" 4;
    Cmppd "cmppd" 16;
    Cmpsd "cmpsd" 8;
}

/// Of a signed doubleword, which comes in the lowest lane.
macro_rules! of_integer {
    ($($name:ident $insn:literal;)*) => { $(
        pub(crate) struct $name;
        impl Kernel for $name {
            const FLOAT: bool = true;
            const BYTES: usize = 4;
            #[inline(always)]
            fn run(dst: __m128i, src: __m128i, _: u32) -> __m128i {
                let mut result = dst;
                // SAFETY: every x86-64 processor has SSE2; touches its operands and the flags in MXCSR.
                unsafe {
                    asm!(
                        concat!($insn, " {dst}, {src:e}"),
                        dst = inout(xmm_reg) result,
                        src = in(reg) _mm_cvtsi128_si32(src),
                        options(nomem, nostack),
                    );
                }
                result
            }
        }
    )* };
}

of_integer! {
    Cvtsi2sd "cvtsi2sd";
    Cvtsi2ss "cvtsi2ss";
}

/// To a signed doubleword.
macro_rules! to_integer {
    ($($name:ident $insn:literal $bytes:literal;)*) => { $(
        pub(crate) struct $name;
        impl Scalar for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            fn run(_: __m128i, src: __m128i) -> u32 {
                let result: u32;
                // SAFETY: touches its operands and the flags in MXCSR.
                unsafe {
                    asm!(
                        concat!($insn, " {result:e}, {src}"),
                        result = out(reg) result,
                        src = in(xmm_reg) src,
                        options(nomem, nostack),
                    );
                }
                result
            }
        }
    )* };
}

to_integer! {
    Cvtsd2si "cvtsd2si" 8;
    Cvttsd2si "cvttsd2si" 8;
    Cvtss2si "cvtss2si" 4;
    Cvttss2si "cvttss2si" 4;
}

/// The order of two numbers: ZF, PF and CF as EFLAGS has them.
macro_rules! order {
    ($($name:ident $insn:literal $bytes:literal;)*) => { $(
        pub(crate) struct $name;
        impl Scalar for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            fn run(dst: __m128i, src: __m128i) -> u32 {
                let (zero, parity, carry): (u8, u8, u8);
                // SAFETY: touches its operands, the flags and those in MXCSR.
                unsafe {
                    asm!(
                        concat!($insn, " {dst}, {src}"),
                        "setz {zero}",
                        "setp {parity}",
                        "setc {carry}",
                        dst = in(xmm_reg) dst,
                        src = in(xmm_reg) src,
                        zero = out(reg_byte) zero,
                        parity = out(reg_byte) parity,
                        carry = out(reg_byte) carry,
                        options(nomem, nostack),
                    );
                }
                u32::from(zero) << 6 | u32::from(parity) << 2 | u32::from(carry)
            }
        }
    )* };
}

order! {
    Comisd "comisd" 8;
    Ucomisd "ucomisd" 8;
    Comiss "comiss" 4;
    Ucomiss "ucomiss" 4;
}

/// Signs of the source's lanes, and its lowest doubleword.
macro_rules! bits {
    ($($name:ident |$src:ident| $body:expr;)*) => { $(
        pub(crate) struct $name;
        impl Scalar for $name {
            const FLOAT: bool = false;
            #[inline(always)]
            fn run(_: __m128i, $src: __m128i) -> u32 {
                // SAFETY: every x86-64 processor has SSE2.
                unsafe { $body as u32 }
            }
        }
    )* };
}

bits! {
    Low4 |src| _mm_cvtsi128_si32(src);
    Pmovmskb |src| _mm_movemask_epi8(src);
    Movmskps |src| _mm_movemask_ps(_mm_castsi128_ps(src));
    Movmskpd |src| _mm_movemask_pd(_mm_castsi128_pd(src));
}
