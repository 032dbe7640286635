use serde::{Deserialize, Serialize};

use crate::Board;

/// The debug-exit port: a write of any width ends the machine with the value written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugExit;

impl DebugExit {
    /// The guest writes `value`, already cut to the width of the access.
    pub fn write(&mut self, value: u32, board: &mut impl Board) {
        board.power_off(value);
    }

    /// Nothing can be read: the bus floats high.
    pub fn read(&self) -> u8 {
        0xff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[test]
    fn a_write_ends_the_machine_with_exactly_that_value() {
        let mut board = TestBoard::default();
        DebugExit.write(0xdead_beef, &mut board);
        assert_eq!(board.status, Some(0xdead_beef));
    }
}
