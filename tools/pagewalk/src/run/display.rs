//! `--display text`: the guest's text screen on the host's terminal.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use crossterm::{
    cursor, execute, queue,
    style::{Color, ResetColor, SetBackgroundColor, SetForegroundColor},
    terminal::{EnterAlternateScreen, LeaveAlternateScreen},
};
use inspect::{Cell, Screen};
use machine::Machine;

/// How often the screen is looked at.
const EVERY: Duration = Duration::from_millis(33);

/// The terminal's colours by those of a VGA, which has blue in bit 0 and red in bit 2.
const COLOURS: [u8; 16] = [0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15];

/// The screen of a machine as it is now.
pub fn screen(machine: &Machine) -> Screen {
    Screen::read(machine.memory(), machine.chipset().vga.text_view())
}

/// Prints the screen once, as the lens of that name does.
pub fn print(machine: &Machine) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in screen(machine).lines() {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The terminal's second screen, left when dropped.
pub struct Display {
    /// What is on the terminal.
    shown: Option<Screen>,
    /// When it was looked at last.
    looked: Instant,
}

impl Display {
    /// Takes the terminal's second screen.
    pub fn open() -> io::Result<Self> {
        execute!(io::stdout(), EnterAlternateScreen)?;
        Ok(Display { shown: None, looked: Instant::now() })
    }

    /// Whether it is time to look again.
    pub fn is_due(&self) -> bool {
        self.looked.elapsed() >= EVERY
    }

    /// Draws the rows that have changed.
    pub fn draw(&mut self, machine: &Machine) -> io::Result<()> {
        self.looked = Instant::now();
        let screen = screen(machine);
        if self.shown.as_ref() == Some(&screen) {
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        queue!(out, cursor::Hide)?;
        for (number, row) in (0..).zip(&screen.rows) {
            let before = self.shown.as_ref().and_then(|shown| shown.rows.get(usize::from(number)));
            if before != Some(row) {
                queue!(out, cursor::MoveTo(0, number))?;
                draw_row(&mut out, row)?;
            }
        }
        if let Some((row, column)) = screen.cursor {
            queue!(out, cursor::MoveTo(column as u16, row as u16), cursor::Show)?;
        }
        out.flush()?;
        self.shown = Some(screen);
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // The terminal may be gone; nothing is to be done about it.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    }
}

/// A row, runs of equal attributes at a time.
fn draw_row(out: &mut impl Write, row: &[Cell]) -> io::Result<()> {
    for run in row.chunk_by(|a, b| a.attribute == b.attribute) {
        let attribute = usize::from(run[0].attribute);
        let [ink, paper] = [attribute & 0xf, attribute >> 4 & 7].map(|colour| Color::AnsiValue(COLOURS[colour]));
        queue!(out, SetForegroundColor(ink), SetBackgroundColor(paper))?;
        let text: String = run.iter().map(|cell| cell.character).collect();
        out.write_all(text.as_bytes())?;
    }
    queue!(out, ResetColor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_drawn_in_runs_of_equal_colour() {
        let cell = |character, attribute| Cell { character, attribute };
        let mut out = Vec::new();
        draw_row(&mut out, &[cell('a', 0x07), cell('b', 0x07), cell('c', 0x1e)]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[38;5;7m\x1b[48;5;0mab\x1b[38;5;11m\x1b[48;5;4mc\x1b[0m",
            "grey on black, yellow on blue"
        );
    }
}
