//! The line discipline of a terminal (`N_TTY`): from typed bytes to what a program reads,
//! to echoes and to signals; and from written bytes to what is sent.

use alloc::{collections::VecDeque, vec::Vec};

use crate::wire::{record, u32_at};

/// Bits of `c_iflag`.
pub mod iflag {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IXON: u32 = 0o2000;
    pub const IUTF8: u32 = 0o40000;
}
/// Bits of `c_oflag`.
pub mod oflag {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const OPOST: u32 = 1;
    pub const ONLCR: u32 = 4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
}
/// Bits of `c_lflag`.
pub mod lflag {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const ISIG: u32 = 1;
    pub const ICANON: u32 = 2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
}
/// Indices of `c_cc`.
pub mod cc {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const VINTR: usize = 0;
    pub const VQUIT: usize = 1;
    pub const VERASE: usize = 2;
    pub const VKILL: usize = 3;
    pub const VEOF: usize = 4;
    pub const VTIME: usize = 5;
    pub const VMIN: usize = 6;
    pub const VSTART: usize = 8;
    pub const VSTOP: usize = 9;
    pub const VSUSP: usize = 10;
    pub const VEOL: usize = 11;
    pub const VREPRINT: usize = 12;
    pub const VWERASE: usize = 14;
    pub const VLNEXT: usize = 15;
    pub const VEOL2: usize = 16;
}
/// Number of control characters.
pub const NCCS: usize = 19;

/// `ktermios`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; NCCS],
}

impl Default for Termios {
    /// What a serial console begins with: 115200 8N1, cooked.
    fn default() -> Self {
        let mut cc = [0; NCCS];
        cc[..17].copy_from_slice(&[3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0]);
        Termios {
            iflag: iflag::ICRNL | iflag::IXON,
            oflag: oflag::OPOST | oflag::ONLCR,
            // B115200 | CS8 | CREAD | HUPCL | CLOCAL
            cflag: 0o10002 | 0o60 | 0o200 | 0o2000 | 0o4000,
            lflag: lflag::ISIG
                | lflag::ICANON
                | lflag::ECHO
                | lflag::ECHOE
                | lflag::ECHOK
                | lflag::ECHOCTL
                | lflag::ECHOKE
                | lflag::IEXTEN,
            line: 0,
            cc,
        }
    }
}

impl Termios {
    /// `struct termios`.
    pub fn to_bytes(&self) -> [u8; 36] {
        record(|w| {
            w.u32(self.iflag).u32(self.oflag).u32(self.cflag).u32(self.lflag);
            w.bytes(&[self.line]).bytes(&self.cc);
        })
    }

    /// `struct termios2`: the same with two speeds.
    pub fn to_bytes2(&self) -> [u8; 44] {
        record(|w| {
            w.bytes(&self.to_bytes()).u32(115_200).u32(115_200);
        })
    }

    /// From either structure.
    pub fn from_bytes(bytes: &[u8; 36]) -> Self {
        let mut cc = [0; NCCS];
        cc.copy_from_slice(&bytes[17..36]);
        Termios {
            iflag: u32_at(bytes, 0),
            oflag: u32_at(bytes, 4),
            cflag: u32_at(bytes, 8),
            lflag: u32_at(bytes, 12),
            line: bytes[16],
            cc,
        }
    }

    fn local(&self, bit: u32) -> bool {
        self.lflag & bit != 0
    }

    /// Whether input comes line by line.
    pub fn is_canonical(&self) -> bool {
        self.local(lflag::ICANON)
    }
}

/// A key that signals the foreground process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalKey {
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTSTP.
    Suspend,
}

/// Most bytes that wait to be read.
const N_TTY_BUF_SIZE: usize = 4096;

/// The state of a terminal's input.
#[derive(Debug, Default)]
pub struct LineDiscipline {
    /// Settings.
    pub termios: Termios,
    /// The line being edited.
    editing: Vec<u8>,
    /// Bytes that can be read.
    ready: VecDeque<u8>,
    /// In canonical mode: lengths of the lines in `ready`; a length of 0 is an end of file.
    lines: VecDeque<usize>,
    /// The next byte is taken literally.
    literal: bool,
}

impl LineDiscipline {
    /// Takes a typed byte. What is to be echoed is appended to `echo`, ready for sending.
    pub fn receive(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<SignalKey> {
        let t = self.termios;
        let mut byte = if t.iflag & iflag::ISTRIP != 0 { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal) {
            self.store(byte, echo);
            return None;
        }
        match byte {
            b'\r' if t.iflag & iflag::IGNCR != 0 => return None,
            b'\r' if t.iflag & iflag::ICRNL != 0 => byte = b'\n',
            b'\n' if t.iflag & iflag::INLCR != 0 => byte = b'\r',
            _ => {}
        }
        let is = |index: usize| t.cc[index] != 0 && t.cc[index] == byte;
        if t.iflag & iflag::IXON != 0 && (is(cc::VSTART) || is(cc::VSTOP)) {
            return None;
        }
        if t.local(lflag::ISIG) {
            let keys =
                [(cc::VINTR, SignalKey::Interrupt), (cc::VQUIT, SignalKey::Quit), (cc::VSUSP, SignalKey::Suspend)];
            if let Some(&(_, key)) = keys.iter().find(|(index, _)| is(*index)) {
                if !t.local(lflag::NOFLSH) {
                    self.flush();
                }
                self.echo(byte, echo);
                return Some(key);
            }
        }
        if t.is_canonical() {
            self.edit(byte, echo)
        } else {
            self.store(byte, echo)
        }
        None
    }

    fn edit(&mut self, byte: u8, echo: &mut Vec<u8>) {
        let t = self.termios;
        let is = |index: usize| t.cc[index] != 0 && t.cc[index] == byte;
        if is(cc::VERASE) {
            self.erase_char(echo);
        } else if is(cc::VKILL) {
            while !self.editing.is_empty() {
                self.erase_char(echo);
            }
        } else if is(cc::VWERASE) && t.local(lflag::IEXTEN) {
            let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
            while self.editing.last().is_some_and(|&b| !is_word(b)) {
                self.erase_char(echo);
            }
            while self.editing.last().is_some_and(|&b| is_word(b)) {
                self.erase_char(echo);
            }
        } else if is(cc::VLNEXT) && t.local(lflag::IEXTEN) {
            self.literal = true;
            if t.local(lflag::ECHO) && t.local(lflag::ECHOCTL) {
                echo.extend_from_slice(b"^\x08");
            }
        } else if is(cc::VREPRINT) && t.local(lflag::IEXTEN) {
            if t.local(lflag::ECHO) {
                self.echo(byte, echo);
                self.send(b'\n', echo);
                for at in 0..self.editing.len() {
                    self.echo(self.editing[at], echo);
                }
            }
        } else if is(cc::VEOF) {
            self.end_line();
        } else if byte == b'\n' || is(cc::VEOL) || is(cc::VEOL2) {
            if byte == b'\n' && t.local(lflag::ECHO | lflag::ECHONL) {
                self.send(b'\n', echo);
            } else {
                self.echo(byte, echo);
            }
            self.editing.push(byte);
            self.end_line();
        } else {
            self.store(byte, echo);
        }
    }

    fn store(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.termios.is_canonical() {
            // One place is kept for the end of the line.
            if self.editing.len() + self.ready.len() >= N_TTY_BUF_SIZE - 1 {
                return;
            }
            self.editing.push(byte);
        } else {
            if self.ready.len() >= N_TTY_BUF_SIZE {
                return;
            }
            self.ready.push_back(byte);
        }
        self.echo(byte, echo);
    }

    fn end_line(&mut self) {
        self.lines.push_back(self.editing.len());
        self.ready.extend(self.editing.drain(..));
    }

    /// Erases one character with its continuation bytes.
    fn erase_char(&mut self, echo: &mut Vec<u8>) {
        let t = self.termios;
        let Some(mut last) = self.editing.pop() else { return };
        if t.iflag & iflag::IUTF8 != 0 {
            while last & 0xc0 == 0x80 {
                match self.editing.pop() {
                    Some(byte) => last = byte,
                    None => break,
                }
            }
        }
        if t.local(lflag::ECHO) && t.local(lflag::ECHOE) {
            let is_control = last < 0x20 && last != b'\t' || last == 0x7f;
            let columns = if is_control && t.local(lflag::ECHOCTL) { 2 } else { usize::from(!is_control) };
            for _ in 0..columns {
                echo.extend_from_slice(b"\x08 \x08");
            }
        }
    }

    fn echo(&self, byte: u8, echo: &mut Vec<u8>) {
        let t = self.termios;
        if !t.local(lflag::ECHO) {
            return;
        }
        let is_control = (byte < 0x20 && byte != b'\t' && byte != b'\n') || byte == 0x7f;
        if is_control && t.local(lflag::ECHOCTL) {
            echo.extend_from_slice(&[b'^', byte ^ 0x40]);
        } else {
            self.send(byte, echo);
        }
    }

    /// Output processing of one byte.
    pub fn send(&self, byte: u8, out: &mut Vec<u8>) {
        let flags = self.termios.oflag;
        if flags & oflag::OPOST == 0 {
            return out.push(byte);
        }
        match byte {
            b'\n' if flags & oflag::ONLCR != 0 => out.extend_from_slice(b"\r\n"),
            b'\r' if flags & oflag::OCRNL != 0 => out.push(b'\n'),
            _ => out.push(byte),
        }
    }

    /// Whether a read would return at once; `min` bytes are wanted of uncooked input.
    pub fn can_read(&self, min: usize) -> bool {
        if self.termios.is_canonical() { !self.lines.is_empty() } else { self.ready.len() >= min.max(1) }
    }

    /// Bytes that can be read.
    pub fn available(&self) -> usize {
        if self.termios.is_canonical() { self.lines.iter().sum() } else { self.ready.len() }
    }

    /// Takes up to `max` bytes: of one line at most in canonical mode.
    pub fn read(&mut self, max: usize) -> Vec<u8> {
        if !self.termios.is_canonical() {
            let count = max.min(self.ready.len());
            return self.ready.drain(..count).collect();
        }
        let Some(len) = self.lines.front_mut() else { return Vec::new() };
        let count = max.min(*len);
        *len -= count;
        if *len == 0 {
            self.lines.pop_front();
        }
        self.ready.drain(..count).collect()
    }

    /// Forgets all input.
    pub fn flush(&mut self) {
        self.editing.clear();
        self.ready.clear();
        self.lines.clear();
    }

    /// Changes the settings; what was typed so far is kept.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = core::mem::replace(&mut self.termios, termios).is_canonical();
        if was_canonical && !termios.is_canonical() {
            self.ready.extend(self.editing.drain(..));
            self.lines.clear();
        } else if !was_canonical && termios.is_canonical() && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// Types `input`; returns the echo and the signals.
    fn typed(tty: &mut LineDiscipline, input: &[u8]) -> (String, Vec<SignalKey>) {
        let mut echo = Vec::new();
        let signals = input.iter().filter_map(|&b| tty.receive(b, &mut echo)).collect();
        (String::from_utf8(echo).unwrap(), signals)
    }

    #[test]
    fn lines_are_edited_before_they_are_read() {
        for (input, read, echo) in [
            (&b"ls\r"[..], &b"ls\n"[..], "ls\r\n"),
            (b"lx\x7fs\n", b"ls\n", "lx\x08 \x08s\r\n"),
            (b"one two\x17x\n", b"one x\n", "one two\x08 \x08\x08 \x08\x08 \x08x\r\n"),
            (b"ab\x15c\n", b"c\n", "ab\x08 \x08\x08 \x08c\r\n"),
            (b"\x16\x03\n", b"\x03\n", "^\x08^C\r\n"),
            (b"ab\x04", b"ab", "ab"),
            (b"\x04", b"", ""),
        ] {
            let mut tty = LineDiscipline::default();
            assert!(!tty.can_read(1));
            assert_eq!(typed(&mut tty, input), (echo.into(), Vec::new()), "{input:?}");
            assert!(tty.can_read(1));
            assert_eq!(tty.read(100), read, "{input:?}");
            assert!(!tty.can_read(1));
        }
    }

    #[test]
    fn a_read_takes_one_line_and_leaves_the_rest() {
        let mut tty = LineDiscipline::default();
        typed(&mut tty, b"one\ntwo\nthr");
        assert_eq!((tty.available(), tty.read(2)), (8, b"on".to_vec()));
        assert_eq!((tty.read(100), tty.read(100)), (b"e\n".to_vec(), b"two\n".to_vec()));
        assert!(!tty.can_read(1));
    }

    #[test]
    fn keys_signal_and_forget_the_line() {
        let mut tty = LineDiscipline::default();
        let (echo, signals) = typed(&mut tty, b"abc\x03\x1c\x1ad\n");
        assert_eq!(signals, [SignalKey::Interrupt, SignalKey::Quit, SignalKey::Suspend]);
        assert_eq!(echo, "abc^C^\\^Zd\r\n");
        assert_eq!(tty.read(10), b"d\n");
    }

    #[test]
    fn raw_input_comes_byte_by_byte() {
        let mut tty = LineDiscipline::default();
        typed(&mut tty, b"ab");
        tty.set_termios(Termios { lflag: 0, iflag: 0, ..Termios::default() });
        assert_eq!(typed(&mut tty, b"\x03\r"), (String::new(), Vec::new()));
        assert!(tty.can_read(4) && !tty.can_read(5));
        assert_eq!(tty.read(100), b"ab\x03\r");
    }

    #[test]
    fn settings_survive_their_bytes() {
        let t = Termios::default();
        assert_eq!(Termios::from_bytes(&t.to_bytes()), t);
        assert_eq!((t.cc[cc::VINTR], t.cc[cc::VERASE], t.cc[cc::VEOF], t.cc[cc::VSUSP]), (3, 127, 4, 26));
    }
}
