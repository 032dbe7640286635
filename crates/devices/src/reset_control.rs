use serde::{Deserialize, Serialize};

use crate::{Board, ResetCause};

const SYSTEM_RESET: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;
const FULL_RESET: u8 = 1 << 3;

/// The reset control register of PC chip sets, port 0xcf9. Only byte accesses reach it:
/// a dword at 0xcf8 is a PCI configuration address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetControl {
    value: u8,
}

impl ResetControl {
    /// The kind of reset chosen.
    pub fn read(&self) -> u8 {
        self.value
    }

    /// Bit 2 going from 0 to 1 resets the machine.
    pub fn write(&mut self, value: u8, board: &mut impl Board) {
        let rising = value & !self.value;
        self.value = value & (SYSTEM_RESET | RESET_CPU | FULL_RESET);
        if rising & RESET_CPU != 0 {
            board.reset(ResetCause::ResetControl);
        }
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = ResetControl::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[test]
    fn choosing_the_kind_does_nothing_and_bit_2_then_resets_once() {
        let mut board = TestBoard::default();
        let mut register = ResetControl::default();
        register.write(0x02, &mut board);
        assert!(board.resets.is_empty());
        register.write(0x06, &mut board);
        assert_eq!(board.resets, [ResetCause::ResetControl]);
        assert_eq!(register.read(), 0x06);
    }
}
