use serde::{Deserialize, Serialize};

use crate::{Board, Pit8254};

const GATE_2: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
/// The bits that software can set: gate 2, speaker data, and the two error-check disables.
const STORED: u8 = 0x0f;
const REFRESH: u8 = 1 << 4;
const OUT_2: u8 = 1 << 5;
/// One refresh request: 18 ticks of the timer, some 15 microseconds.
const REFRESH_TICKS: u64 = 18;

/// System control port B, 0x61: the gate and the output of timer channel 2, the speaker,
/// and the refresh toggle that old delay loops watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port61 {
    value: u8,
}

impl Port61 {
    /// The stored bits, the refresh toggle and OUT of channel 2.
    pub fn read(&self, pit: &mut Pit8254, board: &mut impl Board) -> u8 {
        let refresh = Pit8254::ticks_at(board.now_ns()) / REFRESH_TICKS % 2 == 1;
        let out_2 = pit.output(2, board);
        self.value | if refresh { REFRESH } else { 0 } | if out_2 { OUT_2 } else { 0 }
    }

    /// Moves the gate of channel 2.
    pub fn write(&mut self, value: u8, pit: &mut Pit8254, board: &mut impl Board) {
        self.value = value & STORED;
        pit.set_gate(2, value & GATE_2 != 0, board);
    }

    /// Whether the output of channel 2 drives the speaker.
    pub fn speaker(&self) -> bool {
        self.value & SPEAKER != 0
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self, pit: &mut Pit8254, board: &mut impl Board) {
        self.write(0, pit, board);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[test]
    fn channel_2_can_be_gated_and_its_output_watched() {
        let mut board = TestBoard::default();
        let mut pit = Pit8254::new();
        let mut port = Port61::default();
        port.write(0, &mut pit, &mut board);
        pit.write(3, 0xb0, &mut board); // channel 2, both bytes, mode 0
        pit.write(2, 100, &mut board);
        pit.write(2, 0, &mut board);
        board.now_ns = 1_000_000; // 1193 ticks later: the gate is closed, so it did not count
        assert_eq!(port.read(&mut pit, &mut board) & OUT_2, 0);
        port.write(1, &mut pit, &mut board);
        board.now_ns = 1_090_000; // 107 ticks with the gate open
        assert_eq!(port.read(&mut pit, &mut board) & (OUT_2 | STORED), OUT_2 | GATE_2);
    }

    #[test]
    fn the_refresh_bit_toggles_every_fifteen_microseconds() {
        let mut board = TestBoard::default();
        let mut pit = Pit8254::new();
        let port = Port61::default();
        let mut toggles = 0;
        let mut last = port.read(&mut pit, &mut board) & REFRESH;
        for now_ns in (0..1_000_000).step_by(100) {
            board.now_ns = now_ns;
            let bit = port.read(&mut pit, &mut board) & REFRESH;
            toggles += u32::from(bit != last);
            last = bit;
        }
        assert_eq!(toggles, 66);
    }
}
