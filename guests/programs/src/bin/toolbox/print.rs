//! Commands that print what they are told: `echo`, `printf`, `seq`, `hexdump`.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
};

use crate::{
    Outcome, about,
    args::{Args, number},
};

fn written(result: io::Result<()>) -> Outcome {
    result.map(|()| 0).map_err(|error| about("standard output", &error))
}

/// `echo [-n] [-e] [ARG…]`
pub fn echo(args: Args) -> Outcome {
    let args = args.raw();
    let is_option = |arg: &[u8]| arg.len() > 1 && arg[0] == b'-' && arg[1..].iter().all(|b| b"neE".contains(b));
    let options = args.iter().take_while(|arg| is_option(arg.as_bytes())).count();
    let has = |letter: u8| args[..options].iter().any(|arg| arg.as_bytes().contains(&letter));
    let words: Vec<&[u8]> = args[options..].iter().map(|arg| arg.as_bytes()).collect();
    let mut line = words.join(&b' ');
    let mut newline = !has(b'n');
    if has(b'e') {
        let (text, stop) = unescape(&line);
        line = text;
        newline &= !stop;
    }
    if newline {
        line.push(b'\n');
    }
    written(io::stdout().write_all(&line))
}

/// Replaces backslash escapes; whether `\c` asked to stop there.
fn unescape(text: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(escape) = bytes.next() else {
            out.push(b'\\');
            break;
        };
        let mut digits = |radix: u32, most: usize, first: u32| {
            let mut value = first;
            for _ in 0..most {
                let digit = bytes.peek().and_then(|&b| char::from(b).to_digit(radix));
                let Some(digit) = digit else { break };
                value = value * radix + digit;
                bytes.next();
            }
            value as u8
        };
        out.push(match escape {
            b'a' => 7,
            b'b' => 8,
            b'e' => 27,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' => b'\\',
            b'x' => digits(16, 2, 0),
            b'0'..=b'7' => digits(8, 3 - usize::from(escape != b'0'), u32::from(escape - b'0')),
            b'c' => return (out, true),
            other => {
                out.extend([b'\\', other]);
                continue;
            }
        });
    }
    (out, false)
}

/// `printf FORMAT [ARG…]`
pub fn printf(args: Args) -> Outcome {
    let args = args.raw();
    let Some((format, args)) = args.split_first() else { return Err("missing format".into()) };
    let mut args = args.iter().map(|arg| arg.as_bytes()).peekable();
    let mut out = Vec::new();
    loop {
        let had_args = args.peek().is_some();
        let before = args.len();
        format_once(format.as_bytes(), &mut args, &mut out)?;
        // The format is used again while it takes arguments and some are left.
        if !had_args || args.peek().is_none() || args.len() == before {
            break;
        }
    }
    written(io::stdout().write_all(&out))
}

fn format_once<'a>(format: &[u8], args: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = format;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let (text, stop) = unescape(&rest[..at]);
        out.extend(text);
        if stop {
            return Ok(());
        }
        rest = &rest[at + 1..];
        let flags_len = rest.iter().take_while(|byte| b"-0+ #".contains(byte)).count();
        let (flags, after) = rest.split_at(flags_len);
        let width_len = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (width, after) = after.split_at(width_len);
        let width: usize = if width.is_empty() { 0 } else { number(std::ffi::OsStr::from_bytes(width))? };
        let (precision, after) = match after.strip_prefix(b".") {
            Some(digits) => {
                let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (precision, after) = digits.split_at(len);
                let precision = String::from_utf8_lossy(precision);
                (Some(if len == 0 { 0 } else { number::<usize>(precision.as_ref())? }), after)
            }
            None => (None, after),
        };
        let (&conversion, after) = after.split_first().ok_or("the format ends in a %")?;
        rest = after;
        if conversion == b'%' {
            out.push(b'%');
            continue;
        }
        let arg = args.next().unwrap_or_default();
        let mut zeros = flags.contains(&b'0');
        let body: Vec<u8> = match conversion {
            b's' | b'b' | b'c' => {
                zeros = false;
                let text = if conversion == b'b' { unescape(arg).0 } else { arg.to_vec() };
                let most = if conversion == b'c' { Some(1) } else { precision };
                text[..text.len().min(most.unwrap_or(usize::MAX))].to_vec()
            }
            b'd' | b'i' => {
                let value = integer(arg)?;
                let sign = if value < 0 {
                    "-"
                } else if flags.contains(&b'+') {
                    "+"
                } else {
                    ""
                };
                pad(out, width, flags, zeros, sign, value.unsigned_abs().to_string().as_bytes());
                continue;
            }
            b'u' => (integer(arg)? as u64).to_string().into(),
            b'x' => format!("{:x}", integer(arg)?).into(),
            b'X' => format!("{:X}", integer(arg)?).into(),
            b'o' => format!("{:o}", integer(arg)?).into(),
            other => return Err(format!("`%{}` is not supported", char::from(other))),
        };
        pad(out, width, flags, zeros, "", &body);
    }
    out.extend(unescape(rest).0);
    Ok(())
}

/// Appends a converted argument, padded to its width.
fn pad(out: &mut Vec<u8>, width: usize, flags: &[u8], zeros: bool, sign: &str, body: &[u8]) {
    let padding = width.saturating_sub(sign.len() + body.len());
    let left = flags.contains(&b'-');
    let fill = |out: &mut Vec<u8>, byte: u8| out.extend(std::iter::repeat_n(byte, padding));
    if !left && !zeros {
        fill(out, b' ');
    }
    out.extend_from_slice(sign.as_bytes());
    if !left && zeros {
        fill(out, b'0');
    }
    out.extend_from_slice(body);
    if left {
        fill(out, b' ');
    }
}

/// An integer argument of `printf`: decimal, `0x…`, `0…`, or `'c` for a character's code.
fn integer(arg: &[u8]) -> Result<i64, String> {
    let text = String::from_utf8_lossy(arg);
    if text.is_empty() {
        return Ok(0);
    }
    if let Some(character) = text.strip_prefix(['\'', '"']) {
        return Ok(character.chars().next().map_or(0, |c| i64::from(u32::from(c))));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let value = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => i64::from_str_radix(&digits[2..], 16),
        [b'0', _, ..] => i64::from_str_radix(&digits[1..], 8),
        _ => digits.parse(),
    };
    let value = value.map_err(|_| format!("`{text}` is not a number"))?;
    Ok(if negative { -value } else { value })
}

/// `seq [FIRST [STEP]] LAST`
pub fn seq(args: Args) -> Outcome {
    let numbers = args.raw().iter().map(number).collect::<Result<Vec<i64>, _>>()?;
    let (first, step, last) = match numbers[..] {
        [last] => (1, 1, last),
        [first, last] => (first, 1, last),
        [first, step, last] if step != 0 => (first, step, last),
        [_, _, _] => return Err("the step must not be 0".into()),
        _ => return Err("usage: seq [FIRST [STEP]] LAST".into()),
    };
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let numbers = std::iter::successors(Some(first), |number| number.checked_add(step));
    for number in numbers.take_while(|&number| if step > 0 { number <= last } else { number >= last }) {
        writeln!(stdout, "{number}").map_err(|error| about("standard output", &error))?;
    }
    written(stdout.flush())
}

/// `hexdump [-C] [FILE]`
pub fn hexdump(args: Args) -> Outcome {
    let parsed = args.parse("C")?;
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut bytes: Box<dyn Read> = Box::new(io::empty());
    for file in parsed.files() {
        let next: Box<dyn Read> = if file == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&file).map_err(|error| about(file.display(), &error))?)
        };
        bytes = Box::new(bytes.chain(next));
    }
    let (mut offset, mut previous, mut starred) = (0usize, None, false);
    loop {
        let mut line = Vec::new();
        let len = bytes.by_ref().take(16).read_to_end(&mut line).map_err(|error| about("read", &error))?;
        if len == 0 {
            break;
        }
        let repeated = len == 16 && previous.as_ref() == Some(&line);
        if !repeated {
            written(writeln!(stdout, "{}", dump_line(offset, &line)))?;
        } else if !starred {
            written(writeln!(stdout, "*"))?;
        }
        starred = repeated;
        offset += len;
        previous = Some(line);
    }
    if offset > 0 {
        written(writeln!(stdout, "{offset:08x}"))?;
    }
    written(stdout.flush())
}

/// Offset, bytes in hexadecimal, and those that are printable.
fn dump_line(offset: usize, bytes: &[u8]) -> String {
    let mut line = format!("{offset:08x} ");
    for at in 0..16 {
        if at % 8 == 0 {
            line.push(' ');
        }
        match bytes.get(at) {
            Some(byte) => line += &format!("{byte:02x} "),
            None => line += "   ",
        }
    }
    let printable = bytes.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' });
    format!("{line} |{}|", printable.collect::<String>())
}
