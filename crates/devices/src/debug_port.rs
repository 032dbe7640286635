use serde::{Deserialize, Serialize};

use crate::{Board, Outlet};

/// What a read of the debug console gives, by which software finds that it is there.
const PRESENT: u8 = 0xe9;

/// The debug console at port 0xe9: every byte written is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugPort;

impl DebugPort {
    /// Prints `value`.
    pub fn write(&mut self, value: u8, board: &mut impl Board) {
        board.emit(Outlet::Debug, value);
    }

    /// The port's own number.
    pub fn read(&self) -> u8 {
        PRESENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[test]
    fn bytes_are_printed_and_a_read_tells_that_the_port_is_there() {
        let mut board = TestBoard::default();
        DebugPort.write(b'x', &mut board);
        assert_eq!(board.emitted, [(Outlet::Debug, b'x')]);
        assert_eq!(DebugPort.read(), 0xe9);
    }
}
