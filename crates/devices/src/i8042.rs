use serde::{Deserialize, Serialize};

use crate::{Board, Keyboard, ResetCause};

const DATA_PORT: u16 = 0;

// Status register.
const OUTPUT_FULL: u8 = 1 << 0;
const SYSTEM: u8 = 1 << 2;
const LAST_WAS_COMMAND: u8 = 1 << 3;
const NOT_INHIBITED: u8 = 1 << 4;
const FROM_MOUSE: u8 = 1 << 5;
const TIMEOUT: u8 = 1 << 6;

// Command byte.
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
const MOUSE_INTERRUPT: u8 = 1 << 1;
const KEYBOARD_DISABLED: u8 = 1 << 4;
const MOUSE_DISABLED: u8 = 1 << 5;
const TRANSLATE: u8 = 1 << 6;

// Output port: bit 0 is the processor's reset line, active low.
const NOT_RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;

const SELF_TEST_PASSED: u8 = 0x55;
const INTERFACE_TEST_PASSED: u8 = 0x00;
/// What the controller says for a device that does not answer.
const NO_DEVICE: u8 = 0xfe;
/// The break prefix of scan code set 2, and the bit that set 1 has in its place.
const SET_2_BREAK: u8 = 0xf0;
const SET_1_BREAK: u8 = 0x80;

/// A byte in the output buffer and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Output {
    /// The keyboard, or the controller itself.
    Keyboard(u8),
    Mouse(u8),
    /// A mouse that is not there.
    NoMouse(u8),
}

impl Output {
    fn byte(self) -> u8 {
        match self {
            Output::Keyboard(byte) | Output::Mouse(byte) | Output::NoMouse(byte) => byte,
        }
    }
}

/// The 8042 keyboard controller at ports 0x60 and 0x64, with a keyboard and no mouse
/// (IBM PC AT Technical Reference, "Keyboard Controller").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042 {
    command_byte: u8,
    output_port: u8,
    output: Option<Output>,
    /// The byte last put out: an empty buffer still reads as that.
    last_output: u8,
    /// The command whose parameter comes to the data port next.
    awaited: Option<u8>,
    last_was_command: bool,
    /// A break prefix was translated away and marks the next code.
    break_next: bool,
    keyboard: Keyboard,
}

impl Default for I8042 {
    fn default() -> Self {
        I8042 {
            command_byte: SYSTEM | KEYBOARD_INTERRUPT | TRANSLATE | MOUSE_DISABLED,
            output_port: NOT_RESET | A20,
            output: None,
            last_output: 0,
            awaited: None,
            last_was_command: false,
            break_next: false,
            keyboard: Keyboard::default(),
        }
    }
}

impl I8042 {
    /// A key goes down or up: its bytes in scan code set 2.
    pub fn press(&mut self, codes: &[u8]) {
        self.keyboard.press(codes);
        self.poll_keyboard();
    }

    /// Level of IRQ 1: the buffer holds a byte of the keyboard.
    pub fn irq_keyboard(&self) -> bool {
        self.command_byte & KEYBOARD_INTERRUPT != 0 && matches!(self.output, Some(Output::Keyboard(_)))
    }

    /// Level of IRQ 12: the buffer holds a byte of the mouse.
    pub fn irq_mouse(&self) -> bool {
        self.command_byte & MOUSE_INTERRUPT != 0 && matches!(self.output, Some(Output::Mouse(_) | Output::NoMouse(_)))
    }

    /// Whether the controller's output port lets address line 20 through.
    pub fn a20(&self) -> bool {
        self.output_port & A20 != 0
    }

    /// Reads the data port (`offset` 0) or the status (any other).
    pub fn read(&mut self, offset: u16) -> u8 {
        if offset != DATA_PORT {
            return self.status();
        }
        if let Some(output) = self.output.take() {
            self.last_output = output.byte();
        }
        let byte = self.last_output;
        self.poll_keyboard();
        byte
    }

    /// Writes the data port or a command.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board) {
        self.last_was_command = offset != DATA_PORT;
        if offset != DATA_PORT {
            self.awaited = None;
            self.command(value, board);
        } else if let Some(command) = self.awaited.take() {
            self.parameter(command, value, board);
        } else {
            // A byte for the keyboard also switches its interface on.
            self.command_byte &= !KEYBOARD_DISABLED;
            self.keyboard.receive(value);
        }
        self.poll_keyboard();
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = I8042::default();
    }

    fn status(&self) -> u8 {
        let source = match self.output {
            None => 0,
            Some(Output::Keyboard(_)) => OUTPUT_FULL,
            Some(Output::Mouse(_)) => OUTPUT_FULL | FROM_MOUSE,
            Some(Output::NoMouse(_)) => OUTPUT_FULL | FROM_MOUSE | TIMEOUT,
        };
        let command = if self.last_was_command { LAST_WAS_COMMAND } else { 0 };
        NOT_INHIBITED | self.command_byte & SYSTEM | command | source
    }

    fn command(&mut self, command: u8, board: &mut impl Board) {
        match command {
            0x20 => self.answer(self.command_byte),
            0x60 | 0xd1..=0xd4 => self.awaited = Some(command),
            0xa7 => self.command_byte |= MOUSE_DISABLED,
            0xa8 => self.command_byte &= !MOUSE_DISABLED,
            0xa9 | 0xab => self.answer(INTERFACE_TEST_PASSED),
            0xaa => {
                self.command_byte = self.command_byte & !(KEYBOARD_INTERRUPT | MOUSE_INTERRUPT) | SYSTEM;
                self.answer(SELF_TEST_PASSED);
            }
            0xad => self.command_byte |= KEYBOARD_DISABLED,
            0xae => self.command_byte &= !KEYBOARD_DISABLED,
            // Input port: the keyboard is not locked.
            0xc0 => self.answer(0x80),
            0xd0 => {
                let full = u8::from(self.irq_keyboard()) << 4 | u8::from(self.irq_mouse()) << 5;
                self.answer(self.output_port | full);
            }
            0xdd => self.output_port &= !A20,
            0xdf => self.output_port |= A20,
            // Test inputs: both clock lines rest high.
            0xe0 => self.answer(0x03),
            0xf0..=0xff => {
                if command & NOT_RESET == 0 {
                    board.reset(ResetCause::KeyboardController);
                }
            }
            _ => log::debug!("keyboard controller: unknown command {command:#04x}"),
        }
    }

    fn parameter(&mut self, command: u8, value: u8, board: &mut impl Board) {
        match command {
            0x60 => self.command_byte = value,
            0xd1 => {
                self.output_port = value | NOT_RESET;
                if value & NOT_RESET == 0 {
                    board.reset(ResetCause::KeyboardController);
                }
            }
            0xd2 => self.answer(value),
            0xd3 => self.output = Some(Output::Mouse(value)),
            _ => self.output = Some(Output::NoMouse(NO_DEVICE)),
        }
    }

    fn answer(&mut self, byte: u8) {
        self.output = Some(Output::Keyboard(byte));
    }

    /// Fills an empty output buffer from an enabled keyboard.
    fn poll_keyboard(&mut self) {
        while self.output.is_none() && self.command_byte & KEYBOARD_DISABLED == 0 {
            let Some(byte) = self.keyboard.send() else { return };
            if self.command_byte & TRANSLATE == 0 {
                return self.answer(byte);
            }
            if byte == SET_2_BREAK {
                self.break_next = true;
            } else {
                let broken = std::mem::take(&mut self.break_next);
                self.answer(set_1_of(byte) | if broken { SET_1_BREAK } else { 0 });
            }
        }
    }
}

/// Translates a byte of scan code set 2 into set 1; codes beyond the table stay what they are.
fn set_1_of(set_2: u8) -> u8 {
    match set_2 {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => SET_1.get(usize::from(set_2)).copied().unwrap_or(set_2),
    }
}

/// Scan code set 1 by set 2 (IBM PC AT Technical Reference, "Scan Code Translation").
const SET_1: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, //
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, //
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, //
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, //
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, //
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    struct Bench {
        chip: I8042,
        board: TestBoard,
    }

    impl Bench {
        fn new() -> Self {
            Bench { chip: I8042::default(), board: TestBoard::default() }
        }

        fn command(&mut self, command: u8) -> &mut Self {
            self.chip.write(4, command, &mut self.board);
            self
        }

        fn data(&mut self, value: u8) -> &mut Self {
            self.chip.write(0, value, &mut self.board);
            self
        }

        /// Everything in the output buffer, one after the other.
        fn drain(&mut self) -> Vec<u8> {
            let mut bytes = Vec::new();
            while self.chip.read(4) & OUTPUT_FULL != 0 {
                bytes.push(self.chip.read(0));
            }
            bytes
        }
    }

    #[test]
    fn the_tests_that_probing_software_makes_pass() {
        for (command, answer) in [(0xaa, 0x55), (0xab, 0x00), (0xa9, 0x00), (0xd0, 0x03), (0x20, 0x65)] {
            assert_eq!(Bench::new().command(command).drain(), [answer], "{command:#x}");
        }
    }

    #[test]
    fn the_command_byte_can_be_written_and_read() {
        let mut bench = Bench::new();
        bench.command(0x60).data(0x47);
        assert_eq!(bench.command(0x20).drain(), [0x47]);
    }

    #[test]
    fn keys_come_in_scan_code_set_1_with_irq_1() {
        let mut bench = Bench::new();
        bench.chip.press(&[0x1c]); // A down
        bench.chip.press(&[0xf0, 0x1c]); // A up
        bench.chip.press(&[0xe0, 0x75]); // cursor up
        assert!(bench.chip.irq_keyboard());
        assert_eq!(bench.drain(), [0x1e, 0x9e, 0xe0, 0x48]);
        assert!(!bench.chip.irq_keyboard());
    }

    #[test]
    fn without_translation_keys_come_in_set_2() {
        let mut bench = Bench::new();
        bench.command(0x60).data(0x01);
        bench.chip.press(&[0xf0, 0x1c]);
        assert_eq!(bench.drain(), [0xf0, 0x1c]);
    }

    #[test]
    fn a_disabled_interface_holds_keys_back() {
        let mut bench = Bench::new();
        bench.command(0xad);
        bench.chip.press(&[0x1c]);
        assert_eq!(bench.drain(), []);
        bench.command(0xae);
        assert_eq!(bench.drain(), [0x1e]);
    }

    #[test]
    fn the_keyboard_identifies_itself_through_the_controller() {
        let mut bench = Bench::new();
        bench.data(0xf2);
        assert_eq!(bench.drain(), [0xfa, 0xab, 0x41], "translated, as on a PC");
    }

    #[test]
    fn the_mouse_port_loops_back_but_no_mouse_answers() {
        let mut bench = Bench::new();
        bench.command(0xd3).data(0x5a);
        assert_eq!(bench.chip.read(4) & (OUTPUT_FULL | FROM_MOUSE), OUTPUT_FULL | FROM_MOUSE);
        assert_eq!(bench.drain(), [0x5a]);
        bench.command(0xd4).data(0xf2);
        assert_ne!(bench.chip.read(4) & TIMEOUT, 0);
        assert_eq!(bench.drain(), [0xfe]);
    }

    #[test]
    fn the_output_port_gates_a20() {
        let mut bench = Bench::new();
        assert!(bench.chip.a20());
        assert!(!bench.command(0xd1).data(0x01).chip.a20());
        assert!(bench.command(0xd1).data(0x03).chip.a20());
        assert!(!bench.command(0xdd).chip.a20());
        assert!(bench.command(0xdf).chip.a20());
    }

    #[test]
    fn pulsing_or_clearing_bit_0_resets_the_machine() {
        let mut bench = Bench::new();
        bench.command(0xff);
        assert!(bench.board.resets.is_empty(), "no line pulsed");
        bench.command(0xfe);
        bench.command(0xd1).data(0x02);
        assert_eq!(bench.board.resets, [ResetCause::KeyboardController; 2]);
    }
}
