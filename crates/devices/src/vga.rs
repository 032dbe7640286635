//! The registers of a VGA in its text mode (IBM Personal System/2 Hardware Interface Technical
//! Reference, "Video Subsystem"). The text itself is memory at 0xb8000.
mod registers;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::Board;
use registers::{ATTRIBUTES, CRTC, GRAPHICS, MISCELLANEOUS, SEQUENCER, TEXT_COLOURS};

/// Bytes of video memory that the text mode shows, from 0xb8000.
pub const VGA_TEXT_BYTES: u32 = 0x8000;

/// Offsets of the ports from 0x3c0.
mod port {
    pub const ATTRIBUTE: u16 = 0x00;
    pub const ATTRIBUTE_READ: u16 = 0x01;
    pub const MISCELLANEOUS_WRITE: u16 = 0x02;
    pub const VIDEO_ENABLE: u16 = 0x03;
    pub const SEQUENCER_INDEX: u16 = 0x04;
    pub const SEQUENCER: u16 = 0x05;
    pub const DAC_MASK: u16 = 0x06;
    pub const DAC_READ_INDEX: u16 = 0x07;
    pub const DAC_WRITE_INDEX: u16 = 0x08;
    pub const DAC: u16 = 0x09;
    pub const MISCELLANEOUS_READ: u16 = 0x0c;
    pub const GRAPHICS_INDEX: u16 = 0x0e;
    pub const GRAPHICS: u16 = 0x0f;
    pub const CRTC_INDEX: u16 = 0x14;
    pub const CRTC: u16 = 0x15;
    pub const STATUS_1: u16 = 0x1a;
}

const CRTC_COLUMNS: usize = 0x01;
const CRTC_OVERFLOW: usize = 0x07;
const CRTC_MAXIMUM_SCAN_LINE: usize = 0x09;
const CRTC_CURSOR_START: usize = 0x0a;
const CRTC_START: usize = 0x0c;
const CRTC_CURSOR: usize = 0x0e;
const CRTC_RETRACE_END: usize = 0x11;
const CRTC_DISPLAY_END: usize = 0x12;
const CRTC_OFFSET: usize = 0x13;
const CURSOR_OFF: u8 = 1 << 5;
/// Retrace end register: registers 0 to 7 cannot be written.
const PROTECTED: u8 = 1 << 7;

/// 256 colours of three parts.
const DAC_BYTES: usize = 3 * 256;

/// A frame takes a 70th of a second; the beam returns in its last part, and at the end of every line.
const FRAME_NS: u64 = 14_268_000;
const FRAME_SHOWN_NS: u64 = 12_711_000;
const LINE_NS: u64 = 31_778;
const LINE_SHOWN_NS: u64 = 25_422;

/// What of the video memory is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextView {
    /// Characters a row.
    pub columns: u32,
    /// Rows shown.
    pub rows: u32,
    /// From one row to the next, in characters.
    pub pitch: u32,
    /// The first character shown, counted from 0xb8000.
    pub start: u32,
    /// The character that the cursor is on, counted from 0xb8000; `None` where it is switched off.
    pub cursor: Option<u32>,
}

/// The registers. They begin in the mode in which firmware leaves them: 80 × 25 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vga {
    miscellaneous: u8,
    sequencer_index: u8,
    sequencer: [u8; 5],
    graphics_index: u8,
    graphics: [u8; 9],
    crtc_index: u8,
    crtc: [u8; CRTC.len()],
    attribute_index: u8,
    /// The attribute port takes data next, not an index.
    attribute_data_next: bool,
    attributes: [u8; 21],
    dac_mask: u8,
    dac_read: bool,
    /// Index of the colour and which of its three parts is next.
    dac_index: u8,
    dac_part: u8,
    /// 256 colours of three parts of six bits.
    dac: Vec<u8>,
}

impl Default for Vga {
    fn default() -> Self {
        let mut dac = TEXT_COLOURS.concat();
        dac.resize(DAC_BYTES, 0);
        Vga {
            miscellaneous: MISCELLANEOUS,
            sequencer_index: 0,
            sequencer: SEQUENCER,
            graphics_index: 0,
            graphics: GRAPHICS,
            crtc_index: 0,
            crtc: CRTC,
            attribute_index: 0x20,
            attribute_data_next: false,
            attributes: ATTRIBUTES,
            dac_mask: 0xff,
            dac_read: false,
            dac_index: 0,
            dac_part: 0,
            dac,
        }
    }
}

impl Vga {
    /// Reads port 0x3c0 + `offset`.
    pub fn read(&mut self, offset: u16, board: &impl Board) -> u8 {
        match offset {
            port::ATTRIBUTE => self.attribute_index,
            port::ATTRIBUTE_READ => register(&self.attributes, self.attribute_index & 0x1f),
            // Input status 0: a monitor is there.
            port::MISCELLANEOUS_WRITE => 0x10,
            port::VIDEO_ENABLE => 1,
            port::SEQUENCER_INDEX => self.sequencer_index,
            port::SEQUENCER => register(&self.sequencer, self.sequencer_index),
            port::DAC_MASK => self.dac_mask,
            // The DAC's state: 3 while it is read, 0 while it is written.
            port::DAC_READ_INDEX => 3 * u8::from(self.dac_read),
            port::DAC_WRITE_INDEX => self.dac_index,
            port::DAC => {
                let value = self.dac[self.dac_place()];
                self.dac_step();
                value
            }
            port::MISCELLANEOUS_READ => self.miscellaneous,
            port::GRAPHICS_INDEX => self.graphics_index,
            port::GRAPHICS => register(&self.graphics, self.graphics_index),
            port::CRTC_INDEX if self.is_colour() => self.crtc_index,
            port::CRTC if self.is_colour() => register(&self.crtc, self.crtc_index),
            port::STATUS_1 if self.is_colour() => {
                self.attribute_data_next = false;
                status_1(board.now_ns())
            }
            _ => 0xff,
        }
    }

    /// Writes port 0x3c0 + `offset`.
    pub fn write(&mut self, offset: u16, value: u8) {
        match offset {
            port::ATTRIBUTE => self.write_attribute(value),
            port::MISCELLANEOUS_WRITE => self.miscellaneous = value,
            port::SEQUENCER_INDEX => self.sequencer_index = value,
            port::SEQUENCER => set(&mut self.sequencer, self.sequencer_index, value),
            port::DAC_MASK => self.dac_mask = value,
            port::DAC_READ_INDEX | port::DAC_WRITE_INDEX => {
                self.dac_read = offset == port::DAC_READ_INDEX;
                self.dac_index = value;
                self.dac_part = 0;
            }
            port::DAC => {
                let place = self.dac_place();
                self.dac[place] = value & 0x3f;
                self.dac_step();
            }
            port::GRAPHICS_INDEX => self.graphics_index = value,
            port::GRAPHICS => set(&mut self.graphics, self.graphics_index, value),
            port::CRTC_INDEX if self.is_colour() => self.crtc_index = value,
            port::CRTC if self.is_colour() => self.write_crtc(value),
            _ => {}
        }
    }

    /// What is on the screen. Whatever the registers hold, it lies within what can be shown: at
    /// most 255 columns and 100 rows.
    pub fn text_view(&self) -> TextView {
        let word = |high: usize| u32::from(self.crtc[high]) << 8 | u32::from(self.crtc[high + 1]);
        let overflow = u32::from(self.crtc[CRTC_OVERFLOW]);
        let last_line = u32::from(self.crtc[CRTC_DISPLAY_END]) | (overflow & 0x02) << 7 | (overflow & 0x40) << 3;
        let row_lines = u32::from(self.crtc[CRTC_MAXIMUM_SCAN_LINE] & 0x1f) + 1;
        let cursor_shown = self.crtc[CRTC_CURSOR_START] & CURSOR_OFF == 0;
        TextView {
            columns: (u32::from(self.crtc[CRTC_COLUMNS]) + 1).min(255),
            rows: ((last_line + 1) / row_lines).clamp(1, 100),
            pitch: u32::from(self.crtc[CRTC_OFFSET]) * 2,
            start: word(CRTC_START),
            cursor: cursor_shown.then(|| word(CRTC_CURSOR)),
        }
    }

    /// The state after the reset line was pulled, which firmware has turned into a text mode.
    pub fn reset(&mut self) {
        *self = Vga::default();
    }

    /// Whether a snapshot could hold this, whatever a file says.
    pub fn fits(&self) -> bool {
        self.dac.len() == DAC_BYTES && self.dac_part < 3
    }

    /// Miscellaneous output bit 0: the CRTC answers at 0x3d4, not at the monochrome 0x3b4, which
    /// is not decoded.
    fn is_colour(&self) -> bool {
        self.miscellaneous & 1 != 0
    }

    fn write_attribute(&mut self, value: u8) {
        if self.attribute_data_next {
            set(&mut self.attributes, self.attribute_index & 0x1f, value);
        } else {
            self.attribute_index = value & 0x3f;
        }
        self.attribute_data_next = !self.attribute_data_next;
    }

    fn write_crtc(&mut self, value: u8) {
        const LINE_COMPARE: u8 = 1 << 4;
        let protected = self.crtc[CRTC_RETRACE_END] & PROTECTED != 0;
        match usize::from(self.crtc_index) {
            CRTC_OVERFLOW if protected => {
                let kept = self.crtc[CRTC_OVERFLOW] & !LINE_COMPARE;
                self.crtc[CRTC_OVERFLOW] = kept | value & LINE_COMPARE;
            }
            0..=CRTC_OVERFLOW if protected => {}
            _ => set(&mut self.crtc, self.crtc_index, value),
        }
    }

    fn dac_place(&self) -> usize {
        3 * usize::from(self.dac_index) + usize::from(self.dac_part)
    }

    fn dac_step(&mut self) {
        self.dac_part += 1;
        if self.dac_part == 3 {
            self.dac_part = 0;
            self.dac_index = self.dac_index.wrapping_add(1);
        }
    }
}

/// Input status 1: bit 3 in the vertical retrace, bit 0 in any.
fn status_1(now_ns: u64) -> u8 {
    let in_frame = now_ns % FRAME_NS;
    if in_frame >= FRAME_SHOWN_NS { 0b1001 } else { u8::from(in_frame % LINE_NS >= LINE_SHOWN_NS) }
}

fn register(registers: &[u8], index: u8) -> u8 {
    registers.get(usize::from(index)).copied().unwrap_or(0)
}

fn set(registers: &mut [u8], index: u8, value: u8) {
    if let Some(register) = registers.get_mut(usize::from(index)) {
        *register = value;
    }
}
