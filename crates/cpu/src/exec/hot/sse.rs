//! SSE and MMX instructions.
//!
//! Floating-point arithmetic runs here only while the guest's MXCSR masks all exceptions
//! ([`crate::engine::mode::MASKED_MXCSR`]). What governs it is put into the host's MXCSR before the first
//! of a row of such instructions, and flags gather there until someone may look, or anything else is to run.

use std::arch::{
    asm,
    x86_64::{__m128i, _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_unpackhi_epi64},
};

use iced_x86::Mnemonic;
use x86::Eflags;

use super::{
    access::{effective, get, set},
    go, handlers,
    slow::slow,
    sse_kernels::{self as k, Kernel, Scalar},
    wide::host_bytes,
};
use crate::{
    Cpu, Fpu,
    alu::Flags,
    block::{Handler, Op},
};

/// MXCSR after reset, as Rust code has it.
const PLAIN: u32 = 0x1f80;
/// The flags in MXCSR.
const FLAGS: u32 = 0x3f;

/// Moves the flags that are in the host's MXCSR to the guest's, and gives the host's the value that Rust
/// code runs with.
///
/// # Safety
/// `cpu` is valid and nobody else uses it.
#[inline(never)]
pub(super) unsafe fn take_flags(cpu: *mut Cpu) {
    let mut csr = 0_u32;
    // SAFETY: writes to `csr` alone; the CPU is the caller's.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut csr, options(nostack, preserves_flags));
        (*cpu).state.mxcsr |= csr & FLAGS;
        (*cpu).run.sse_flags_on_host = false;
    }
    if csr & !FLAGS != PLAIN {
        load_host(PLAIN);
    }
}

/// Loads the host's MXCSR. Not inlined: a handler with a place on the stack would not end in a jump.
#[inline(never)]
fn load_host(csr: u32) {
    // SAFETY: only handlers run with another value than that of Rust code, until `take_flags`; no other
    // floating point than the guest's is in them.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const csr, options(nostack, preserves_flags)) };
}

/// An XMM register by its byte offset among them.
///
/// # Safety
/// As for handlers; `offset` is that of a register.
#[inline(always)]
unsafe fn xmm(cpu: *mut Cpu, offset: u8) -> *mut __m128i {
    // SAFETY: by the caller; a u128 is as large and as aligned.
    unsafe { (&raw mut (*cpu).state.xmm).cast::<u8>().add(offset.into()).cast() }
}

/// 4, 8 or 16 bytes, zero-extended.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn read(place: *const u8, bytes: usize) -> __m128i {
    // SAFETY: by the caller.
    unsafe {
        match bytes {
            4 => _mm_cvtsi32_si128(place.cast::<i32>().read_unaligned()),
            8 => _mm_cvtsi64_si128(place.cast::<i64>().read_unaligned()),
            _ => place.cast::<__m128i>().read_unaligned(),
        }
    }
}

/// The memory operand; hands over to the slow form if it must be looked at.
macro_rules! source {
    ($cpu:ident, $op:ident, $bytes:expr, $aligned:expr, $indexed:expr) => {
        match host_bytes((*$cpu).run.read, effective::<$indexed>($cpu, $op), $bytes as u32, $aligned) {
            Some(place) => read(place, $bytes),
            None => return slow($cpu, $op),
        }
    };
}

/// Sees to it that the host's MXCSR governs as the guest's and has no flags but those of its instructions.
macro_rules! gather_flags {
    ($cpu:ident, $op:ident, $float:expr) => {
        if $float && !(*$cpu).run.sse_flags_on_host {
            return begin($cpu, $op);
        }
    };
}

handlers! {
    #[inline(never)]
    /// Puts the guest's MXCSR, without its flags, into the host's and starts the operation again.
    fn begin<>(cpu, op) {
        load_host((*cpu).state.mxcsr & !FLAGS);
        (*cpu).run.sse_flags_on_host = true;
        go(cpu, op)
    }

    fn packed_r[K: Kernel]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let dst = xmm(cpu, (*op).dst);
        dst.write(K::run(dst.read(), xmm(cpu, (*op).src).read(), (*op).imm));
        go(cpu, op.add(1))
    }

    fn packed_m[K: Kernel]<const INDEXED: bool>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let src = source!(cpu, op, K::BYTES, K::ALIGNED, INDEXED);
        let dst = xmm(cpu, (*op).dst);
        dst.write(K::run(dst.read(), src, (*op).imm));
        go(cpu, op.add(1))
    }

    /// As `packed_m`, for instructions that are too rare to have a form without an index.
    fn integer_m[K: Kernel]<>(cpu, op) {
        let src = source!(cpu, op, K::BYTES, K::ALIGNED, true);
        let dst = xmm(cpu, (*op).dst);
        dst.write(K::run(dst.read(), src, (*op).imm));
        go(cpu, op.add(1))
    }

    /// A shift by an immediate.
    fn packed_i[K: Kernel]<>(cpu, op) {
        let dst = xmm(cpu, (*op).dst);
        dst.write(K::run(dst.read(), _mm_cvtsi32_si128((*op).imm as i32), (*op).imm));
        go(cpu, op.add(1))
    }

    /// From a general-purpose register.
    fn packed_g[K: Kernel]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let dst = xmm(cpu, (*op).dst);
        dst.write(K::run(dst.read(), _mm_cvtsi32_si128(get::<u32>(cpu, (*op).src) as i32), 0));
        go(cpu, op.add(1))
    }

    fn to_gpr_r[K: Scalar]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let src = xmm(cpu, (*op).src).read();
        set::<u32>(cpu, (*op).dst, K::run(src, src));
        go(cpu, op.add(1))
    }

    fn to_gpr_m[K: Scalar]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let src = source!(cpu, op, K::BYTES, false, true);
        set::<u32>(cpu, (*op).dst, K::run(src, src));
        go(cpu, op.add(1))
    }

    /// COMISD and its kin.
    fn order_r[K: Scalar]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        set_order(cpu, K::run(xmm(cpu, (*op).dst).read(), xmm(cpu, (*op).src).read()));
        go(cpu, op.add(1))
    }

    fn order_m[K: Scalar]<>(cpu, op) {
        gather_flags!(cpu, op, K::FLOAT);
        let src = source!(cpu, op, K::BYTES, false, true);
        set_order(cpu, K::run(xmm(cpu, (*op).dst).read(), src));
        go(cpu, op.add(1))
    }

    /// `BYTES` bytes of a register, from its upper half if `HIGH`.
    fn store<const BYTES: usize, const ALIGNED: bool, const HIGH: bool, const INDEXED: bool>(cpu, op) {
        let addr = effective::<INDEXED>(cpu, op);
        let Some(place) = host_bytes((*cpu).run.write, addr, BYTES as u32, ALIGNED) else { return slow(cpu, op) };
        let value = xmm(cpu, (*op).src).read();
        write(place, BYTES, if HIGH { _mm_unpackhi_epi64(value, value) } else { value });
        go(cpu, op.add(1))
    }

    fn mmx_r[K: Kernel]<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        if fpu.status & Fpu::ES != 0 {
            return slow(cpu, op);
        }
        let (dst, src) = (usize::from((*op).dst & 7), usize::from((*op).src & 7));
        let value = K::run(of_u64(fpu.mmx(dst)), of_u64(fpu.mmx(src)), (*op).imm);
        fpu.set_mmx(dst, _mm_cvtsi128_si64(value) as u64);
        go(cpu, op.add(1))
    }

    fn mmx_m[K: Kernel]<>(cpu, op) {
        let bytes = if K::BYTES == 4 { 4 } else { 8 };
        if (*cpu).state.fpu.status & Fpu::ES != 0 {
            return slow(cpu, op);
        }
        let src = source!(cpu, op, bytes, false, true);
        let fpu = &mut (*cpu).state.fpu;
        let dst = usize::from((*op).dst & 7);
        let value = K::run(of_u64(fpu.mmx(dst)), src, (*op).imm);
        fpu.set_mmx(dst, _mm_cvtsi128_si64(value) as u64);
        go(cpu, op.add(1))
    }

    fn mmx_i[K: Kernel]<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        if fpu.status & Fpu::ES != 0 {
            return slow(cpu, op);
        }
        let dst = usize::from((*op).dst & 7);
        let value = K::run(of_u64(fpu.mmx(dst)), _mm_cvtsi32_si128((*op).imm as i32), (*op).imm);
        fpu.set_mmx(dst, _mm_cvtsi128_si64(value) as u64);
        go(cpu, op.add(1))
    }

    /// MOVQ and MOVD to memory.
    fn mmx_store<const BYTES: usize>(cpu, op) {
        if (*cpu).state.fpu.status & Fpu::ES != 0 {
            return slow(cpu, op);
        }
        let addr = effective::<true>(cpu, op);
        let Some(place) = host_bytes((*cpu).run.write, addr, BYTES as u32, false) else { return slow(cpu, op) };
        let fpu = &mut (*cpu).state.fpu;
        write(place, BYTES, of_u64(fpu.mmx(usize::from((*op).src & 7))));
        fpu.enter_mmx();
        go(cpu, op.add(1))
    }
}

/// 4, 8 or 16 bytes.
///
/// # Safety
/// They can be written.
#[inline(always)]
unsafe fn write(place: *mut u8, bytes: usize, value: __m128i) {
    // SAFETY: by the caller.
    unsafe {
        match bytes {
            4 => place.cast::<u32>().write_unaligned(_mm_cvtsi128_si64(value) as u32),
            8 => place.cast::<i64>().write_unaligned(_mm_cvtsi128_si64(value)),
            _ => place.cast::<__m128i>().write_unaligned(value),
        }
    }
}

#[inline(always)]
fn of_u64(value: u64) -> __m128i {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { _mm_cvtsi64_si128(value as i64) }
}

/// Sets all status flags.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn set_order(cpu: *mut Cpu, order: u32) {
    // SAFETY: by the caller.
    let cpu = unsafe { &mut *cpu };
    cpu.run.lazy = Flags::from(Eflags::from_bits_retain(order)).into();
}

/// Where the source operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A register of the same file.
    Register,
    /// Memory, with an index or without.
    Memory { indexed: bool },
    /// `imm`.
    Immediate,
    /// A general-purpose register.
    General,
}

/// A handler, and whether it needs [`crate::engine::mode::MASKED_MXCSR`].
#[derive(Clone, Copy)]
pub(crate) struct Hot {
    pub handler: Handler,
    pub float: bool,
}

/// As `by_mnemonic`, with a memory form for operands without an index.
macro_rules! by_mnemonic_and_index {
    ($mnemonic:expr, $source:expr, $float:expr, $register:ident $memory:ident: $($m:ident $(| $more:ident)* => $kernel:ident,)*) => {
        match ($mnemonic, $source) {
            $(
                (Mnemonic::$m $(| Mnemonic::$more)*, Source::Register) => {
                    Some(Hot { handler: $register::<k::$kernel>, float: $float })
                }
                (Mnemonic::$m $(| Mnemonic::$more)*, Source::Memory { indexed: false }) => {
                    Some(Hot { handler: $memory::<k::$kernel, false>, float: $float })
                }
                (Mnemonic::$m $(| Mnemonic::$more)*, Source::Memory { indexed: true }) => {
                    Some(Hot { handler: $memory::<k::$kernel, true>, float: $float })
                }
            )*
            _ => None,
        }
    };
}

/// The handler among `$register` and `$memory` of the kernel that the mnemonic names.
macro_rules! by_mnemonic {
    ($mnemonic:expr, $source:expr, $float:expr, $register:ident $memory:ident: $($m:ident $(| $more:ident)* => $kernel:ident,)*) => {
        match ($mnemonic, $source) {
            $(
                (Mnemonic::$m $(| Mnemonic::$more)*, Source::Register) => {
                    Some(Hot { handler: $register::<k::$kernel>, float: $float })
                }
                (Mnemonic::$m $(| Mnemonic::$more)*, Source::Memory { .. }) => {
                    Some(Hot { handler: $memory::<k::$kernel>, float: $float })
                }
            )*
            _ => None,
        }
    };
}

/// `by_mnemonic` for what there is of MMX and of XMM registers alike, and more.
macro_rules! integer_by_mnemonic {
    ($mnemonic:expr, $source:expr, $register:ident $memory:ident: $($more:tt)*) => {
        by_mnemonic! { $mnemonic, $source, false, $register $memory:
            Paddb => Paddb,
            Paddw => Paddw,
            Paddd => Paddd,
            Paddq => Paddq,
            Psubb => Psubb,
            Psubw => Psubw,
            Psubd => Psubd,
            Psubq => Psubq,
            Paddsb => Paddsb,
            Paddsw => Paddsw,
            Paddusb => Paddusb,
            Paddusw => Paddusw,
            Psubsb => Psubsb,
            Psubsw => Psubsw,
            Psubusb => Psubusb,
            Psubusw => Psubusw,
            Pmullw => Pmullw,
            Pmulhw => Pmulhw,
            Pmulhuw => Pmulhuw,
            Pmuludq => Pmuludq,
            Pmaddwd => Pmaddwd,
            Pavgb => Pavgb,
            Pavgw => Pavgw,
            Pminub => Pminub,
            Pmaxub => Pmaxub,
            Pminsw => Pminsw,
            Pmaxsw => Pmaxsw,
            Pcmpeqb => Pcmpeqb,
            Pcmpeqw => Pcmpeqw,
            Pcmpeqd => Pcmpeqd,
            Pcmpgtb => Pcmpgtb,
            Pcmpgtw => Pcmpgtw,
            Pcmpgtd => Pcmpgtd,
            Pand | Andps | Andpd => Pand,
            Pandn | Andnps | Andnpd => Pandn,
            Por | Orps | Orpd => Por,
            Pxor | Xorps | Xorpd => Pxor,
            Psllw => Psllw,
            Pslld => Pslld,
            Psllq => Psllq,
            Psrlw => Psrlw,
            Psrld => Psrld,
            Psrlq => Psrlq,
            Psraw => Psraw,
            Psrad => Psrad,
            $($more)*
        }
    };
}

/// What has an XMM register as destination. MOVSD and CMPSD mean those of SSE2.
pub(crate) fn packed(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    moves(mnemonic, source)
        .or_else(|| integer(mnemonic, source))
        .or_else(|| float(mnemonic, source))
        .or_else(|| special(mnemonic, source))
}

fn integer(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    integer_by_mnemonic! { mnemonic, source, packed_r integer_m:
        Psadbw => Psadbw,
        Punpcklbw => Punpcklbw,
        Punpcklwd => Punpcklwd,
        Punpckldq | Unpcklps => Punpckldq,
        Punpcklqdq | Unpcklpd => Punpcklqdq,
        Punpckhbw => Punpckhbw,
        Punpckhwd => Punpckhwd,
        Punpckhdq | Unpckhps => Punpckhdq,
        Punpckhqdq | Unpckhpd => Punpckhqdq,
        Packsswb => Packsswb,
        Packuswb => Packuswb,
        Packssdw => Packssdw,
        Pshufd => Pshufd,
        Pshuflw => Pshuflw,
        Pshufhw => Pshufhw,
        Shufps => Shufps,
        Shufpd => Shufpd,
        Movddup => Movddup,
        Movsldup => Movsldup,
        Movshdup => Movshdup,
        Pshufb => Pshufb,
        Palignr => Palignr,
        Pabsb => Pabsb,
        Pabsw => Pabsw,
        Pabsd => Pabsd,
    }
}

fn moves(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    by_mnemonic_and_index! { mnemonic, source, false, packed_r packed_m:
        Movaps | Movapd | Movdqa => Move16,
        Movups | Movupd | Movdqu | Lddqu => MoveUnaligned,
    }
}

fn float(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    by_mnemonic_and_index! { mnemonic, source, true, packed_r packed_m:
        Addps => Addps,
        Addss => Addss,
        Addpd => Addpd,
        Addsd => Addsd,
        Subps => Subps,
        Subss => Subss,
        Subpd => Subpd,
        Subsd => Subsd,
        Mulps => Mulps,
        Mulss => Mulss,
        Mulpd => Mulpd,
        Mulsd => Mulsd,
        Divps => Divps,
        Divss => Divss,
        Divpd => Divpd,
        Divsd => Divsd,
        Minps => Minps,
        Minss => Minss,
        Minpd => Minpd,
        Minsd => Minsd,
        Maxps => Maxps,
        Maxss => Maxss,
        Maxpd => Maxpd,
        Maxsd => Maxsd,
        Sqrtps => Sqrtps,
        Sqrtss => Sqrtss,
        Sqrtpd => Sqrtpd,
        Sqrtsd => Sqrtsd,
        Cvtss2sd => Cvtss2sd,
        Cvtsd2ss => Cvtsd2ss,
        Cvtps2pd => Cvtps2pd,
        Cvtpd2ps => Cvtpd2ps,
        Cvtdq2pd => Cvtdq2pd,
        Cvtdq2ps => Cvtdq2ps,
        Cvtps2dq => Cvtps2dq,
        Cvttps2dq => Cvttps2dq,
        Cvtpd2dq => Cvtpd2dq,
        Cvttpd2dq => Cvttpd2dq,
        Cmpps => Cmpps,
        Cmpss => Cmpss,
        Cmppd => Cmppd,
        Cmpsd => Cmpsd,
    }
}

/// What differs by where the source is.
fn special(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    use Mnemonic as M;
    use Source as S;
    let plain = |handler: Handler| Some(Hot { handler, float: false });
    match (mnemonic, source) {
        (M::Movss, S::Register) => plain(packed_r::<k::MergeLow4>),
        (M::Movss | M::Movd, S::Memory { .. }) => plain(packed_m::<k::Move4, true>),
        (M::Movsd, S::Register) => plain(packed_r::<k::MergeLow8>),
        (M::Movsd | M::Movq, S::Memory { indexed: false }) => plain(packed_m::<k::Move8, false>),
        (M::Movsd | M::Movq, S::Memory { indexed: true }) => plain(packed_m::<k::Move8, true>),
        (M::Movq, S::Register) => plain(packed_r::<k::ZeroHigh8>),
        (M::Movd, S::General) => plain(packed_g::<k::Move4>),
        (M::Movlps | M::Movlpd, S::Memory { .. }) => plain(packed_m::<k::MergeLow8, true>),
        (M::Movhps | M::Movhpd, S::Memory { .. }) => plain(packed_m::<k::MergeHigh8, true>),
        (M::Movlhps, S::Register) => plain(packed_r::<k::MergeHigh8>),
        (M::Movhlps, S::Register) => plain(packed_r::<k::Movhlps>),
        (M::Psllw, S::Immediate) => plain(packed_i::<k::Psllw>),
        (M::Pslld, S::Immediate) => plain(packed_i::<k::Pslld>),
        (M::Psllq, S::Immediate) => plain(packed_i::<k::Psllq>),
        (M::Psrlw, S::Immediate) => plain(packed_i::<k::Psrlw>),
        (M::Psrld, S::Immediate) => plain(packed_i::<k::Psrld>),
        (M::Psrlq, S::Immediate) => plain(packed_i::<k::Psrlq>),
        (M::Psraw, S::Immediate) => plain(packed_i::<k::Psraw>),
        (M::Psrad, S::Immediate) => plain(packed_i::<k::Psrad>),
        (M::Pslldq, S::Immediate) => plain(packed_i::<k::Pslldq>),
        (M::Psrldq, S::Immediate) => plain(packed_i::<k::Psrldq>),
        (M::Cvtsi2sd, S::General) => Some(Hot { handler: packed_g::<k::Cvtsi2sd>, float: true }),
        (M::Cvtsi2sd, S::Memory { .. }) => Some(Hot { handler: packed_m::<k::Cvtsi2sd, true>, float: true }),
        (M::Cvtsi2ss, S::General) => Some(Hot { handler: packed_g::<k::Cvtsi2ss>, float: true }),
        (M::Cvtsi2ss, S::Memory { .. }) => Some(Hot { handler: packed_m::<k::Cvtsi2ss, true>, float: true }),
        _ => None,
    }
}

/// What has an MMX register as destination.
pub(crate) fn mmx(mnemonic: Mnemonic, source: Source) -> Option<Handler> {
    let hot = integer_by_mnemonic! { mnemonic, source, mmx_r mmx_m:
        Movq => Move8,
    };
    use Mnemonic as M;
    let handler = match (mnemonic, source) {
        (M::Movd, Source::Memory { .. }) => mmx_m::<k::Move4> as Handler,
        (M::Psllw, Source::Immediate) => mmx_i::<k::Psllw>,
        (M::Pslld, Source::Immediate) => mmx_i::<k::Pslld>,
        (M::Psllq, Source::Immediate) => mmx_i::<k::Psllq>,
        (M::Psrlw, Source::Immediate) => mmx_i::<k::Psrlw>,
        (M::Psrld, Source::Immediate) => mmx_i::<k::Psrld>,
        (M::Psrlq, Source::Immediate) => mmx_i::<k::Psrlq>,
        (M::Psraw, Source::Immediate) => mmx_i::<k::Psraw>,
        (M::Psrad, Source::Immediate) => mmx_i::<k::Psrad>,
        _ => hot?.handler,
    };
    Some(handler)
}

/// What stores from an XMM register.
pub(crate) fn store_of(mnemonic: Mnemonic, indexed: bool) -> Option<Handler> {
    use Mnemonic as M;
    Some(match (mnemonic, indexed) {
        (M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq, false) => {
            store::<16, true, false, false>
        }
        (M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq, true) => {
            store::<16, true, false, true>
        }
        (M::Movups | M::Movupd | M::Movdqu, _) => store::<16, false, false, true>,
        (M::Movsd | M::Movq | M::Movlps | M::Movlpd, false) => store::<8, false, false, false>,
        (M::Movsd | M::Movq | M::Movlps | M::Movlpd, true) => store::<8, false, false, true>,
        (M::Movhps | M::Movhpd, _) => store::<8, false, true, true>,
        (M::Movss | M::Movd, _) => store::<4, false, false, true>,
        _ => return None,
    })
}

/// What stores from an MMX register.
pub(crate) fn mmx_store_of(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Movq | Mnemonic::Movntq => mmx_store::<8>,
        Mnemonic::Movd => mmx_store::<4>,
        _ => return None,
    })
}

/// What puts something of an XMM register or memory into a general-purpose register.
pub(crate) fn to_general(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    let converted = by_mnemonic! { mnemonic, source, true, to_gpr_r to_gpr_m:
        Cvtsd2si => Cvtsd2si,
        Cvttsd2si => Cvttsd2si,
        Cvtss2si => Cvtss2si,
        Cvttss2si => Cvttss2si,
    };
    let handler: Handler = match (mnemonic, source) {
        (Mnemonic::Movd, Source::Register) => to_gpr_r::<k::Low4>,
        (Mnemonic::Pmovmskb, Source::Register) => to_gpr_r::<k::Pmovmskb>,
        (Mnemonic::Movmskps, Source::Register) => to_gpr_r::<k::Movmskps>,
        (Mnemonic::Movmskpd, Source::Register) => to_gpr_r::<k::Movmskpd>,
        _ => return converted,
    };
    Some(Hot { handler, float: false })
}

/// What compares into EFLAGS.
pub(crate) fn ordered(mnemonic: Mnemonic, source: Source) -> Option<Hot> {
    by_mnemonic! { mnemonic, source, true, order_r order_m:
        Comisd => Comisd,
        Ucomisd => Ucomisd,
        Comiss => Comiss,
        Ucomiss => Ucomiss,
    }
}
