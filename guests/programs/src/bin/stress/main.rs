//! Loads for several CPUs at once, each with a known answer. The name under which the program
//! is called says which one it is: `preempt`, `shootdown` or `smp-storm`; `stress NAME ARGS…` runs one
//! by name. They print one line and end with 0 when all data was right, else they say on
//! standard error what was wrong and end with 1.

mod pages;
mod preempt;
mod random;
mod shootdown;
mod storm;

use std::process::ExitCode;

use pagewalk_programs::sys;

/// Why a load came to no good end.
enum Failure {
    /// The words behind the name make no sense.
    Usage,
    /// What was found is not what belongs there, or the kernel refused something.
    Wrong(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Wrong(sys::reason(&error))
    }
}

/// A load: takes the words behind its name, gives the line to print.
type Load = fn(&[String]) -> Result<String, Failure>;

/// Names, how they are called, and what they run.
const LOADS: [(&str, &str, Load); 3] = [
    ("preempt", preempt::USAGE, preempt::run),
    ("shootdown", shootdown::USAGE, shootdown::run),
    ("smp-storm", storm::USAGE, storm::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let called = words.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    let by_name = |name: &str| LOADS.iter().find(|(known, ..)| *known == name);
    let (load, args) = match (by_name(called), words.get(1)) {
        (Some(load), _) => (load, &words[1..]),
        (None, Some(name)) if by_name(name).is_some() => (by_name(name).expect("just found"), &words[2..]),
        (None, _) => {
            for (_, usage, _) in LOADS {
                eprintln!("usage: {usage}");
            }
            return ExitCode::from(2);
        }
    };
    let (name, usage, run) = load;
    match run(args) {
        Ok(line) => {
            println!("{name}: {line}");
            ExitCode::SUCCESS
        }
        Err(Failure::Usage) => {
            eprintln!("usage: {usage}");
            ExitCode::from(2)
        }
        Err(Failure::Wrong(what)) => {
            eprintln!("{name}: {what}");
            ExitCode::FAILURE
        }
    }
}
