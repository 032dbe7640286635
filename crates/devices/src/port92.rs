use serde::{Deserialize, Serialize};

use crate::{Board, ResetCause};

const FAST_RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;
/// What can be stored: the reset bit, the A20 gate, the CMOS lock and the two lights.
const STORED: u8 = 0b1100_1011;

/// System control port A, 0x92: a fast A20 gate and a fast reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port92 {
    value: u8,
}

impl Port92 {
    /// The bits last written.
    pub fn read(&self) -> u8 {
        self.value
    }

    /// Moves the A20 gate; bit 0 going from 0 to 1 resets the machine.
    pub fn write(&mut self, value: u8, board: &mut impl Board) {
        let rising = value & !self.value;
        self.value = value & STORED;
        if rising & FAST_RESET != 0 {
            board.reset(ResetCause::FastReset);
        }
    }

    /// Whether this port lets address line 20 through.
    pub fn a20(&self) -> bool {
        self.value & A20 != 0
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = Port92::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[test]
    fn bit_1_is_the_a20_gate_and_a_rising_bit_0_resets() {
        let mut board = TestBoard::default();
        let mut port = Port92::default();
        port.write(2, &mut board);
        assert!(port.a20());
        assert!(board.resets.is_empty());
        port.write(3, &mut board);
        port.write(3, &mut board);
        assert_eq!(board.resets, [ResetCause::FastReset]);
    }
}
