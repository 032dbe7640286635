//! The run file: what `pagewalk run` asks `init` to start.
//!
//! The host puts it at [`PATH`] in the initramfs; `init` reads it there. It is a list of
//! fields, `key NUL value NUL`, in the order of [`RunFile`]'s members, so that equal
//! requests are equal bytes. Without the file `init` runs the tour.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Where the run file lies in the guest.
pub const PATH: &str = "/.pagewalk/run";

/// A program to start as process 2 and what it gets. Strings are bytes without NUL, as
/// system calls take them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunFile {
    /// Path of the program.
    pub exe: Vec<u8>,
    /// The arguments, `argv[0]` first.
    pub args: Vec<Vec<u8>>,
    /// The environment, `NAME=value` each.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Device that becomes file descriptor 0.
    pub stdin: Vec<u8>,
    /// Device that becomes file descriptor 1.
    pub stdout: Vec<u8>,
    /// Device that becomes file descriptor 2.
    pub stderr: Vec<u8>,
    /// File mode creation mask, written in octal.
    pub umask: u32,
}

/// Why bytes are no run file, or a request cannot be written as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunFileError {
    /// A value (here: of this key) has a NUL byte in it.
    NulInValue(&'static str),
    /// The last field has no end, or a key has no value.
    CutShort,
    /// A key that this version does not know.
    UnknownKey(String),
    /// A value that does not fit its key.
    BadValue(&'static str),
    /// There is no program to run.
    NoProgram,
}

impl fmt::Display for RunFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NulInValue(key) => write!(f, "{key} contains a NUL byte"),
            Self::CutShort => write!(f, "run file is cut short"),
            Self::UnknownKey(key) => write!(f, "run file has an unknown key `{key}`"),
            Self::BadValue(key) => write!(f, "run file has a bad value for `{key}`"),
            Self::NoProgram => write!(f, "run file names no program"),
        }
    }
}

impl core::error::Error for RunFileError {}

impl RunFile {
    /// A request for `exe` with itself as `argv[0]`, no environment, in `/`, on the console.
    pub fn new(exe: impl Into<Vec<u8>>) -> Self {
        let exe = exe.into();
        let console = || b"/dev/ttyS0".to_vec();
        RunFile {
            args: [exe.clone()].into(),
            exe,
            env: Vec::new(),
            cwd: b"/".to_vec(),
            stdin: console(),
            stdout: console(),
            stderr: console(),
            umask: 0o022,
        }
    }

    /// The bytes of the run file.
    pub fn encode(&self) -> Result<Vec<u8>, RunFileError> {
        let mut out = Vec::new();
        let mut field = |key: &'static str, value: &[u8]| {
            if value.contains(&0) {
                return Err(RunFileError::NulInValue(key));
            }
            for part in [key.as_bytes(), value] {
                out.extend_from_slice(part);
                out.push(0);
            }
            Ok(())
        };
        field("exe", &self.exe)?;
        self.args.iter().try_for_each(|arg| field("arg", arg))?;
        self.env.iter().try_for_each(|var| field("env", var))?;
        field("cwd", &self.cwd)?;
        field("stdin", &self.stdin)?;
        field("stdout", &self.stdout)?;
        field("stderr", &self.stderr)?;
        field("umask", alloc::format!("{:03o}", self.umask).as_bytes())?;
        Ok(out)
    }

    /// Reads a run file. A key left out has the value that [`RunFile::new`] gives it; a
    /// program without arguments gets its own path as `argv[0]`.
    pub fn parse(bytes: &[u8]) -> Result<Self, RunFileError> {
        let mut run = RunFile::new([]);
        run.args.clear();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (key, after_key) = split_field(rest)?;
            let (value, after_value) = split_field(after_key)?;
            rest = after_value;
            let value = value.to_vec();
            match key {
                b"exe" => run.exe = value,
                b"arg" => run.args.push(value),
                b"env" => run.env.push(value),
                b"cwd" => run.cwd = value,
                b"stdin" => run.stdin = value,
                b"stdout" => run.stdout = value,
                b"stderr" => run.stderr = value,
                b"umask" => run.umask = parse_umask(&value).ok_or(RunFileError::BadValue("umask"))?,
                _ => return Err(RunFileError::UnknownKey(String::from_utf8_lossy(key).into_owned())),
            }
        }
        if run.exe.is_empty() {
            return Err(RunFileError::NoProgram);
        }
        if run.args.is_empty() {
            run.args.push(run.exe.clone());
        }
        Ok(run)
    }
}

/// The bytes before the next NUL, and those after it.
fn split_field(bytes: &[u8]) -> Result<(&[u8], &[u8]), RunFileError> {
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(RunFileError::CutShort)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

fn parse_umask(text: &[u8]) -> Option<u32> {
    let mask = u32::from_str_radix(core::str::from_utf8(text).ok()?, 8).ok()?;
    (mask <= 0o777).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> RunFile {
        RunFile {
            args: [b"sh".to_vec(), b"-c".to_vec(), Vec::new()].into(),
            env: [b"PATH=/bin:/usr/bin".to_vec(), b"HOME=/".to_vec()].into(),
            stdin: b"/dev/rawS1".to_vec(),
            umask: 0o077,
            ..RunFile::new("/bin/sh")
        }
    }

    #[test]
    fn fields_are_written_in_order_and_nul_terminated() {
        let bytes = RunFile::new("/bin/true").encode().unwrap();
        assert_eq!(
            bytes,
            b"exe\0/bin/true\0arg\0/bin/true\0cwd\0/\0stdin\0/dev/ttyS0\0stdout\0/dev/ttyS0\0stderr\0/dev/ttyS0\0umask\x00022\0"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let run = example();
        assert_eq!(RunFile::parse(&run.encode().unwrap()), Ok(run));
    }

    #[test]
    fn a_nul_in_a_value_is_refused() {
        let run = RunFile { cwd: b"/a\0b".to_vec(), ..example() };
        assert_eq!(run.encode(), Err(RunFileError::NulInValue("cwd")));
    }

    #[test]
    fn malformed_files_are_refused() {
        let cases: [(&[u8], RunFileError); 6] = [
            (b"", RunFileError::NoProgram),
            (b"exe\0/bin/sh", RunFileError::CutShort),
            (b"exe\0", RunFileError::CutShort),
            (b"exe\0a\0nice\x005\0", RunFileError::UnknownKey("nice".into())),
            (b"exe\0a\0umask\x00888\0", RunFileError::BadValue("umask")),
            (b"exe\0a\0umask\x007777\0", RunFileError::BadValue("umask")),
        ];
        for (bytes, error) in cases {
            assert_eq!(RunFile::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_run_file_is_read_or_refused_without_panic() {
        let bytes = example().encode().unwrap();
        for len in 0..bytes.len() {
            if let Ok(run) = RunFile::parse(&bytes[..len]) {
                assert_eq!(run.exe, b"/bin/sh");
            }
        }
    }
}
