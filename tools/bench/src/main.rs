//! `bench`: the same static i386 program run natively, under Pagewalk and under its peers,
//! turn by turn in one run, and how their CPU times compare.
//!
//! `cargo run --release -p pagewalk-bench -- --help`

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;

mod child;
mod error;
mod goals;
mod host;
mod json;
mod markdown;
mod measure;
mod picture;
mod platform;
mod progress;
mod stats;
mod workloads;

use error::Error;
use platform::Platform;
use workloads::Spec;

/// Measures workloads natively, under Pagewalk and under its peers, in one run.
///
/// Every workload is one static i386 program that prints a checksum, which has to be the
/// same everywhere. What is measured is the CPU time (user and system) of the process that
/// runs it, less that of the same start without the work. Platforms take turns; a figure is
/// the median of all turns. The table goes to standard output.
#[derive(Parser)]
#[command(name = "bench", version, max_term_width = 100)]
struct Args {
    /// Workloads or families to run, by name [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Platforms to run them on; NAME=FAMILY+… runs only those workloads or families there. One that
    /// is not installed is left out with a word about it
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = platform::NAMES_BY_DEFAULT)]
    platforms: Vec<String>,
    /// How often each workload is run on each platform
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// CPU time that the work of one run under an emulator should take; natively a third of it
    #[arg(long, value_name = "SECONDS", default_value_t = 0.4, value_parser = seconds)]
    seconds: f64,
    /// Wall time after which a run has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
    timeout: f64,
    /// The `pagewalk` to measure [default: the one of this workspace, built first if need be]
    #[arg(long, value_name = "FILE")]
    pagewalk: Option<PathBuf>,
    /// Also write everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the table
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Measure instead how long it takes from a saved machine to its first picture in a browser
    #[arg(long, conflicts_with_all = ["only", "list"])]
    picture: bool,
    /// Say which workloads, families and platforms there are
    #[arg(long)]
    list: bool,
}

/// A positive time.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("not a number of seconds above 0 and up to 86400".into()),
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            if matches!(error, Error::UnknownWorkload(_) | Error::UnknownPlatform(_)) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether all that was asked for could be measured.
fn run(args: &Args) -> Result<bool, Error> {
    let specs = workloads::chosen(&args.only)?;
    let wanted = args.platforms.iter().map(|text| wanted(text, &specs)).collect::<Result<Vec<_>, _>>()?;
    if args.list {
        list();
        return Ok(true);
    }
    // What can't be written is better known now than after half an hour.
    for path in args.json.iter().chain(&args.markdown) {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| Error::file("write", path, error))?;
    }
    let folder = tempfile::tempdir().map_err(Error::TemporaryFolder)?;
    if args.picture {
        let program = platform::pagewalk_program(args.pagewalk.as_deref())?;
        let times = picture::measure(&program, folder.path(), args.runs, args.timeout)?;
        write(args, &picture::table(&times), &times)?;
        return Ok(true);
    }
    let mut platforms = Vec::new();
    for (name, specs) in wanted {
        let found = platform::find(name, folder.path(), args.pagewalk.as_deref(), args.timeout)?;
        match found {
            Ok(platform) => platforms.push(measure::Place { platform, specs }),
            Err(missing) => eprintln!("bench: {name} is left out: {missing}"),
        }
    }
    if platforms.is_empty() {
        return Err(Error::NoPlatform);
    }
    let report =
        measure::Plan { specs: &specs, platforms: &platforms, runs: args.runs, seconds: args.seconds }.carry_out();
    let report = json::Report { host: host::describe(), platforms: describe(&platforms), ..report };
    let table = markdown::table(&report);
    write(args, &table, &report)?;
    Ok(report.failures.is_empty())
}

/// Prints the table, and writes what was asked for.
fn write(args: &Args, table: &str, report: &impl serde::Serialize) -> Result<(), Error> {
    print!("{table}");
    if let Some(path) = &args.markdown {
        fs::write(path, table).map_err(|error| Error::file("write", path, error))?;
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report).expect("plain data") + "\n";
        fs::write(path, text).map_err(|error| Error::file("write", path, error))?;
    }
    Ok(())
}

/// A platform of the command line: its name, and which of `specs` it runs.
fn wanted<'a>(text: &'a str, specs: &[&'static Spec]) -> Result<(&'a str, Vec<&'static Spec>), Error> {
    let (name, only) =
        text.split_once('=').map_or((text, Vec::new()), |(name, only)| (name, only.split('+').collect()));
    platform::known(name)?;
    let only = workloads::chosen(&only.into_iter().map(String::from).collect::<Vec<_>>())?;
    Ok((name, specs.iter().filter(|spec| only.iter().any(|of| of.name == spec.name)).copied().collect()))
}

fn describe(places: &[measure::Place]) -> Vec<json::PlatformInfo> {
    let info = |p: &dyn Platform| json::PlatformInfo { name: p.name().into(), version: p.version().into() };
    places.iter().map(|place| info(place.platform.as_ref())).collect()
}

fn list() {
    let mut family = None;
    for Spec { name, family: of, what, .. } in workloads::ALL {
        if family.replace(of) != Some(of) {
            println!("{of}:");
        }
        println!("  {name:10} {what}");
    }
    println!("platforms: {}", platform::NAMES.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_runs_all_that_is_asked_for_or_the_part_that_is_named() {
        let specs = workloads::chosen(&["integer".into(), "cold".into()]).unwrap();
        let names = |text| wanted(text, &specs).map(|(name, specs)| (name, specs.len()));
        assert_eq!(names("native").unwrap(), ("native", specs.len()));
        assert_eq!(names("bochs=integer").unwrap(), ("bochs", specs.len() - 1));
        assert_eq!(names("bochs=cold+sieve+walk").unwrap(), ("bochs", 2));
        assert!(matches!(names("bochs=sieves"), Err(Error::UnknownWorkload(name)) if name == "sieves"));
        assert!(matches!(names("bocks=sieve"), Err(Error::UnknownPlatform(name)) if name == "bocks"));
    }
}
