use bitflags::bitflags;

bitflags! {
    /// EFLAGS (SDM Vol. 1, "EFLAGS Register").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Eflags: u32 {
        /// Carry.
        const CF = 1 << 0;
        /// Always 1.
        const RESERVED_1 = 1 << 1;
        /// Parity of the low byte.
        const PF = 1 << 2;
        /// Auxiliary carry, out of bit 3.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap: single step.
        const TF = 1 << 8;
        /// Interrupts enabled.
        const IF = 1 << 9;
        /// Direction of string instructions.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level, two bits.
        const IOPL = 3 << 12;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume: suppresses one instruction breakpoint.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check.
        const AC = 1 << 18;
        /// Virtual interrupt flag.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// CPUID is there if this can be changed.
        const ID = 1 << 21;
        const _ = !0;
    }
}

impl Eflags {
    /// CF, PF, AF, ZF, SF and OF: the flags that arithmetic sets.
    pub const STATUS: Eflags = Eflags::from_bits_retain(0x8d5);

    /// I/O privilege level, 0 to 3.
    #[inline]
    pub const fn iopl(self) -> u8 {
        ((self.bits() >> 12) & 3) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_the_manuals() {
        assert_eq!(Eflags::STATUS.bits(), 0x8d5);
        assert_eq!(Eflags::STATUS, Eflags::CF | Eflags::PF | Eflags::AF | Eflags::ZF | Eflags::SF | Eflags::OF);
        assert_eq!((Eflags::VM | Eflags::RF | Eflags::NT).bits(), 0x34000);
        assert_eq!(Eflags::from_bits_retain(0x3202).iopl(), 3);
    }
}
