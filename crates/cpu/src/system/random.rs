//! RDRAND (SDM Vol. 2): numbers that look like chance and are the same in every run.

use iced_x86::Instruction;
use x86::Eflags;

use crate::{Cpu, Exception, operand, slow::Flow};

/// RDRAND. There is always a number: CF is set.
pub(super) fn rdrand(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let number = next(&mut cpu.state.random);
    operand::write_reg(cpu, insn.op0_register(), number as u32);
    let flags = (cpu.eflags() - Eflags::STATUS) | Eflags::CF;
    cpu.set_eflags(flags);
    Ok(Flow::Next)
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators"), its upper half.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gpr, fixture::Fixture};

    #[test]
    fn numbers_follow_from_the_seed_and_carry_says_that_there_was_one() {
        let numbers = |seed| {
            let mut f = Fixture::ringed();
            f.cpu.state.random = seed;
            f.cpu.state.eflags |= Eflags::ZF | Eflags::OF;
            let numbers = [0; 4].map(|_| {
                f.exec(&[0x0f, 0xc7, 0xf1]).unwrap(); // rdrand ecx
                f.cpu.state.gpr(Gpr::Ecx)
            });
            assert_eq!(f.cpu.eflags() & Eflags::STATUS, Eflags::CF);
            numbers
        };
        // The first of the reference implementation for seed 0 is 0xe220a8397b1dcdaf.
        assert_eq!(numbers(0)[0], 0xe220_a839);
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn a_16_bit_number_leaves_the_rest_of_the_register() {
        let mut f = Fixture::ringed();
        f.cpu.state.set_gpr(Gpr::Eax, 0x1234_5678);
        f.exec(&[0x66, 0x0f, 0xc7, 0xf0]).unwrap();
        assert_eq!(f.cpu.state.gpr(Gpr::Eax), 0x1234_a839);
    }
}
