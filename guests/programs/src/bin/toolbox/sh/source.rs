//! Where a shell's commands come from.

use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
};

/// A script, or a person at a terminal.
pub enum Source {
    /// The whole text, until it has been taken.
    Text(Option<String>),
    /// Standard input, which the commands themselves may read as well.
    StandardInput { prompt: bool },
}

impl Source {
    pub fn text(text: String) -> Self {
        Source::Text(Some(text))
    }

    pub fn file(path: &str) -> io::Result<Self> {
        Ok(Source::text(String::from_utf8_lossy(&fs::read(path)?).into_owned()))
    }

    /// Standard input; with a prompt on a terminal, or if it is wanted.
    pub fn standard_input(wants_prompt: bool) -> Self {
        Source::StandardInput { prompt: wants_prompt || (io::stdin().is_terminal() && io::stderr().is_terminal()) }
    }

    pub fn prompts(&self) -> bool {
        matches!(self, Source::StandardInput { prompt: true })
    }

    /// The next line with its newline, or all of a script; nothing at the end.
    pub fn next_line(&mut self, is_continuation: bool) -> io::Result<Option<String>> {
        match self {
            Source::Text(text) => Ok(text.take()),
            Source::StandardInput { prompt } => {
                if *prompt {
                    print_prompt(is_continuation)?;
                }
                let line = read_line()?;
                if line.is_none() && *prompt {
                    eprintln!();
                }
                Ok(line.map(|line| String::from_utf8_lossy(&line).into_owned()))
            }
        }
    }
}

fn print_prompt(is_continuation: bool) -> io::Result<()> {
    let text = if is_continuation {
        "> ".to_string()
    } else {
        let cwd = std::env::current_dir().map_or_else(|_| "?".into(), |cwd| cwd.display().to_string());
        format!("{cwd} # ")
    };
    let mut stderr = io::stderr();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// A line of standard input with its newline, and not a byte more: what follows belongs to
/// whoever reads next.
pub fn read_line() -> io::Result<Option<Vec<u8>>> {
    use std::os::fd::AsFd;
    let mut input = fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(if line.is_empty() { None } else { Some(line) }),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if byte[0] == b'\n' {
            return Ok(Some(line));
        }
    }
}
