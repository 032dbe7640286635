use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Bytes that the keyboard keeps while nobody reads them: of keys, and of answers.
const BUFFER_BYTES: usize = 16;
/// Sent in place of the key that did not fit.
const OVERRUN: u8 = 0x00;

const ACKNOWLEDGE: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const ECHO: u8 = 0xee;
const SELF_TEST_PASSED: u8 = 0xaa;
/// What an MF2 keyboard calls itself.
const IDENTITY: [u8; 2] = [0xab, 0x83];
const RESET_SCAN_CODE_SET: u8 = 2;

/// An MF2 keyboard on the serial wires of the keyboard controller. It speaks scan code set 2
/// (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    answers: VecDeque<u8>,
    keys: VecDeque<u8>,
    scanning: bool,
    set: u8,
    lights: u8,
    /// The command whose parameter comes next.
    awaited: Option<u8>,
    last_sent: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Keyboard {
            answers: VecDeque::new(),
            keys: VecDeque::new(),
            scanning: true,
            set: RESET_SCAN_CODE_SET,
            lights: 0,
            awaited: None,
            last_sent: 0,
        }
    }
}

impl Keyboard {
    /// A key goes down or up: its bytes in scan code set 2.
    pub fn press(&mut self, codes: &[u8]) {
        if !self.scanning {
            return;
        }
        if self.keys.len() + codes.len() <= BUFFER_BYTES {
            self.keys.extend(codes);
        } else if self.keys.back() != Some(&OVERRUN) {
            self.keys.push_back(OVERRUN);
        }
    }

    /// The next byte for the controller: answers before keys.
    pub fn send(&mut self) -> Option<u8> {
        let byte = self.answers.pop_front().or_else(|| self.keys.pop_front())?;
        self.last_sent = byte;
        Some(byte)
    }

    /// Scroll lock, num lock and caps lock lights in bits 0 to 2.
    pub fn lights(&self) -> u8 {
        self.lights
    }

    /// A command or a parameter from the controller.
    pub fn receive(&mut self, byte: u8) {
        if let Some(command) = self.awaited.take()
            && byte < 0xed
        {
            return self.take_parameter(command, byte);
        }
        match byte {
            0xed | 0xf0 | 0xf3 => {
                self.awaited = Some(byte);
                self.answer(&[ACKNOWLEDGE]);
            }
            0xee => self.answer(&[ECHO]),
            0xf2 => self.answer(&[ACKNOWLEDGE, IDENTITY[0], IDENTITY[1]]),
            0xf4 => {
                self.keys.clear();
                self.scanning = true;
                self.answer(&[ACKNOWLEDGE]);
            }
            0xf5 | 0xf6 => {
                *self = Keyboard { scanning: byte == 0xf6, lights: self.lights, ..Keyboard::default() };
                self.answer(&[ACKNOWLEDGE]);
            }
            // Typematic and make/break choices of set 3, which nothing shows.
            0xf7..=0xfa => self.answer(&[ACKNOWLEDGE]),
            0xfe if self.answers.len() < BUFFER_BYTES => self.answers.push_front(self.last_sent),
            0xfe => {}
            0xff => {
                *self = Keyboard::default();
                self.answer(&[ACKNOWLEDGE, SELF_TEST_PASSED]);
            }
            _ => {
                log::debug!("keyboard: unknown command {byte:#04x}");
                self.answer(&[RESEND]);
            }
        }
    }

    fn take_parameter(&mut self, command: u8, value: u8) {
        self.answer(&[ACKNOWLEDGE]);
        match command {
            0xed => self.lights = value & 7,
            0xf0 if value == 0 => self.answer(&[self.set]),
            0xf0 => self.set = value,
            _ => {}
        }
    }

    /// What does not fit is lost, as on the wire of a keyboard that nobody reads.
    fn answer(&mut self, bytes: &[u8]) {
        let room = BUFFER_BYTES.saturating_sub(self.answers.len());
        self.answers.extend(bytes.iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(keyboard: &mut Keyboard, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().for_each(|&byte| keyboard.receive(byte));
        std::iter::from_fn(|| keyboard.send()).collect()
    }

    #[test]
    fn commands_get_the_answers_of_an_mf2_keyboard() {
        for (sent, answers) in [
            (&[0xff][..], &[0xfa, 0xaa][..]),
            (&[0xf2], &[0xfa, 0xab, 0x83]),
            (&[0xee], &[0xee]),
            (&[0xed, 0x07], &[0xfa, 0xfa]),
            (&[0xf0, 0x00], &[0xfa, 0xfa, 0x02]),
            (&[0xf3, 0x20], &[0xfa, 0xfa]),
            (&[0xf4], &[0xfa]),
            (&[0x12], &[0xfe]),
        ] {
            assert_eq!(exchange(&mut Keyboard::default(), sent), answers, "{sent:02x?}");
        }
    }

    #[test]
    fn a_disabled_keyboard_sends_no_keys() {
        let mut keyboard = Keyboard::default();
        exchange(&mut keyboard, &[0xf5]);
        keyboard.press(&[0x1c]);
        assert_eq!(keyboard.send(), None);
        exchange(&mut keyboard, &[0xf4]);
        keyboard.press(&[0x1c]);
        assert_eq!(keyboard.send(), Some(0x1c));
    }

    #[test]
    fn keys_that_do_not_fit_are_told_by_one_overrun_code() {
        let mut keyboard = Keyboard::default();
        (0..40).for_each(|_| keyboard.press(&[0x1c]));
        let sent: Vec<u8> = std::iter::from_fn(|| keyboard.send()).collect();
        assert_eq!(sent, [&[0x1c; 16][..], &[0]].concat());
    }

    #[test]
    fn answers_that_nobody_reads_do_not_pile_up() {
        let mut keyboard = Keyboard::default();
        (0..1000).for_each(|_| keyboard.receive(0xf2));
        (0..1000).for_each(|_| keyboard.receive(0xfe));
        assert_eq!(std::iter::from_fn(|| keyboard.send()).count(), BUFFER_BYTES);
        assert_eq!(exchange(&mut keyboard, &[0xee]), [0xee], "and it still answers");
    }

    #[test]
    fn resend_repeats_the_last_byte() {
        let mut keyboard = Keyboard::default();
        keyboard.press(&[0x1c]);
        keyboard.send();
        assert_eq!(exchange(&mut keyboard, &[0xfe]), [0x1c]);
    }
}
