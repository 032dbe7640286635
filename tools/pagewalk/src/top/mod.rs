//! `pagewalk top`: a live view of a machine in the terminal.
//!
//! [`look`] is what one look finds, [`model`] what is known over several, [`view`] draws it. [`worker`] asks the
//! machine, [`terminal`] keeps the terminal whole, [`live`] has the keys, [`batch`] prints without a terminal.

mod batch;
mod events;
mod keys;
mod live;
mod look;
mod model;
mod sort;
mod terminal;
mod ui;
mod view;
mod worker;

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    error::Error,
    lens::{Source, parse_seconds},
};
use sort::{By, Order};

/// Options of `pagewalk top`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER)]
pub struct TopArgs {
    /// A machine that runs now (`run --name NAME`). Default: the only one that runs.
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot")]
    vm: Option<String>,
    /// A saved machine (`run --save FILE`), which stands still.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Look every so many seconds.
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    interval: Duration,
    /// Sort the processes by pid, cpu, rss, vsz, time, faults or name.
    #[arg(short = 'o', long, value_name = "COLUMN", default_value = "pid", value_parser = By::of_word)]
    sort: By,
    /// Print text, look after look, instead of taking the terminal.
    #[arg(short, long)]
    batch: bool,
    /// Print so many looks and end; without --batch too.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// Print JSON: one look, or with --batch or -n a line each.
    #[arg(long)]
    json: bool,
}

/// What the options alone do not tell.
const AFTER: &str = "\
In the view: q leaves, p pauses and resumes the machine, s steps, w walks an address, Tab and the arrows choose, \
Enter shows a process's maps, ? tells all keys and what the figures are.

Where standard output is no terminal, one look is printed as text.";

/// Shows the machine.
///
/// # Errors
/// A machine that cannot be looked at; a terminal that cannot be used.
pub fn top(args: &TopArgs) -> Result<u8, Error> {
    let source =
        Source::open(args.vm.as_deref(), args.snapshot.as_deref()).map_err(|why| Error::Lens(why.to_string()))?;
    let order = Order { by: args.sort, reversed: false };
    let is_terminal = std::io::stdout().is_terminal();
    if is_terminal && !args.batch && !args.json && args.iterations.is_none() {
        return live::run(source, order, args.interval);
    }
    let looks = args.iterations.or((!args.batch).then_some(1));
    batch::run(source, order, args.interval, looks, args.json)
}
