//! A bar for what takes long, on a terminal.

use std::{io::IsTerminal, time::Duration, time::Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What is done sooner shows nothing.
const QUIET: Duration = Duration::from_secs(2);

/// How far a measurement is.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    shown: bool,
}

impl Progress {
    /// For so many workloads times platforms.
    pub fn new(cells: usize) -> Self {
        let bar = ProgressBar::hidden();
        bar.set_length(cells as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.expect("a template"));
        Self { bar, start: Instant::now(), shown: false }
    }

    /// Says what runs now.
    pub fn says(&mut self, what: String) {
        if !self.shown && self.start.elapsed() > QUIET && std::io::stderr().is_terminal() {
            self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            self.shown = true;
        }
        self.bar.set_message(what);
    }

    /// One more workload of one platform is done.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// A line for the user, above the bar.
    pub fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
