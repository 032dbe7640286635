//! Commands between two pipes: `cut`, `tee`, `tr`.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, Read, Write},
    ops::RangeInclusive,
};

use crate::{
    Error, Outcome, about,
    args::{Args, number},
};

/// `cut -c LIST | -f LIST [-d DELIMITER] [-s]`, of standard input or files.
pub fn cut(args: Args) -> Outcome {
    let parsed = args.parse("b:c:f:d:s")?;
    let by_field = parsed.value('f');
    let list = by_field.or(parsed.value('c')).or(parsed.value('b')).ok_or("missing -c or -f")?;
    let ranges = list.to_string_lossy().split(',').map(parse_range).collect::<Result<Vec<_>, _>>()?;
    let chosen = |position: usize| ranges.iter().any(|range| range.contains(&position));
    let delimiter = parsed.value('d').map_or(b'\t', |d| d.as_encoded_bytes().first().copied().unwrap_or(b'\t'));
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    for file in parsed.files() {
        let lines = crate::text::open(&file).map_err(|error| about(file.display(), &error))?;
        for line in io::BufReader::new(lines).split(b'\n') {
            let line = line.map_err(|error| about(file.display(), &error))?;
            let kept: Vec<u8> = match by_field {
                None => line.iter().enumerate().filter(|(at, _)| chosen(at + 1)).map(|(_, &byte)| byte).collect(),
                Some(_) if !line.contains(&delimiter) && parsed.has('s') => continue,
                Some(_) if !line.contains(&delimiter) => line,
                Some(_) => {
                    let fields = line.split(|&byte| byte == delimiter).enumerate();
                    let fields: Vec<&[u8]> = fields.filter(|(at, _)| chosen(at + 1)).map(|(_, field)| field).collect();
                    fields.join(&delimiter)
                }
            };
            stdout.write_all(&kept).and_then(|()| stdout.write_all(b"\n")).map_err(|e| about("standard output", &e))?;
        }
    }
    stdout.flush().map(|()| 0).map_err(|error| about("standard output", &error))
}

/// `3`, `3-`, `-3` or `3-5`, counted from 1.
fn parse_range(text: &str) -> Result<RangeInclusive<usize>, Error> {
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some(("", last)) => (1, number(last)?),
        Some((first, "")) => (number(first)?, usize::MAX),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    if first == 0 || last < first { Err(format!("`{text}` is not a range")) } else { Ok(first..=last) }
}

/// `tee [-a] FILE…`
pub fn tee(args: Args) -> Outcome {
    let parsed = args.parse("a")?;
    let mut outputs: Vec<(String, Box<dyn Write>)> = vec![("standard output".into(), Box::new(io::stdout()))];
    let mut options = OpenOptions::new();
    options.create(true).append(parsed.has('a')).write(true).truncate(!parsed.has('a'));
    for path in &parsed.operands {
        let file = options.open(path).map_err(|error| about(path.display(), &error))?;
        outputs.push((path.to_string_lossy().into_owned(), Box::new(file)));
    }
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = match io::stdin().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(|error| about("standard input", &error))?,
        };
        if len == 0 {
            return Ok(0);
        }
        for (name, output) in &mut outputs {
            output.write_all(&buffer[..len]).and_then(|()| output.flush()).map_err(|error| about(name, &error))?;
        }
    }
}

/// `tr [-c] [-s] SET1 SET2`, `tr -d [-c] SET`
pub fn tr(args: Args) -> Outcome {
    let parsed = args.parse("cds")?;
    let operands = parsed.at_least(1, "SET")?;
    let from = set(operands[0].as_encoded_bytes());
    let to = operands.get(1).map(|operand| set(operand.as_encoded_bytes()));
    let from: Vec<u8> = if parsed.has('c') { (0..=255).filter(|byte| !from.contains(byte)).collect() } else { from };
    let to = match (to, parsed.has('d') || parsed.has('s')) {
        (Some(to), _) if !to.is_empty() => to,
        (_, true) => from.clone(),
        _ => return Err("missing operand: SET2".into()),
    };
    // A set that is too short goes on with its last member.
    let map = |byte: u8| match from.iter().rposition(|&member| member == byte) {
        Some(at) if !parsed.has('d') => to[at.min(to.len() - 1)],
        _ => byte,
    };
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = vec![0; 1 << 16];
    let mut last = None;
    loop {
        let len = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(|error| about("standard input", &error))?,
        };
        if len == 0 {
            return stdout.flush().map(|()| 0).map_err(|error| about("standard output", &error));
        }
        let mut out = Vec::with_capacity(len);
        for &byte in &buffer[..len] {
            let mapped = map(byte);
            let removed = parsed.has('d') && from.contains(&byte);
            let squeezed = parsed.has('s') && last == Some(mapped) && to.contains(&mapped);
            if !removed && !squeezed {
                out.push(mapped);
                last = Some(mapped);
            }
        }
        stdout.write_all(&out).map_err(|error| about("standard output", &error))?;
    }
}

/// The members of a set: ranges, classes and escapes written out.
fn set(text: &[u8]) -> Vec<u8> {
    let classes: [(&[u8], RangeInclusive<u8>); 3] =
        [(b"[:upper:]", b'A'..=b'Z'), (b"[:lower:]", b'a'..=b'z'), (b"[:digit:]", b'0'..=b'9')];
    let mut members = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some((name, class)) = classes.iter().find(|(name, _)| rest.starts_with(name)) {
            members.extend(class.clone());
            rest = &rest[name.len()..];
            continue;
        }
        let (member, after) = match (first, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'0', after @ ..]) => (0, after),
            (b'\\', [escaped, after @ ..]) => (*escaped, after),
            _ => (first, after),
        };
        match after {
            [b'-', last, after @ ..] if *last >= member => {
                members.extend(member..=*last);
                rest = after;
            }
            _ => {
                members.push(member);
                rest = after;
            }
        }
    }
    members
}
