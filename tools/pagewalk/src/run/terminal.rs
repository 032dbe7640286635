//! The host's terminal while the guest has it.

use std::{
    io::{Read, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::Duration,
};

use crate::error::Error;

/// What the user typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes for the guest.
    Bytes(Vec<u8>),
    /// Ctrl-A x.
    Quit,
    /// Ctrl-A c.
    Monitor,
    /// Ctrl-A h.
    Help,
    /// The terminal is gone.
    End,
}

/// Raw mode, left when dropped.
struct RawMode;

impl RawMode {
    fn enter() -> Result<Self, Error> {
        crossterm::terminal::enable_raw_mode()
            .map_err(|e| Error::CannotStart(format!("cannot put the terminal into raw mode: {e}")))?;
        Ok(RawMode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was; harmless when it never was raw.
pub fn restore() {
    let _ = crossterm::terminal::disable_raw_mode();
}

/// The terminal in raw mode, with a thread that reads it.
pub struct Terminal {
    raw: Option<RawMode>,
    typed: Receiver<Vec<u8>>,
    escape: Escape,
}

impl Terminal {
    /// Takes the terminal.
    pub fn open() -> Result<Self, Error> {
        let raw = RawMode::enter()?;
        let (send, typed) = channel();
        // The thread ends with the process: a blocking read can't be called off.
        thread::spawn(move || {
            let mut buf = [0; 256];
            while let Ok(n @ 1..) = std::io::stdin().read(&mut buf) {
                if send.send(buf[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Terminal { raw: Some(raw), typed, escape: Escape::default() })
    }

    /// What was typed since the last call.
    pub fn poll(&mut self) -> Vec<Typed> {
        match self.typed.try_recv() {
            Ok(bytes) => self.escape.take(&bytes),
            Err(TryRecvError::Empty) => Vec::new(),
            Err(TryRecvError::Disconnected) => vec![Typed::End],
        }
    }

    /// Waits for typing, at most so long.
    pub fn wait(&mut self, limit: Duration) -> Vec<Typed> {
        match self.typed.recv_timeout(limit) {
            Ok(bytes) => self.escape.take(&bytes),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(limit);
                vec![Typed::End]
            }
        }
    }

    /// One line typed in the terminal's ordinary mode, for the monitor; `None` at its end.
    pub fn line(&mut self, prompt: &str) -> Option<String> {
        self.raw = None;
        print!("{prompt}");
        let _ = std::io::stdout().flush();
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            match self.typed.recv() {
                Ok(bytes) if !bytes.is_empty() => line.extend(bytes),
                _ => return None,
            }
        }
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Back to raw mode after [`Terminal::line`].
    pub fn resume(&mut self) {
        if self.raw.is_none() {
            self.raw = RawMode::enter().ok();
        }
    }
}

/// Finds Ctrl-A and the letter after it among what is typed.
#[derive(Default)]
struct Escape {
    armed: bool,
}

impl Escape {
    fn take(&mut self, bytes: &[u8]) -> Vec<Typed> {
        const CTRL_A: u8 = 1;
        let mut out = Vec::new();
        let mut plain = Vec::new();
        for &byte in bytes {
            if !std::mem::take(&mut self.armed) {
                match byte {
                    CTRL_A => self.armed = true,
                    _ => plain.push(byte),
                }
                continue;
            }
            let typed = match byte {
                b'x' => Typed::Quit,
                b'c' => Typed::Monitor,
                b'h' => Typed::Help,
                _ => {
                    plain.push(byte); // Ctrl-A Ctrl-A is one Ctrl-A
                    continue;
                }
            };
            if !plain.is_empty() {
                out.push(Typed::Bytes(std::mem::take(&mut plain)));
            }
            out.push(typed);
        }
        if !plain.is_empty() {
            out.push(Typed::Bytes(plain));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_takes_the_letter_after_it_even_in_another_read() {
        let mut escape = Escape::default();
        assert_eq!(escape.take(b"ls\r\x01"), [Typed::Bytes(b"ls\r".to_vec())]);
        assert_eq!(escape.take(b"xa"), [Typed::Quit, Typed::Bytes(b"a".to_vec())]);
        assert_eq!(escape.take(b"\x01\x01\x01c"), [Typed::Bytes(vec![1]), Typed::Monitor]);
        assert_eq!(escape.take(b"\x01h"), [Typed::Help]);
    }

    #[test]
    fn ctrl_c_goes_to_the_guest() {
        assert_eq!(Escape::default().take(b"\x03"), [Typed::Bytes(vec![3])]);
    }
}
