//! Flags of results that overflow or underflow while that is unmasked. The host computes with everything
//! masked, so that it tells of the infinity or the denormal that it gave; the guest is told of the result
//! with an unbounded exponent. The x87's exact arithmetic knows that one.

use super::{
    mxcsr::{Control, Flags},
    round::rounded,
};
use crate::fpu::{
    F80,
    exact::{Narrow, Number, product, quotient, sum},
};

/// An operation that may overflow or underflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    /// To the narrower format; of the source alone.
    Narrow,
}

/// The operation of an instruction, and the lanes that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub op: Op,
    pub source: Narrow,
    pub target: Narrow,
    pub lanes: u32,
}

/// The flags of an operation of this shape, given what the host made of it.
pub(super) fn judge(shape: Shape, dst: u128, src: u128, control: Control, result: u128, flags: Flags) -> Flags {
    let unmasked = control.unmasked();
    let lanes = |format: Narrow, v: u128| {
        (0..shape.lanes).map(move |i| (v >> (i * format.bits)) as u64 & (u64::MAX >> (64 - format.bits)))
    };
    let tiny = || lanes(shape.target, result).any(|lane| shape.target.is_denormal(lane));
    let matters =
        flags.intersects(unmasked & Flags::OVERFLOW_AND_UNDERFLOW) || unmasked.intersects(Flags::UNDERFLOW) && tiny();
    if !matters {
        return flags;
    }
    lanes(shape.source, dst)
        .zip(lanes(shape.source, src))
        .fold(flags & Flags::BEFORE, |sum, (a, b)| sum | lane_flags(shape, a, b, control))
}

/// OE, UE and PE of one lane.
fn lane_flags(shape: Shape, a: u64, b: u64, control: Control) -> Flags {
    let number = |bits: u64| {
        let flushed = control.denormals_are_zero() && shape.source.is_denormal(bits);
        if flushed { Number::Zero { sign: false } } else { F80::of_narrow(bits, shape.source).0.number() }
    };
    let value = match (shape.op, number(a), number(b)) {
        (Op::Narrow, _, Number::Finite { value, .. }) => Some(value),
        (Op::Narrow, ..) => None,
        (Op::Add | Op::Sub, Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => {
            sum(p, if shape.op == Op::Sub { q.negated() } else { q })
        }
        (Op::Add, Number::Zero { .. }, Number::Finite { value, .. })
        | (Op::Add | Op::Sub, Number::Finite { value, .. }, Number::Zero { .. }) => Some(value),
        (Op::Sub, Number::Zero { .. }, Number::Finite { value, .. }) => Some(value.negated()),
        (Op::Mul, Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => Some(product(p, q)),
        (Op::Div, Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => Some(quotient(p, q)),
        _ => None,
    };
    value.map_or(Flags::default(), |value| rounded(value, shape.target.format, control).1)
}
