//! Floating-point operations by the host's own SSE2, with the guest's rounding and its flags
//! read back. No exception reaches the host: all are masked while the operation runs.
#![allow(unsafe_code)]

use std::arch::{asm, x86_64::__m128i};

use super::{
    exact::{Op, Shape, judge},
    mxcsr::{Control, Flags},
};
use crate::fpu::exact::Narrow;

/// MXCSR's exception masks.
const ALL_MASKED: u32 = 0x1f80;

fn to_host(v: u128) -> __m128i {
    // SAFETY: both are 16 bytes in which every pattern is a value.
    unsafe { std::mem::transmute(v) }
}

fn from_host(v: __m128i) -> u128 {
    // SAFETY: as above.
    unsafe { std::mem::transmute(v) }
}

/// `dst op src` on whole registers: the scalar forms keep the upper part of `dst`.
macro_rules! binary {
    ($($name:ident)*) => { $(
        #[doc = concat!(stringify!($name), " dst, src")]
        pub(crate) fn $name(dst: u128, src: u128, control: Control) -> (u128, Flags) {
            let mut result = to_host(dst);
            let mut csr = control.bits() | ALL_MASKED;
            let mut host = 0_u32;
            // SAFETY: touches registers, the two words, and MXCSR, which is put back.
            unsafe {
                asm!(
                    "stmxcsr [{host}]",
                    "ldmxcsr [{csr}]",
                    concat!(stringify!($name), " {dst}, {src}"),
                    "stmxcsr [{csr}]",
                    "ldmxcsr [{host}]",
                    csr = in(reg) &raw mut csr,
                    host = in(reg) &raw mut host,
                    dst = inout(xmm_reg) result,
                    src = in(xmm_reg) to_host(src),
                    options(nostack, preserves_flags),
                );
            }
            (from_host(result), Flags::of_mxcsr(csr))
        }
    )* };
}

/// As `binary`, with the flags of what overflows or underflows unmasked put right.
macro_rules! judged {
    ($($name:ident = $op:ident $source:ident $target:ident $lanes:literal;)*) => {
        mod unjudged {
            use super::*;
            binary! { $($name)* }
        }
        $(
            #[doc = concat!(stringify!($name), " dst, src")]
            pub(crate) fn $name(dst: u128, src: u128, control: Control) -> (u128, Flags) {
                let (result, flags) = unjudged::$name(dst, src, control);
                let shape = Shape { op: Op::$op, source: Narrow::$source, target: Narrow::$target, lanes: $lanes };
                (result, judge(shape, dst, src, control, result, flags))
            }
        )*
    };
}

judged! {
    addps = Add SINGLE SINGLE 4;
    addss = Add SINGLE SINGLE 1;
    addpd = Add DOUBLE DOUBLE 2;
    addsd = Add DOUBLE DOUBLE 1;
    subps = Sub SINGLE SINGLE 4;
    subss = Sub SINGLE SINGLE 1;
    subpd = Sub DOUBLE DOUBLE 2;
    subsd = Sub DOUBLE DOUBLE 1;
    mulps = Mul SINGLE SINGLE 4;
    mulss = Mul SINGLE SINGLE 1;
    mulpd = Mul DOUBLE DOUBLE 2;
    mulsd = Mul DOUBLE DOUBLE 1;
    divps = Div SINGLE SINGLE 4;
    divss = Div SINGLE SINGLE 1;
    divpd = Div DOUBLE DOUBLE 2;
    divsd = Div DOUBLE DOUBLE 1;
    cvtpd2ps = Narrow DOUBLE SINGLE 2;
    cvtsd2ss = Narrow DOUBLE SINGLE 1;
}

binary! {
    minps minss minpd minsd maxps maxss maxpd maxsd sqrtps sqrtss sqrtpd sqrtsd
    cvtps2pd cvtss2sd cvtdq2ps cvtps2dq cvttps2dq cvtdq2pd cvtpd2dq cvttpd2dq
}

/// CMPPS and its kin; the predicate is an immediate.
macro_rules! compare {
    ($($name:ident)*) => { $(
        #[doc = concat!(stringify!($name), " dst, src, predicate")]
        pub(crate) fn $name(dst: u128, src: u128, predicate: u8, control: Control) -> (u128, Flags) {
            macro_rules! by {
                ($predicate:literal) => {{
                    let mut result = to_host(dst);
                    let mut csr = control.bits() | ALL_MASKED;
                    let mut host = 0_u32;
                    // SAFETY: as in `binary`.
                    unsafe {
                        asm!(
                            "stmxcsr [{host}]",
                            "ldmxcsr [{csr}]",
                            concat!(stringify!($name), " {dst}, {src}, ", $predicate),
                            "stmxcsr [{csr}]",
                            "ldmxcsr [{host}]",
                            csr = in(reg) &raw mut csr,
                            host = in(reg) &raw mut host,
                            dst = inout(xmm_reg) result,
                            src = in(xmm_reg) to_host(src),
                            options(nostack, preserves_flags),
                        );
                    }
                    (from_host(result), Flags::of_mxcsr(csr))
                }};
            }
            by_predicate!(predicate, by)
        }
    )* };
}

compare! { cmpps cmpss cmppd cmpsd }

/// COMISS and its kin: EFLAGS bits ZF, PF, CF.
macro_rules! ordered {
    ($($name:ident)*) => { $(
        #[doc = concat!(stringify!($name), " a, b: ZF, PF and CF as EFLAGS has them")]
        pub(crate) fn $name(a: u128, b: u128, control: Control) -> (u32, Flags) {
            let mut csr = control.bits() | ALL_MASKED;
            let mut host = 0_u32;
            let (zero, parity, carry): (u8, u8, u8);
            // SAFETY: as in `binary`.
            unsafe {
                asm!(
                    "stmxcsr [{host}]",
                    "ldmxcsr [{csr}]",
                    concat!(stringify!($name), " {a}, {b}"),
                    "setz {zero}",
                    "setp {parity}",
                    "setc {carry}",
                    "stmxcsr [{csr}]",
                    "ldmxcsr [{host}]",
                    csr = in(reg) &raw mut csr,
                    host = in(reg) &raw mut host,
                    a = in(xmm_reg) to_host(a),
                    b = in(xmm_reg) to_host(b),
                    zero = out(reg_byte) zero,
                    parity = out(reg_byte) parity,
                    carry = out(reg_byte) carry,
                    options(nostack),
                );
            }
            (u32::from(zero) << 6 | u32::from(parity) << 2 | u32::from(carry), Flags::of_mxcsr(csr))
        }
    )* };
}

ordered! { comiss ucomiss comisd ucomisd }

/// CVTSS2SI and its kin.
macro_rules! to_integer {
    ($($name:ident)*) => { $(
        #[doc = concat!(stringify!($name), " r32, src")]
        pub(crate) fn $name(src: u128, control: Control) -> (u32, Flags) {
            let mut csr = control.bits() | ALL_MASKED;
            let mut host = 0_u32;
            let result: u32;
            // SAFETY: as in `binary`.
            unsafe {
                asm!(
                    "stmxcsr [{host}]",
                    "ldmxcsr [{csr}]",
                    concat!(stringify!($name), " {result:e}, {src}"),
                    "stmxcsr [{csr}]",
                    "ldmxcsr [{host}]",
                    csr = in(reg) &raw mut csr,
                    host = in(reg) &raw mut host,
                    src = in(xmm_reg) to_host(src),
                    result = out(reg) result,
                    options(nostack, preserves_flags),
                );
            }
            (result, Flags::of_mxcsr(csr))
        }
    )* };
}

to_integer! { cvtss2si cvttss2si cvtsd2si cvttsd2si }
