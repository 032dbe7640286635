//! Asks a kernel how its memory management behaves, and prints the answers. Addresses are
//! given relative to a window of the probe's own, so that two kernels that behave alike
//! print alike.
//!
//! `mmprobe` asks about a process's own memory, `mmprobe remote` about another's, and
//! `mmprobe remote MIB` reads and writes another's while that much more is in use.

mod calls;
mod cases;
mod child;
mod pressed;
mod remote;
mod target;
mod window;

use std::process::ExitCode;

use pagewalk_programs::sys;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => cases::run_all(),
        ["remote"] => remote::run_all(),
        ["remote", mib] if mib.parse::<usize>().is_ok() => pressed::run(mib.parse().unwrap_or(0)),
        _ => {
            eprintln!("usage: mmprobe [remote [MIB]]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mmprobe: {}", sys::reason(&error));
            ExitCode::FAILURE
        }
    }
}
