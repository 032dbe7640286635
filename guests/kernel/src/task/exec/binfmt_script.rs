//! `#!`: the interpreter runs with the script's path as argument.

use alloc::vec::Vec;

use abi::errno::{ENOEXEC, Result};

use super::{Binprm, ExeFile};
use crate::fs::namei::{self, Last};

/// Replaces a script by its interpreter. The caller looks at the new file's format.
pub(super) fn load(bprm: &mut Binprm) -> Result<()> {
    let (interpreter, argument) = parse(&bprm.buf)?;
    let mut argv: Vec<Vec<u8>> = alloc::vec![interpreter.clone()];
    argv.extend(argument);
    argv.push(bprm.interp.clone());
    argv.extend(bprm.argv.0.iter().skip(1).cloned());
    bprm.argv.0 = argv;
    let dentry = namei::lookup(&interpreter, Last::Follow)?;
    let exe = ExeFile::open(dentry)?;
    bprm.interp = interpreter;
    bprm.set_exe(exe)
}

/// The interpreter's path and its one argument. ENOEXEC without an interpreter, or if its
/// path may be cut off by the buffer.
fn parse(buf: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let text = &buf[2..];
    let line_end = text.iter().position(|&b| b == b'\n' || b == 0);
    let line = &text[..line_end.unwrap_or(text.len())];
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = line.iter().position(|b| !is_blank(b)).ok_or(ENOEXEC)?;
    let line = &line[start..];
    let path_len = line.iter().position(is_blank);
    if path_len.is_none() && line_end.is_none() {
        return Err(ENOEXEC);
    }
    let (path, rest) = line.split_at(path_len.unwrap_or(line.len()));
    if path.is_empty() {
        return Err(ENOEXEC);
    }
    let rest = rest.trim_ascii();
    Ok((path.to_vec(), (!rest.is_empty()).then(|| rest.to_vec())))
}
