//! `--watch SECONDS`: a look again and again.

use std::{
    io::{IsTerminal, Write},
    thread,
    time::{Duration, Instant},
};

use inspect::Request;

use super::{Form, LensError, Source, control::ControlError};

/// Clears a terminal, from its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// From twenty looks a second to one a day.
const SECONDS: std::ops::RangeInclusive<f64> = 0.05..=86_400.0;

/// Seconds between two looks.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time between two looks: write seconds, such as 2 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| bad())?;
    if SECONDS.contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(bad()) }
}

/// Prints what a lens shows of a running machine, every so often, until the machine ends or nobody reads
/// any more. On a terminal each look replaces the one before; else an empty line stands between two, and
/// JSON takes one line each.
pub fn watch(vm: Option<&str>, request: Request, json: bool, every: Duration) -> Result<(), LensError> {
    let mut source = Source::open(vm, None)?;
    let title = format!("every {} s: {}", every.as_secs_f64(), source.name());
    let is_terminal = std::io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let began = Instant::now();
        let text = match source.shown(request.clone(), json) {
            Ok(shown) => {
                let note: String =
                    shown.note.iter().flat_map(|note| note.lines()).map(|line| format!("note: {line}\n")).collect();
                let text = match shown.form {
                    Form::Json(json) => format!("{json}\n").into_bytes(),
                    Form::Text(text) => text,
                };
                if is_terminal && !json { [note.as_bytes(), &text].concat() } else { said(&note, text) }
            }
            // What is looked at may be gone, and may come back.
            Err(LensError::Control(ControlError::Refused(why))) if !is_first => format!("{why}\n").into_bytes(),
            Err(LensError::Control(ControlError::Ended(name))) if !is_first => {
                eprintln!("pagewalk: the machine `{name}` has ended");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let head = match (is_terminal, json, is_first) {
            (true, ..) => format!("{CLEAR}{title}\n\n"),
            (false, false, false) => "\n".to_owned(),
            _ => String::new(),
        };
        let mut out = std::io::stdout().lock();
        match out.write_all(head.as_bytes()).and_then(|()| out.write_all(&text)).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(LensError::Output)?,
        }
        drop(out);
        is_first = false;
        thread::sleep(every.saturating_sub(began.elapsed()));
    }
}

/// The note goes where notes go.
fn said(note: &str, text: Vec<u8>) -> Vec<u8> {
    note.lines().for_each(|line| eprintln!("pagewalk: {line}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_neither_too_few_nor_too_many() {
        assert_eq!(parse_seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "nan", "inf", "1e9", "1s", "0.001"] {
            assert!(parse_seconds(bad).unwrap_err().contains("such as 2 or 0.5"), "{bad}");
        }
    }
}
