//! Command lines in the manner of `getopt`: `-ab -n5 -n 5 -- operands`.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use crate::Error;

/// The arguments of a command, its name first.
pub struct Args(Vec<OsString>);

/// Options and operands, told apart.
pub struct Parsed {
    options: Vec<(char, Option<OsString>)>,
    /// What is left after the options.
    pub operands: Vec<OsString>,
}

impl Args {
    /// From `argv`.
    pub fn new(argv: Vec<OsString>) -> Self {
        Args(argv)
    }

    /// All arguments after the name, as they are.
    pub fn raw(self) -> Vec<OsString> {
        self.0.into_iter().skip(1).collect()
    }

    /// The same as text; what is not UTF-8 is replaced.
    pub fn text(self) -> Vec<String> {
        self.raw().into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    /// Takes the options in `spec` off the front: letters, each followed by a colon if the
    /// option has a value.
    pub fn parse(self, spec: &str) -> Result<Parsed, Error> {
        let mut options = Vec::new();
        let mut rest = self.raw().into_iter();
        let mut operands = Vec::new();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                break;
            }
            let letters = match arg.to_str().and_then(|text| text.strip_prefix('-')) {
                Some(letters) if !letters.is_empty() => letters,
                _ => {
                    operands.push(arg);
                    break;
                }
            };
            for (at, letter) in letters.char_indices() {
                let known = spec.find(letter).filter(|_| letter != ':');
                let position = known.ok_or_else(|| format!("unknown option -{letter}"))?;
                if !spec[position + letter.len_utf8()..].starts_with(':') {
                    options.push((letter, None));
                    continue;
                }
                let attached = &letters[at + letter.len_utf8()..];
                let value = if attached.is_empty() { rest.next() } else { Some(attached.into()) };
                options.push((letter, Some(value.ok_or_else(|| format!("option -{letter} needs a value"))?)));
                break;
            }
        }
        operands.extend(rest);
        Ok(Parsed { options, operands })
    }
}

impl Parsed {
    /// Whether an option was given.
    pub fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(given, _)| *given == letter)
    }

    /// The value of an option; of the last, if it was given several times.
    pub fn value(&self, letter: char) -> Option<&OsString> {
        self.options.iter().rfind(|(given, _)| *given == letter).and_then(|(_, value)| value.as_ref())
    }

    /// The operands, or `-` for standard input if there are none.
    pub fn files(&self) -> Vec<OsString> {
        if self.operands.is_empty() { vec!["-".into()] } else { self.operands.clone() }
    }

    /// The operands, of which there must be at least `least`.
    pub fn at_least(&self, least: usize, what: &str) -> Result<&[OsString], Error> {
        if self.operands.len() < least { Err(format!("missing operand: {what}")) } else { Ok(&self.operands) }
    }
}

/// A number as a command line has it.
pub fn number<T: std::str::FromStr>(text: impl AsRef<std::ffi::OsStr>) -> Result<T, Error> {
    let text = text.as_ref();
    let parsed = std::str::from_utf8(text.as_bytes()).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("`{}` is not a number", text.to_string_lossy()))
}
