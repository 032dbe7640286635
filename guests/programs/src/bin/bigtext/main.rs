//! A program with 8 MiB of code: `bigtext [KIB]`. It calls all of it, then uses KIB kB of memory
//! for a moment, then calls all of it again, and tells each time what is in memory of it and
//! how many faults it has taken.

mod code;

use std::{fs, io, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let kib = match args.iter().map(|text| text.parse::<usize>()).collect::<Vec<_>>()[..] {
        [] => 0,
        [Ok(kib)] => kib,
        _ => {
            eprintln!("usage: bigtext [KIB]");
            return ExitCode::from(2);
        }
    };
    match run(kib) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bigtext: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(kib: usize) -> io::Result<()> {
    tell("started")?;
    check(1)?;
    tell("called")?;
    press(kib);
    tell("pressed")?;
    check(2)?;
    tell("called again")
}

fn check(value: u32) -> io::Result<()> {
    if code::call_all(value) == code::answer(value) { Ok(()) } else { Err(io::Error::other("a wrong answer")) }
}

/// Prints a line: resident kB of the process and of its code, minor and major faults so far.
fn tell(when: &str) -> io::Result<()> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let resident = number(&statm, 1)? * (code::PAGE / 1024);
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may have blanks: the state is column 3, minflt 10 and majflt 12.
    let columns = stat.rsplit_once(") ").map_or("", |(_, columns)| columns);
    let (minor, major) = (number(columns, 7)?, number(columns, 9)?);
    println!("{when}: {resident} kB, {} kB of code, {minor} minor faults, {major} major", code_kb()?);
    Ok(())
}

fn number(text: &str, column: usize) -> io::Result<usize> {
    let word = text.split_whitespace().nth(column).and_then(|word| word.parse().ok());
    word.ok_or_else(|| io::Error::other(format!("no number in column {column} of {text}")))
}

/// kB of the code's area that are in memory.
fn code_kb() -> io::Result<usize> {
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let mut is_code = false;
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap_or("");
        if let Some((start, end)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            is_code = (address(start)..address(end)).contains(&code::range().start);
        } else if is_code && first == "Rss:" {
            return number(line, 1);
        }
    }
    Err(io::Error::other("the code is nowhere in /proc/self/smaps"))
}

/// Writes to so much memory, twice, and gives it back.
fn press(kib: usize) {
    let mut memory = vec![0u8; kib * 1024];
    for value in 1..=2 {
        memory.iter_mut().step_by(code::PAGE).for_each(|byte| *byte = value);
    }
    std::hint::black_box(&memory);
}
