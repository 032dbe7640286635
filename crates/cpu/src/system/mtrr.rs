//! Memory type range registers: kept and checked; memory types have no effect here
//! (SDM Vol. 3A, "Memory Type Range Registers").

use serde::{Deserialize, Serialize};
use x86::{PHYS_ADDR_BITS, msr};

use crate::Exception;

/// Pairs of base and mask.
const PAIRS: usize = 8;
/// Fixed-range registers: one of 64 KiB ranges, two of 16 KiB, eight of 4 KiB.
const FIXED: usize = 11;
/// IA32_MTRRCAP: eight pairs, fixed ranges, write-combining.
const CAPABILITIES: u64 = 0x508;
/// Bits 35:12.
const ADDR: u64 = ((1 << PHYS_ADDR_BITS) - 1) & !0xfff;
/// IA32_MTRR_DEF_TYPE: MTRRs enabled, fixed ranges enabled, type.
const DEF_TYPE: u64 = 1 << 11 | 1 << 10 | 0xff;
/// IA32_MTRR_PHYSMASK: valid.
const VALID: u64 = 1 << 11;

/// The values of the registers. After RESET all are 0 and MTRRs are off.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mtrrs {
    /// IA32_MTRR_DEF_TYPE.
    pub def_type: u64,
    /// IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 up to FIX4K_F8000.
    pub fixed: [u64; FIXED],
    /// IA32_MTRR_PHYSBASEn and IA32_MTRR_PHYSMASKn.
    pub variable: [[u64; 2]; PAIRS],
}

/// A register by its number.
enum Register {
    Capabilities,
    DefType,
    Fixed(usize),
    Base(usize),
    Mask(usize),
}

fn register(number: u32) -> Option<Register> {
    Some(match number {
        msr::IA32_MTRRCAP => Register::Capabilities,
        msr::IA32_MTRR_DEF_TYPE => Register::DefType,
        msr::IA32_MTRR_FIX64K_00000 => Register::Fixed(0),
        msr::IA32_MTRR_FIX16K_80000 => Register::Fixed(1),
        msr::IA32_MTRR_FIX16K_A0000 => Register::Fixed(2),
        msr::IA32_MTRR_FIX4K_C0000..=msr::IA32_MTRR_FIX4K_F8000 => {
            Register::Fixed(3 + (number - msr::IA32_MTRR_FIX4K_C0000) as usize)
        }
        msr::IA32_MTRR_PHYSBASE0..=msr::IA32_MTRR_PHYSMASK7 => {
            let from_first = number - msr::IA32_MTRR_PHYSBASE0;
            let pair = (from_first / 2) as usize;
            if from_first.is_multiple_of(2) { Register::Base(pair) } else { Register::Mask(pair) }
        }
        _ => return None,
    })
}

/// UC, WC, WT, WP, WB.
const fn is_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

impl Mtrrs {
    /// What firmware leaves behind: write-back, but for the hole below 1 MiB, its ROM and the last
    /// 512 MiB below 4 GiB.
    pub fn as_firmware_leaves_them() -> Self {
        let all = |kind: u64| kind * 0x0101_0101_0101_0101;
        let (uncacheable, write_protected, write_back) = (all(0), all(5), all(6));
        let mut fixed = [write_protected; FIXED];
        fixed[..2].fill(write_back);
        fixed[2] = uncacheable;
        let mut variable = [[0; 2]; PAIRS];
        variable[0] = [0xe000_0000, 0xf_e000_0000 | VALID];
        Mtrrs { def_type: DEF_TYPE & !0xff | 6, fixed, variable }
    }

    /// RDMSR; `None` if `number` is none of these registers.
    pub(super) fn read(&self, number: u32) -> Option<u64> {
        Some(match register(number)? {
            Register::Capabilities => CAPABILITIES,
            Register::DefType => self.def_type,
            Register::Fixed(at) => self.fixed[at],
            Register::Base(pair) => self.variable[pair][0],
            Register::Mask(pair) => self.variable[pair][1],
        })
    }

    /// WRMSR; `None` if `number` is none of these registers.
    ///
    /// # Errors
    /// #GP(0) for the register that cannot be written, a reserved type or a reserved bit.
    pub(super) fn write(&mut self, number: u32, value: u64) -> Option<Result<(), Exception>> {
        let register = register(number)?;
        let kind = value as u8;
        let (good, place) = match register {
            Register::Capabilities => return Some(Err(Exception::gp(0))),
            Register::DefType => (value & !DEF_TYPE == 0 && is_type(kind), &mut self.def_type),
            Register::Fixed(at) => (value.to_le_bytes().into_iter().all(is_type), &mut self.fixed[at]),
            Register::Base(pair) => (value & !(ADDR | 0xff) == 0 && is_type(kind), &mut self.variable[pair][0]),
            Register::Mask(pair) => (value & !(ADDR | VALID) == 0, &mut self.variable[pair][1]),
        };
        if !good {
            return Some(Err(Exception::gp(0)));
        }
        *place = value;
        Some(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registers_keep_what_the_manual_allows_and_refuse_the_rest() {
        let mut m = Mtrrs::default();
        for (number, value, good) in [
            (0x2ff, 0xc06, true),
            (0x2ff, 0xc02, false),
            (0x2ff, 0x1006, false),
            (0x250, 0x0606_0606_0606_0606, true),
            (0x26f, 0x0505_0505_0505_0500, true),
            (0x268, 0x0606_0606_0206_0606, false),
            (0x200, 0xf_e000_0006, true),
            (0x200, 0x10_0000_0006, false),
            (0x200, 0x106, false),
            (0x20e, 0xf_f000_0007, false),
            (0x20f, 0xf_e000_0800, true),
            (0x20f, 0xf_e000_0801, false),
            (0xfe, 0x508, false),
        ] {
            let before = m.read(number);
            let seen = m.write(number, value).expect("an MTRR");
            assert_eq!(seen.is_ok(), good, "{number:#x} {value:#x}");
            assert_eq!(m.read(number), if good { Some(value) } else { before });
        }
        assert_eq!(m.read(0xfe), Some(0x508));
        assert!(m.read(0x210).is_none() && m.write(0x277, 0).is_none());
    }

    #[test]
    fn what_firmware_leaves_is_what_the_registers_take() {
        let left = Mtrrs::as_firmware_leaves_them();
        let mut m = Mtrrs::default();
        let numbers = [0x250, 0x258, 0x259, 0x2ff].into_iter().chain(0x268..=0x26f).chain(0x200..=0x20f);
        for number in numbers {
            m.write(number, left.read(number).expect("an MTRR")).expect("an MTRR").unwrap();
        }
        assert_eq!(m, left);
    }
}
