//! The registers of the text mode of 80 × 25 characters of 9 × 16 points, mode 3 (IBM Personal
//! System/2 Hardware Interface Technical Reference, "Video Subsystem", values by mode).

pub(super) const MISCELLANEOUS: u8 = 0x67;

pub(super) const SEQUENCER: [u8; 5] = [0x03, 0x00, 0x03, 0x00, 0x02];

pub(super) const GRAPHICS: [u8; 9] = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff];

pub(super) const CRTC: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, //
    0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];

/// Sixteen palette entries, mode, overscan, planes, panning, colour select.
pub(super) const ATTRIBUTES: [u8; 21] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, //
    0x0c, 0x00, 0x0f, 0x08, 0x00,
];

/// The colours of the DAC that the palette points to: two bits each of red, green and blue, the
/// high ones in bits 2:0 and the low ones in bits 5:3 of the index.
pub(super) const TEXT_COLOURS: [[u8; 3]; 64] = {
    let mut colours = [[0; 3]; 64];
    let mut index = 0;
    while index < 64 {
        let mut part = 0;
        while part < 3 {
            // Blue is bit 0, green bit 1, red bit 2.
            let bit = 2 - part;
            colours[index][part] = ((index >> bit & 1) * 0x2a + (index >> (bit + 3) & 1) * 0x15) as u8;
            part += 1;
        }
        index += 1;
    }
    colours
};
