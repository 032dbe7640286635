//! What is typed at the host's terminal as keys of a PC with a US layout: scan code set 2
//! (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard").

const SHIFT: u8 = 0x12;
const CONTROL: u8 = 0x14;
const ALT: u8 = 0x11;
const BREAK: u8 = 0xf0;
const EXTENDED: u8 = 0xe0;

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// A key with what is held down meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stroke {
    code: u8,
    extended: bool,
    shift: bool,
    control: bool,
    alt: bool,
}

impl Stroke {
    fn plain(code: u8) -> Self {
        Stroke { code, ..Stroke::default() }
    }

    fn extended(code: u8) -> Self {
        Stroke { code, extended: true, ..Stroke::default() }
    }

    /// The keys that go down and up, in order, each with its bytes.
    pub fn codes(self) -> Vec<Vec<u8>> {
        let held: Vec<u8> = [(self.control, CONTROL), (self.alt, ALT), (self.shift, SHIFT)]
            .iter()
            .filter(|h| h.0)
            .map(|h| h.1)
            .collect();
        let prefix: &[u8] = if self.extended { &[EXTENDED] } else { &[] };
        let mut codes: Vec<Vec<u8>> = held.iter().map(|&code| vec![code]).collect();
        codes.push([prefix, &[self.code]].concat());
        codes.push([prefix, &[BREAK, self.code]].concat());
        codes.extend(held.iter().rev().map(|&code| vec![BREAK, code]));
        codes
    }
}

/// The strokes that make a terminal send `bytes`. What no key of the layout gives is left out; an
/// escape at the end is the key of that name.
pub fn strokes(bytes: &[u8]) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == ESCAPE
            && let Some((stroke, used)) = sequence(behind)
        {
            strokes.extend(stroke);
            rest = &behind[used..];
            continue;
        }
        strokes.extend(key(byte));
        rest = behind;
    }
    strokes
}

/// What follows an escape: a cursor or function key, or a key with Alt. `None` where the escape
/// stands alone.
fn sequence(behind: &[u8]) -> Option<(Option<Stroke>, usize)> {
    match *behind {
        [] | [ESCAPE, ..] => None,
        [b'[' | b'O', letter @ (b'A'..=b'D' | b'F' | b'H' | b'P'..=b'S'), ..] => Some((Some(letter_key(letter)), 2)),
        [b'[', b'0'..=b'9', ..] => {
            let end = behind.iter().position(|&byte| byte.is_ascii_alphabetic() || byte == b'~')?;
            let number = behind[1..end].iter().take_while(|byte| byte.is_ascii_digit());
            let number = number.fold(0u32, |number, &digit| number.saturating_mul(10) + u32::from(digit - b'0'));
            let stroke = if behind[end] == b'~' { number_key(number) } else { None };
            Some((stroke, end + 1))
        }
        [byte, ..] => Some((key(byte).map(|stroke| Stroke { alt: true, ..stroke }), 1)),
    }
}

/// The key whose sequence ends in `letter`.
fn letter_key(letter: u8) -> Stroke {
    match letter {
        b'A' => Stroke::extended(0x75),
        b'B' => Stroke::extended(0x72),
        b'C' => Stroke::extended(0x74),
        b'D' => Stroke::extended(0x6b),
        b'F' => Stroke::extended(0x69),
        b'H' => Stroke::extended(0x6c),
        // F1 to F4.
        _ => Stroke::plain([0x05, 0x06, 0x04, 0x0c][usize::from(letter - b'P') & 3]),
    }
}

/// The key whose sequence is a number and a tilde.
fn number_key(number: u32) -> Option<Stroke> {
    Some(match number {
        1 => Stroke::extended(0x6c),
        2 => Stroke::extended(0x70),
        3 => Stroke::extended(0x71),
        4 => Stroke::extended(0x69),
        5 => Stroke::extended(0x7d),
        6 => Stroke::extended(0x7a),
        // F1 to F5, F6 to F10, F11 and F12.
        11..=15 => Stroke::plain([0x05, 0x06, 0x04, 0x0c, 0x03][number as usize - 11]),
        17..=21 => Stroke::plain([0x0b, 0x83, 0x0a, 0x01, 0x09][number as usize - 17]),
        23 => Stroke::plain(0x78),
        24 => Stroke::plain(0x07),
        _ => return None,
    })
}

/// The key of one byte.
fn key(byte: u8) -> Option<Stroke> {
    match byte {
        b'\r' | b'\n' => Some(Stroke::plain(0x5a)),
        b'\t' => Some(Stroke::plain(0x0d)),
        ESCAPE => Some(Stroke::plain(0x76)),
        0x08 | DELETE => Some(Stroke::plain(0x66)),
        0 => Some(Stroke { control: true, ..key(b' ')? }),
        // Ctrl with the key of the character 0x40 above; letters are typed without shift.
        0x01..=0x1f => Some(Stroke { control: true, ..key((byte + 0x40).to_ascii_lowercase())? }),
        b'A'..=b'Z' => Some(Stroke { shift: true, ..key(byte.to_ascii_lowercase())? }),
        _ => {
            if let Some(place) = PLAIN.iter().position(|&(character, _)| character == byte) {
                return Some(Stroke::plain(PLAIN[place].1));
            }
            let place = SHIFTED.iter().position(|&(character, _)| character == byte)?;
            Some(Stroke { shift: true, ..key(SHIFTED[place].1)? })
        }
    }
}

/// Characters and their keys.
const PLAIN: [(u8, u8); 48] = [
    (b'a', 0x1c),
    (b'b', 0x32),
    (b'c', 0x21),
    (b'd', 0x23),
    (b'e', 0x24),
    (b'f', 0x2b),
    (b'g', 0x34),
    (b'h', 0x33),
    (b'i', 0x43),
    (b'j', 0x3b),
    (b'k', 0x42),
    (b'l', 0x4b),
    (b'm', 0x3a),
    (b'n', 0x31),
    (b'o', 0x44),
    (b'p', 0x4d),
    (b'q', 0x15),
    (b'r', 0x2d),
    (b's', 0x1b),
    (b't', 0x2c),
    (b'u', 0x3c),
    (b'v', 0x2a),
    (b'w', 0x1d),
    (b'x', 0x22),
    (b'y', 0x35),
    (b'z', 0x1a),
    (b'0', 0x45),
    (b'1', 0x16),
    (b'2', 0x1e),
    (b'3', 0x26),
    (b'4', 0x25),
    (b'5', 0x2e),
    (b'6', 0x36),
    (b'7', 0x3d),
    (b'8', 0x3e),
    (b'9', 0x46),
    (b'`', 0x0e),
    (b'-', 0x4e),
    (b'=', 0x55),
    (b'\\', 0x5d),
    (b'[', 0x54),
    (b']', 0x5b),
    (b';', 0x4c),
    (b'\'', 0x52),
    (b',', 0x41),
    (b'.', 0x49),
    (b'/', 0x4a),
    (b' ', 0x29),
];

/// Characters that need shift, and what their key gives without.
const SHIFTED: [(u8, u8); 21] = [
    (b'~', b'`'),
    (b'!', b'1'),
    (b'@', b'2'),
    (b'#', b'3'),
    (b'$', b'4'),
    (b'%', b'5'),
    (b'^', b'6'),
    (b'&', b'7'),
    (b'*', b'8'),
    (b'(', b'9'),
    (b')', b'0'),
    (b'_', b'-'),
    (b'+', b'='),
    (b'|', b'\\'),
    (b'{', b'['),
    (b'}', b']'),
    (b':', b';'),
    (b'"', b'\''),
    (b'<', b','),
    (b'>', b'.'),
    (b'?', b'/'),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that go to the keyboard controller.
    fn typed(bytes: &[u8]) -> Vec<u8> {
        strokes(bytes).into_iter().flat_map(Stroke::codes).flatten().collect()
    }

    #[test]
    fn a_key_goes_down_and_up_with_what_is_held() {
        for (bytes, codes) in [
            (&b"a"[..], &[0x1c, 0xf0, 0x1c][..]),
            (b"A", &[0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12]),
            (b"|", &[0x12, 0x5d, 0xf0, 0x5d, 0xf0, 0x12]),
            (b"\x03", &[0x14, 0x21, 0xf0, 0x21, 0xf0, 0x14]),
            (b"\r", &[0x5a, 0xf0, 0x5a]),
            (b"\x7f", &[0x66, 0xf0, 0x66]),
            (b"\x1bx", &[0x11, 0x22, 0xf0, 0x22, 0xf0, 0x11]),
            (b"\x1b[A", &[0xe0, 0x75, 0xe0, 0xf0, 0x75]),
            (b"\x1bOP", &[0x05, 0xf0, 0x05]),
            (b"\x1b[24~", &[0x07, 0xf0, 0x07]),
            (b"\x1b", &[0x76, 0xf0, 0x76]),
        ] {
            assert_eq!(typed(bytes), codes, "{bytes:?}");
        }
    }

    #[test]
    fn every_printable_character_has_a_key_and_only_one() {
        let mut seen = Vec::new();
        for byte in b' '..=b'~' {
            let stroke = key(byte).unwrap_or_else(|| panic!("{:?}", char::from(byte)));
            assert!(!seen.contains(&stroke), "{:?}", char::from(byte));
            seen.push(stroke);
        }
    }

    #[test]
    fn what_no_key_gives_is_left_out() {
        assert!(typed("ü".as_bytes()).is_empty());
        assert_eq!(typed(b"\x1b[200~a"), typed(b"a"), "the mark of pasted text");
        assert!(typed(b"\x1b[1;5C").is_empty(), "a cursor key with Ctrl");
        assert_eq!(strokes(b"\x1b[1").len(), 3, "what is cut off is no sequence: each byte is a key");
    }
}
