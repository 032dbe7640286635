//! Our own machine under a debugger that waits for what never comes.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::error::Error;

/// What the debugger waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Writes to a linear and to a physical page that nobody touches.
    Watch,
    /// A breakpoint at each system call, of a process that there is not: its condition always fails.
    Break,
}

impl Wait {
    /// What the monitor is told.
    fn commands(self) -> &'static [&'static str] {
        match self {
            // The last page of the guest's memory, and one of linear space that no kernel here uses.
            Wait::Watch => &["watch 3ffff000 4 phys", "watch fffe0000 4"],
            Wait::Break => &["break entry_int80 pid=99999"],
        }
    }
}

/// How long the machine may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A debugger that speaks to one machine.
pub struct Debugger(JoinHandle<io::Result<String>>);

impl Debugger {
    /// Connects to the machine that will listen at `path`, asks for a stop that never comes, and lets it run.
    pub fn start(wait: Wait, path: PathBuf) -> Self {
        Debugger(thread::spawn(move || debug(wait, &path)))
    }

    /// After the machine's end: whether all was as it should be.
    pub fn finish(self) -> Result<(), Error> {
        let started = |source| Error::Start { program: "the debugger".into(), source };
        let said = self.0.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(started)?;
        if said.is_empty() { Ok(()) } else { Err(Error::NoAnswer(said)) }
    }
}

/// Says what the monitor refused, or nothing.
fn debug(wait: Wait, path: &Path) -> io::Result<String> {
    let began = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(path) {
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            other => break other?,
        }
    };
    for command in wait.commands() {
        let digits: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(&packet(&format!("qRcmd,{digits}")))?;
        let printed = printed(&mut stream)?;
        // What it takes it repeats behind a number.
        if !printed.contains(&format!(": {command}")) {
            return Ok(printed);
        }
    }
    stream.write_all(&packet("vCont;c"))?;
    // Until the machine has ended, and with it the connection.
    stream.read_to_end(&mut Vec::new())?;
    Ok(String::new())
}

fn packet(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    format!("${body}#{sum:02x}").into_bytes()
}

/// What a command printed: packets with text up to the one that says OK.
fn printed(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let mut body = Vec::new();
        let mut byte = [0];
        while byte[0] != b'$' {
            stream.read_exact(&mut byte)?;
        }
        while byte[0] != b'#' {
            stream.read_exact(&mut byte)?;
            body.push(byte[0]);
        }
        stream.read_exact(&mut [0; 2])?;
        match String::from_utf8_lossy(&body).trim_end_matches('#') {
            "OK" => return Ok(text),
            said => match said.strip_prefix('O') {
                Some(digits) => text += &decode(digits),
                None => return Ok(format!("it answered {said}")),
            },
        }
    }
}

/// Hex digits of ASCII, with runs of one character packed (GDB manual, "Overview", of the remote protocol).
fn decode(digits: &str) -> String {
    let mut plain = Vec::new();
    let mut bytes = digits.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, plain.last().copied()) {
            (b'*', Some(last)) => {
                let more = bytes.next().unwrap_or(29).saturating_sub(29);
                plain.extend(std::iter::repeat_n(last, more.into()));
            }
            _ => plain.push(byte),
        }
    }
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    plain.chunks_exact(2).map(|pair| (digit(pair[0]) << 4 | digit(pair[1])) as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_digits_are_unpacked() {
        assert_eq!(decode("6869"), "hi");
        // Three more of the digit before: a `*`, and 29 + 3 as a character.
        assert_eq!(decode("3* 61"), "33a");
    }
}
