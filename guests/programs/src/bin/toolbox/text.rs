//! Commands that read text: `cat`, `head`, `tail`, `wc`, `sort`, `grep`.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
};

use crate::{
    Error, Outcome, about,
    args::{Args, Parsed, number},
    pattern::Pattern,
};

/// A file to read; `-` is standard input.
pub fn open(path: &OsStr) -> io::Result<Box<dyn Read>> {
    Ok(if path == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) })
}

/// Runs `each` on every file; a file that fails is named on standard error and makes the
/// status 1, but the others are still done.
fn for_each_file(
    name: &str,
    files: &[OsString],
    mut each: impl FnMut(&OsStr, Box<dyn Read>) -> io::Result<()>,
) -> Outcome {
    let mut status = 0;
    for file in files {
        if let Err(error) = open(file).and_then(|reader| each(file, reader)) {
            eprintln!("{name}: {}", about(file.display(), &error));
            status = 1;
        }
    }
    Ok(status)
}

/// `cat [FILE…]`
pub fn cat(args: Args) -> Outcome {
    let parsed = args.parse("u")?;
    let mut buffer = vec![0; 1 << 16];
    // Past the buffer of the standard output: what has been read is seen at once.
    let mut stdout = stdout_file();
    for_each_file("cat", &parsed.files(), |_, mut reader| {
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => stdout.write_all(&buffer[..len])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// Standard output without a buffer.
fn stdout_file() -> impl Write {
    use std::os::fd::AsFd;
    let copy = io::stdout().as_fd().try_clone_to_owned();
    copy.map_or_else(|_| Box::new(io::sink()) as Box<dyn Write>, |fd| Box::new(File::from(fd)))
}

/// `head [-n LINES | -LINES] [-c BYTES] [FILE…]`
pub fn head(args: Args) -> Outcome {
    let parsed = with_old_style_count(args, "n:c:")?;
    let bytes = parsed.value('c').map(number::<u64>).transpose()?;
    let lines = parsed.value('n').map_or(Ok(10), number::<usize>)?;
    let files = parsed.files();
    let mut titles = Titles::new(&files);
    for_each_file("head", &files, |file, reader| {
        let mut stdout = io::stdout().lock();
        titles.print(&mut stdout, file)?;
        if let Some(bytes) = bytes {
            return io::copy(&mut reader.take(bytes), &mut stdout).map(drop);
        }
        for line in lines_of(reader).take(lines) {
            stdout.write_all(&line?)?;
        }
        Ok(())
    })
}

/// `tail [-n LINES | -n +LINE | -LINES] [-c BYTES] [FILE…]`
pub fn tail(args: Args) -> Outcome {
    let parsed = with_old_style_count(args, "n:c:")?;
    let count = parsed.value('n').map_or_else(|| "10".into(), |n| n.to_string_lossy());
    let bytes = parsed.value('c').map(number::<usize>).transpose()?;
    let lines: usize = number(count.trim_start_matches(['+', '-']))?;
    let files = parsed.files();
    let mut titles = Titles::new(&files);
    for_each_file("tail", &files, |file, mut reader| {
        let mut stdout = io::stdout().lock();
        titles.print(&mut stdout, file)?;
        if let Some(bytes) = bytes {
            let mut all = Vec::new();
            reader.read_to_end(&mut all)?;
            return stdout.write_all(&all[all.len().saturating_sub(bytes)..]);
        }
        if count.starts_with('+') {
            for line in lines_of(reader).skip(lines.saturating_sub(1)) {
                stdout.write_all(&line?)?;
            }
            return Ok(());
        }
        let mut last = VecDeque::new();
        for line in lines_of(reader) {
            last.push_back(line?);
            if last.len() > lines {
                last.pop_front();
            }
        }
        last.iter().try_for_each(|line| stdout.write_all(line))
    })
}

/// `-5` is an old way to say `-n 5`.
fn with_old_style_count(args: Args, spec: &str) -> Result<Parsed, Error> {
    let mut argv = vec![OsString::new()];
    for arg in args.raw() {
        match arg.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(count) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
                argv.extend(["-n".into(), count.into()]);
            }
            _ => argv.push(arg),
        }
    }
    Args::new(argv).parse(spec)
}

/// The title lines that `head` and `tail` print above each of several files.
struct Titles {
    wanted: bool,
    printed: usize,
}

impl Titles {
    fn new(files: &[OsString]) -> Self {
        Titles { wanted: files.len() > 1, printed: 0 }
    }

    fn print(&mut self, out: &mut impl Write, file: &OsStr) -> io::Result<()> {
        if !self.wanted {
            return Ok(());
        }
        let gap = if self.printed == 0 { "" } else { "\n" };
        self.printed += 1;
        let name = if file == "-" { "standard input".into() } else { file.to_string_lossy() };
        writeln!(out, "{gap}==> {name} <==")
    }
}

/// The lines of a stream, each with its newline.
fn lines_of(reader: impl Read) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let mut reader = BufReader::new(reader);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(error)),
        }
    })
}

/// `wc [-l] [-w] [-c] [FILE…]`
pub fn wc(args: Args) -> Outcome {
    let parsed = args.parse("lwc")?;
    let all = !['l', 'w', 'c'].into_iter().any(|letter| parsed.has(letter));
    let shown = ['l', 'w', 'c'].map(|letter| all || parsed.has(letter));
    let one_number = shown.iter().filter(|&&shown| shown).count() == 1;
    let print = |counts: [u64; 3], name: &str| {
        let columns = counts.iter().zip(shown).filter(|(_, shown)| *shown);
        let mut line: Vec<String> =
            columns.map(|(count, _)| if one_number { count.to_string() } else { format!("{count:7}") }).collect();
        if !name.is_empty() {
            line.push(name.to_string());
        }
        writeln!(io::stdout(), "{}", line.join(" "))
    };
    let mut total = [0; 3];
    let status = for_each_file("wc", &parsed.files(), |file, mut reader| {
        let mut counts = [0; 3];
        let (mut buffer, mut in_word) = (vec![0; 1 << 16], false);
        loop {
            let len = match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            if len == 0 {
                break;
            }
            for &byte in &buffer[..len] {
                counts[0] += u64::from(byte == b'\n');
                let space = byte.is_ascii_whitespace();
                counts[1] += u64::from(!space && !in_word);
                in_word = !space;
            }
            counts[2] += len as u64;
        }
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        print(counts, if parsed.operands.is_empty() { "".into() } else { file.to_string_lossy() }.as_ref())
    })?;
    if parsed.operands.len() > 1 {
        print(total, "total").map_err(|error| about("standard output", &error))?;
    }
    Ok(status)
}

/// `sort [-r] [-n] [-u] [-k FIELD] [FILE…]`
pub fn sort(args: Args) -> Outcome {
    let parsed = args.parse("rnuk:")?;
    let field = parsed.value('k').map(|k| number::<usize>(k.to_string_lossy().split(',').next().unwrap_or_default()));
    let field = field.transpose()?;
    let mut lines = Vec::new();
    let status = for_each_file("sort", &parsed.files(), |_, reader| {
        for line in lines_of(reader) {
            let mut line = line?;
            if line.ends_with(b"\n") {
                line.pop();
            }
            lines.push(line);
        }
        Ok(())
    })?;
    let numeric = parsed.has('n');
    let key = |line: &[u8]| -> Vec<u8> {
        let Some(field) = field else { return line.to_vec() };
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.skip(field.saturating_sub(1)).collect::<Vec<_>>().join(&b' ')
    };
    let compare = |a: &Vec<u8>, b: &Vec<u8>| -> Ordering {
        let (key_a, key_b) = (key(a), key(b));
        let by_key = if numeric { leading_number(&key_a).cmp(&leading_number(&key_b)) } else { key_a.cmp(&key_b) };
        let order = by_key.then_with(|| if parsed.has('u') { Ordering::Equal } else { a.cmp(b) });
        if parsed.has('r') { order.reverse() } else { order }
    };
    lines.sort_by(compare);
    if parsed.has('u') {
        lines.dedup_by(|a, b| compare(a, b) == Ordering::Equal);
    }
    let mut stdout = io::stdout().lock();
    for line in lines {
        stdout.write_all(&line).and_then(|()| stdout.write_all(b"\n")).map_err(|e| about("standard output", &e))?;
    }
    Ok(status)
}

/// The integer at the start of a line; 0 if there is none.
fn leading_number(line: &[u8]) -> i64 {
    let text: String = String::from_utf8_lossy(line).trim_start().to_string();
    let digits = text.char_indices().take_while(|&(at, c)| c.is_ascii_digit() || (at == 0 && c == '-')).count();
    text[..digits].parse().unwrap_or(0)
}

/// `grep [-EFcilnqv] [-e PATTERN | PATTERN] [FILE…]`
pub fn grep(args: Args) -> Outcome {
    let trouble = |error: Error| {
        eprintln!("grep: {error}");
        Ok(2)
    };
    let parsed = match args.parse("EFcilnqve:h") {
        Ok(parsed) => parsed,
        Err(error) => return trouble(error),
    };
    let mut operands = parsed.operands.clone();
    let text = match parsed.value('e') {
        Some(text) => text.clone(),
        None if operands.is_empty() => return trouble("missing pattern".into()),
        None => operands.remove(0),
    };
    let text = text.to_string_lossy();
    let pattern = if parsed.has('F') {
        Ok(Pattern::literal(text.as_bytes()))
    } else {
        Pattern::new(text.as_bytes(), parsed.has('E'))
    };
    let mut pattern = match pattern {
        Ok(pattern) => pattern,
        Err(error) => return trouble(error),
    };
    if parsed.has('i') {
        pattern.ignore_case();
    }
    let with_name = operands.len() > 1 && !parsed.has('h');
    if operands.is_empty() {
        operands.push("-".into());
    }
    let mut matched = false;
    let status = for_each_file("grep", &operands, |file, reader| {
        let mut stdout = io::stdout().lock();
        let name = if with_name { format!("{}:", file.display()) } else { String::new() };
        let mut count = 0;
        for (number, line) in lines_of(reader).enumerate() {
            let line = line?;
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            if pattern.is_match(line) == parsed.has('v') {
                continue;
            }
            matched = true;
            count += 1;
            if parsed.has('q') || parsed.has('l') {
                break;
            }
            if !parsed.has('c') {
                let number = if parsed.has('n') { format!("{}:", number + 1) } else { String::new() };
                stdout.write_all(&[name.as_bytes(), number.as_bytes(), line, b"\n"].concat())?;
            }
        }
        match () {
            () if parsed.has('q') => Ok(()),
            () if parsed.has('l') && count > 0 => writeln!(stdout, "{}", file.display()),
            () if parsed.has('c') && !parsed.has('l') => writeln!(stdout, "{name}{count}"),
            () => Ok(()),
        }
    })?;
    Ok(if status != 0 { 2 } else { u8::from(!matched) })
}
