//! Asks a kernel how its memory management behaves, and prints the answers. Addresses are
//! given relative to a window of the probe's own, so that two kernels that behave alike
//! print alike.
//!
//! `mmprobe` asks about a process's own memory, `mmprobe remote` about another's, and
//! `mmprobe remote MIB` reads and writes another's while that much more is in use. `mmprobe
//! CASE ARGS…` asks one thing that needs a machine of its own: a pool of huge pages, swap, a
//! file system that is full.

mod calls;
mod cases;
mod child;
mod frames;
mod hugetlb;
mod locked;
mod pressed;
mod races;
mod remote;
mod scarce;
mod target;
mod window;

use std::{io, process::ExitCode};

use pagewalk_programs::sys;

/// A case with the words behind its name.
type Case = fn(&[String]) -> io::Result<()>;

/// The cases that are asked for by name.
const CASES: [(&str, Case); 13] = [
    ("cut", scarce::cut),
    ("fill", scarce::fill),
    ("fragment", frames::fragment),
    ("hugetlb", hugetlb::run),
    ("leaderless", scarce::leaderless),
    ("locked", locked::run),
    ("look", scarce::look),
    ("race", races::race),
    ("ranges", scarce::ranges),
    ("refork", scarce::refork),
    ("remote", remote),
    ("swapoff", races::swapoff),
    ("unlocked", scarce::unlocked),
];

/// `remote [MIB]`
fn remote(args: &[String]) -> io::Result<()> {
    match args.first().map(|mib| mib.parse()) {
        None => remote::run_all(),
        Some(Ok(mib)) => pressed::run(mib),
        Some(Err(error)) => Err(io::Error::other(format!("remote wants a number of MiB: {error}"))),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        None => cases::run_all(),
        Some((name, rest)) => match CASES.iter().find(|(known, _)| known == name) {
            Some((_, case)) => case(rest),
            None => {
                let names: Vec<_> = CASES.iter().map(|(name, _)| *name).collect();
                eprintln!("mmprobe: no case `{name}`; there are {}", names.join(", "));
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mmprobe: {}", sys::reason(&error));
            ExitCode::FAILURE
        }
    }
}
