//! The text screen: what a VGA shows of its video memory.

use machine::TextView;
use memory::PhysMem;
use serde::Serialize;
use x86::PhysAddr;

use super::Answer;
use crate::{Error, Result, Target};

/// Video memory in text mode: two bytes a character, and its characters.
const TEXT_START: u64 = 0xb_8000;
const CELLS: u32 = 0x4000;

/// A character on the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The character, of code page 437.
    pub character: char,
    /// The attribute: colour in bits 3:0, background in 6:4, blinking or bright background in 7.
    pub attribute: u8,
}

/// The screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Screen {
    /// Rows from the top, each of equally many characters.
    pub rows: Vec<Vec<Cell>>,
    /// Row and column of the cursor, if it is on the screen.
    pub cursor: Option<(usize, usize)>,
}

impl Screen {
    /// Reads the screen that shows `view`.
    pub fn read(mem: &PhysMem, view: TextView) -> Screen {
        let cell = |row: u32, column: u32| {
            let place = view.start.wrapping_add(row * view.pitch + column) % CELLS;
            let mut bytes = [0; 2];
            mem.read(PhysAddr(TEXT_START + u64::from(2 * place)), &mut bytes);
            Cell { character: character(bytes[0]), attribute: bytes[1] }
        };
        let rows = (0..view.rows).map(|row| (0..view.columns).map(|column| cell(row, column)).collect()).collect();
        Screen { rows, cursor: view.cursor.and_then(|cursor| place_of(view, cursor)) }
    }

    /// A line for each row, without the blanks at its end, and without empty rows at the end.
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &Vec<Cell>| row.iter().map(|cell| cell.character).collect::<String>();
        let mut lines: Vec<String> = self.rows.iter().map(|row| line(row).trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

/// Row and column of the character numbered `cursor`.
fn place_of(view: TextView, cursor: u32) -> Option<(usize, usize)> {
    let behind = cursor.checked_sub(view.start)?;
    let row = behind.checked_div(view.pitch)?;
    let column = behind % view.pitch;
    (row < view.rows && column < view.columns).then_some((row as usize, column as usize))
}

/// The screen as JSON.
#[derive(Serialize)]
struct Shown {
    columns: u32,
    rows: u32,
    cursor: Option<Cursor>,
    text: Vec<String>,
    /// A row of bytes in hexadecimal for each row of the screen.
    attributes: Vec<String>,
}

#[derive(Serialize)]
struct Cursor {
    row: usize,
    column: usize,
}

/// The text screen.
pub(super) fn screen(target: &Target<'_>) -> Result<Answer> {
    let view = target.screen.ok_or(Error::NoScreen)?;
    let screen = Screen::read(target.mem, view);
    let text: String = screen.lines().iter().map(|line| format!("{line}\n")).collect();
    let whole = |row: &Vec<Cell>| row.iter().map(|cell| cell.character).collect();
    let attributes = |row: &Vec<Cell>| row.iter().map(|cell| format!("{:02x}", cell.attribute)).collect();
    Ok(Answer::new(
        text,
        Shown {
            columns: view.columns,
            rows: view.rows,
            cursor: screen.cursor.map(|(row, column)| Cursor { row, column }),
            text: screen.rows.iter().map(whole).collect(),
            attributes: screen.rows.iter().map(attributes).collect(),
        },
    ))
}

/// A character of code page 437; 0 is shown as a blank.
fn character(code: u8) -> char {
    match code {
        0 => ' ',
        0x01..=0x1f => LOW[usize::from(code)],
        0x7f => '⌂',
        0x20..=0x7e => char::from(code),
        _ => HIGH[usize::from(code - 0x80)],
    }
}

/// What the font shows for control codes.
const LOW: [char; 32] = [
    ' ', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼', //
    '►', '◄', '↕', '‼', '¶', '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
];

/// Codes from 0x80.
const HIGH: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', //
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', //
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', //
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐', //
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', //
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', //
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', //
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

#[cfg(test)]
mod tests {
    use memory::FrameKind;

    use super::*;

    const VIEW: TextView = TextView { columns: 8, rows: 3, pitch: 8, start: 0, cursor: Some(9) };

    fn video(text: &[u8]) -> PhysMem {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(TEXT_START), 0x8000, FrameKind::Ram).unwrap();
        let cells: Vec<u8> = text.iter().flat_map(|&code| [code, 0x1e]).collect();
        mem.load(PhysAddr(TEXT_START), &cells);
        mem
    }

    #[test]
    fn lines_end_where_the_text_ends() {
        let screen = Screen::read(&video(b"Hello,  \x01\xdb\xffx"), VIEW);
        assert_eq!(screen.lines(), ["Hello,", "☺█\u{a0}x"]);
        assert_eq!(screen.rows[0][0], Cell { character: 'H', attribute: 0x1e });
        assert_eq!(screen.cursor, Some((1, 1)));
    }

    #[test]
    fn the_start_scrolls_and_wraps_at_the_end_of_video_memory() {
        let mem = video(b"0123456789abcdef");
        let scrolled = Screen::read(&mem, TextView { start: 8, ..VIEW });
        assert_eq!((scrolled.lines(), scrolled.cursor), (vec!["89abcdef".to_owned()], Some((0, 1))));
        let wrapped = Screen::read(&mem, TextView { start: CELLS - 8, ..VIEW });
        assert_eq!(wrapped.lines(), ["", "01234567", "89abcdef"]);
    }

    #[test]
    fn a_cursor_off_the_screen_is_not_shown() {
        let mem = video(b"");
        for (cursor, start) in [(Some(24), 0), (Some(7), 8), (None, 0)] {
            assert_eq!(Screen::read(&mem, TextView { cursor, start, ..VIEW }).cursor, None);
        }
        assert_eq!(Screen::read(&mem, TextView { pitch: 0, ..VIEW }).cursor, None);
    }

    #[test]
    fn the_lens_shows_text_cursor_and_attributes() {
        let mem = video(b"ab");
        let target = Target { screen: Some(VIEW), ..Target::new(Vec::new(), &mem) };
        let answer = screen(&target).unwrap();
        assert_eq!(answer.text, b"ab\n");
        assert_eq!(answer.json["cursor"], serde_json::json!({"row": 1, "column": 1}));
        assert_eq!(answer.json["text"][0], "ab      ");
        assert_eq!(answer.json["attributes"][0], "1e1e000000000000");
        assert_eq!(screen(&Target::new(Vec::new(), &mem)).unwrap_err(), Error::NoScreen);
    }
}
