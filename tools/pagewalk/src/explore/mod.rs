//! `pagewalk explore`: the same run under many schedules, in processes of their own.

mod report;
mod sweep;

use std::ffi::OsString;

use clap::{Args, Parser};

use crate::{
    cli::{Cli, Command, RunArgs},
    error::{Error, status},
    guest,
};

/// Options of `pagewalk explore`.
#[derive(Args, Debug, Clone)]
pub struct ExploreArgs {
    /// The seeds, both ends included.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// How many runs at the same time (default: the host's CPUs).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// End with the lowest seed that fails.
    #[arg(long)]
    first: bool,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
    /// What `pagewalk run` gets behind --schedule-seed: its options, the program, its arguments. Standard
    /// input, unless it is a terminal, is read first and given to every run.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "[OPTIONS OF run] PROGRAM [ARGS]")]
    words: Vec<OsString>,
}

/// A range of seeds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seeds {
    first: u64,
    last: u64,
}

impl Seeds {
    fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no range of seeds: write FIRST..LAST, as 1..1000");
        let (first, last) = text.split_once("..").ok_or_else(bad)?;
        let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else { return Err(bad()) };
        if first > last {
            return Err(format!("`{text}`: the first seed is greater than the last"));
        }
        Ok(Seeds { first, last })
    }
}

/// Runs the seeds; 1 if a run failed. What had run when the user wanted the end is told, too.
pub fn explore(args: &ExploreArgs) -> Result<u8, Error> {
    if let Some(path) = check(&args.words)?.as_ref().and_then(|run| run.guest()) {
        guest::load(path)?;
    }
    let outcome = sweep::run(args)?;
    let text = if args.json { report::json(args, &outcome) } else { report::text(args, &outcome) };
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Error::CannotStart(format!("standard output: {error}")));
        }
        _ => {}
    }
    Ok(if outcome.interrupted { status::INTERRUPTED } else { u8::from(!outcome.failures.is_empty()) })
}

/// Refuses at once what every run would refuse, and what runs beside each other cannot share.
fn check(words: &[OsString]) -> Result<Option<Box<RunArgs>>, Error> {
    // With the option that each run gets, so that a second one is refused.
    let begin = ["pagewalk", "run", "--schedule-seed", "0"].map(OsString::from);
    let cli = Cli::try_parse_from(begin.iter().chain(words))
        .map_err(|error| Error::Usage(format!("for run: {}", crate::help::words(&error))))?;
    let Some(Command::Run(run)) = cli.command else { return Ok(None) };
    match unshared(&run) {
        Some(option) => Err(Error::Usage(format!("{option} is for a single run, not for many at the same time"))),
        None => Ok(Some(run)),
    }
}

/// An option that the runs would quarrel over.
fn unshared(run: &RunArgs) -> Option<&'static str> {
    [
        (run.gdb.is_some(), "--gdb"),
        (run.machine.name.is_some(), "--name"),
        (run.save.is_some(), "--save"),
        (run.trace_file.is_some(), "--trace-file"),
        (!run.machine.disks.is_empty() && !run.machine.snapshot_disk, "--disk without --snapshot-disk"),
    ]
    .into_iter()
    .find_map(|(given, name)| given.then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(text: &str) -> Result<(u64, u64), String> {
        text.parse().map(|Seeds { first, last }| (first, last))
    }

    #[test]
    fn a_range_of_seeds_has_both_its_ends() {
        assert_eq!(seeds("1..1000"), Ok((1, 1000)));
        assert_eq!(seeds("7..7"), Ok((7, 7)));
        assert_eq!(seeds("1..20").map(|(first, last)| Seeds { first, last }.count()), Ok(20));
        assert!(seeds("5").unwrap_err().contains("FIRST..LAST"));
        assert!(seeds("5..x").is_err());
        assert!(seeds("9..3").unwrap_err().contains("greater"));
    }

    #[test]
    fn what_runs_cannot_share_is_refused() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert!(check(&words("--cpus 4 prog --save x")).is_ok(), "that is the program's");
        assert!(check(&words("--save x prog")).unwrap_err().to_string().contains("--save"));
        assert!(check(&words("--disk d prog")).is_err());
        assert!(check(&words("--disk d --snapshot-disk prog")).is_ok());
        assert!(check(&words("--nonsense prog")).is_err());
    }
}
