//! SSE3's horizontal and alternating floating-point arithmetic, SSE4.1's dot products and rounding.

use iced_x86::{Instruction, Mnemonic};

use super::{
    access::{check_sse, with_low32, with_low64, xmm_operand},
    arith,
    float::{Lanes, binary, read},
    lanes::{dwords, from_dwords, from_qwords, mask32, mask64, qwords},
    mxcsr::{self, Control, Flags},
};
use crate::{
    Cpu, Exception,
    fpu::Rounding,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Addsubps => |c, i| binary(c, i, Lanes::Ps, addsubps),
        Mnemonic::Addsubpd => |c, i| binary(c, i, Lanes::Pd, addsubpd),
        Mnemonic::Haddps => |c, i| binary(c, i, Lanes::Ps, |d, s, k| horizontal_ps(d, s, k, arith::addps)),
        Mnemonic::Hsubps => |c, i| binary(c, i, Lanes::Ps, |d, s, k| horizontal_ps(d, s, k, arith::subps)),
        Mnemonic::Haddpd => |c, i| binary(c, i, Lanes::Pd, |d, s, k| horizontal_pd(d, s, k, arith::addpd)),
        Mnemonic::Hsubpd => |c, i| binary(c, i, Lanes::Pd, |d, s, k| horizontal_pd(d, s, k, arith::subpd)),
        Mnemonic::Roundps => |c, i| round(c, i, Lanes::Ps),
        Mnemonic::Roundss => |c, i| round(c, i, Lanes::Ss),
        Mnemonic::Roundpd => |c, i| round(c, i, Lanes::Pd),
        Mnemonic::Roundsd => |c, i| round(c, i, Lanes::Sd),
        Mnemonic::Dpps => |c, i| dot_product(c, i, Lanes::Ps),
        Mnemonic::Dppd => |c, i| dot_product(c, i, Lanes::Pd),
        _ => return None,
    };
    Some(slow)
}

type Binary = fn(u128, u128, Control) -> (u128, Flags);

const EVEN32: u128 = 0x00000000_ffffffff_00000000_ffffffff;
const LOW64: u128 = 0xffffffff_ffffffff;

/// Even lanes subtract, odd lanes add: two operations, each with zeros in the other's lanes.
fn alternate(d: u128, s: u128, even: u128, control: Control, sub: Binary, add: Binary) -> (u128, Flags) {
    let (difference, below) = sub(d & even, s & even, control);
    let (sum, above) = add(d & !even, s & !even, control);
    (difference & even | sum & !even, below | above)
}

fn addsubps(d: u128, s: u128, control: Control) -> (u128, Flags) {
    alternate(d, s, EVEN32, control, arith::subps, arith::addps)
}

fn addsubpd(d: u128, s: u128, control: Control) -> (u128, Flags) {
    alternate(d, s, LOW64, control, arith::subpd, arith::addpd)
}

/// `op` of neighbours: those of the destination, then those of the source.
fn horizontal_ps(d: u128, s: u128, control: Control, op: Binary) -> (u128, Flags) {
    let (d, s) = (dwords(d), dwords(s));
    op(from_dwords([d[0], d[2], s[0], s[2]]), from_dwords([d[1], d[3], s[1], s[3]]), control)
}

fn horizontal_pd(d: u128, s: u128, control: Control, op: Binary) -> (u128, Flags) {
    let (d, s) = (qwords(d), qwords(s));
    op(from_qwords([d[0], s[0]]), from_qwords([d[1], s[1]]), control)
}

/// ROUNDPS and its kin: bits 1:0 of the immediate choose the rounding unless bit 2 says MXCSR's;
/// bit 3 hides the inexact result (SDM Vol. 2, "ROUNDPD").
fn round(cpu: &mut Cpu, insn: &Instruction, lanes: Lanes) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read(cpu, insn, 1, lanes)?;
    let imm = insn.immediate8();
    let control = Control::of_mxcsr(cpu.state.mxcsr);
    let rounding = if imm & 4 != 0 { control.rounding() } else { Rounding::of_bits(imm.into()) };
    let dst = *xmm_operand(cpu, insn, 0);
    let mut flags = Flags::default();
    let mut single = |bits: u32| {
        let (rounded, raised) = round_single(bits, rounding, control.denormals_are_zero());
        flags = flags | raised;
        rounded
    };
    let result = match lanes {
        Lanes::Ps => from_dwords(dwords(src).map(single)),
        Lanes::Ss => with_low32(dst, single(src as u32)),
        Lanes::Pd | Lanes::Sd => {
            let mut double = |bits: u64| {
                let (rounded, raised) = round_double(bits, rounding, control.denormals_are_zero());
                flags = flags | raised;
                rounded
            };
            if lanes == Lanes::Pd { from_qwords(qwords(src).map(double)) } else { with_low64(dst, double(src as u64)) }
        }
    };
    mxcsr::raise(cpu, if imm & 8 != 0 { flags.without_precision() } else { flags })?;
    *xmm_operand(cpu, insn, 0) = result;
    Ok(Flow::Next)
}

macro_rules! round_float {
    ($name:ident, $float:ty, $bits:ty) => {
        /// The bits rounded to an integer, and IE or PE.
        fn $name(bits: $bits, rounding: Rounding, daz: bool) -> ($bits, Flags) {
            const QUIET: $bits = 1 << (<$float>::MANTISSA_DIGITS - 2);
            let value = <$float>::from_bits(bits);
            if value.is_nan() {
                let raised = if bits & QUIET == 0 { Flags::INVALID } else { Flags::default() };
                return (bits | QUIET, raised);
            }
            let value = if daz && value.is_subnormal() { (0.0 as $float).copysign(value) } else { value };
            let rounded = match rounding {
                Rounding::Nearest => value.round_ties_even(),
                Rounding::Down => value.floor(),
                Rounding::Up => value.ceil(),
                Rounding::Truncate => value.trunc(),
            };
            let raised = if rounded == value { Flags::default() } else { Flags::PRECISION };
            (rounded.to_bits(), raised)
        }
    };
}

round_float!(round_single, f32, u32);
round_float!(round_double, f64, u64);

/// DPPS and DPPD: products where the immediate's high half has a bit, their sum where its low half has one.
fn dot_product(cpu: &mut Cpu, insn: &Instruction, lanes: Lanes) -> Result<Flow, Exception> {
    let imm = insn.immediate8();
    let select = |bits: u8| match lanes {
        Lanes::Ps => from_dwords(std::array::from_fn(|i| mask32(bits >> i & 1 != 0))),
        _ => from_qwords(std::array::from_fn(|i| mask64(bits >> i & 1 != 0))),
    };
    let (products, sums) = (select(imm >> 4), select(imm));
    check_sse(cpu)?;
    let s = read(cpu, insn, 1, lanes)? & products;
    let d = *xmm_operand(cpu, insn, 0) & products;
    let control = Control::of_mxcsr(cpu.state.mxcsr);
    // An unmasked exception of one step keeps the next from being tried.
    let mut step = |(value, flags): (u128, Flags)| mxcsr::raise(cpu, flags).map(|()| value);
    let total = if lanes == Lanes::Ps {
        let product = step(arith::mulps(d, s, control))?;
        let pairs = step(horizontal_ps(product & products, 0, control, arith::addps))?;
        let total = step(arith::addss(pairs, pairs >> 32, control))?;
        from_dwords([total as u32; 4])
    } else {
        let product = step(arith::mulpd(d, s, control))?;
        let total = step(arith::addsd(product & products, product >> 64, control))?;
        from_qwords([total as u64; 2])
    };
    *xmm_operand(cpu, insn, 0) = total & sums;
    Ok(Flow::Next)
}
