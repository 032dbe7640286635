//! How long it takes from a saved machine to its first picture in a browser.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Serialize;

use crate::{
    child::{self, Ended, Place},
    error::Error,
    stats::Spread,
};

/// What is drawn: 2 GiB and more than twenty processes.
const MEMORY: &str = "2G";
const SLEEPERS: usize = 20;
/// Browsers by name, the first that is there.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// What was measured. Times are seconds on the clock.
#[derive(Debug, Serialize)]
pub struct Times {
    /// How often.
    pub runs: u32,
    /// Bytes of the page.
    pub page_bytes: u64,
    /// `pagewalk report` from the saved machine to the file.
    pub report_seconds: Spread,
    /// The browser from its start until it has drawn the frames; none without one.
    pub browser_seconds: Option<Spread>,
    /// The same browser with an empty page.
    pub empty_seconds: Option<Spread>,
}

/// Measures it with `pagewalk`.
///
/// # Errors
/// A program that cannot be run or fails.
pub fn measure(pagewalk: &Path, folder: &Path, runs: u32, timeout: f64) -> Result<Times, Error> {
    let [saved, page, empty] = ["machine.pw", "machine.html", "empty.html"].map(|name| folder.join(name));
    let script = format!("{}:", "sleep 1000 & ".repeat(SLEEPERS));
    let mut save = Command::new(pagewalk);
    save.args(["run", "--memory", MEMORY, "--save"]).arg(&saved);
    let machine = folder.join("script");
    fs::write(&machine, script).map_err(|error| Error::file("write", &machine, error))?;
    // The guest's shell takes its script from standard input.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <\"$SCRIPT\""]).env("SCRIPT", &machine).arg(pagewalk);
    shell.args(save.get_args());
    good(child::run(shell, folder, timeout, Place::AllCpus)?)?;
    fs::write(&empty, "<!doctype html><title>empty</title>").map_err(|error| Error::file("write", &empty, error))?;
    let browser = BROWSERS.iter().find_map(|name| found(name));
    let (mut reports, mut pages, mut empties) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut report = Command::new(pagewalk);
        report.arg("report").arg(&saved).arg("-o").arg(&page);
        reports.push(good(child::run(report, folder, timeout, Place::AllCpus)?)?.wall_seconds);
        let Some(browser) = &browser else { continue };
        for (file, what, times) in [(&page, "#view=memory", &mut pages), (&empty, "", &mut empties)] {
            let command = opened(browser, file, what, folder);
            times.push(good(child::run(command, folder, timeout, Place::AllCpus)?)?.wall_seconds);
        }
    }
    let page_bytes = fs::metadata(&page).map_err(|error| Error::file("read", &page, error))?.len();
    Ok(Times {
        runs,
        page_bytes,
        report_seconds: Spread::of(&reports).expect("at least one run"),
        browser_seconds: Spread::of(&pages),
        empty_seconds: Spread::of(&empties),
    })
}

/// The browser without a window, which ends when it has a picture of the page as it is once loaded: what the page
/// draws first it draws before that.
fn opened(browser: &Path, file: &Path, what: &str, folder: &Path) -> Command {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
    command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    command.arg(format!("--screenshot={}", folder.join("picture.png").display()));
    command.arg("--window-size=1400,900");
    command.arg(format!("file://{}{what}", file.display()));
    command
}

fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn good(ended: Ended) -> Result<Ended, Error> {
    if ended.status.success() {
        return Ok(ended);
    }
    Err(Error::Status { status: ended.status.to_string(), last_line: ended.last_line() })
}

/// The times in words.
pub fn table(times: &Times) -> String {
    let mut text = String::from("## Time to the first picture\n\n");
    let spread = |s: Spread| format!("{:.2} s ({:.2}–{:.2})", s.median, s.min, s.max);
    let Times { runs, page_bytes, report_seconds, browser_seconds, empty_seconds } = times;
    let kib = page_bytes.div_ceil(1024);
    writeln!(text, "A saved machine of {MEMORY} with {SLEEPERS} sleeping processes and their shells; {runs} runs, times on the clock.\n")
        .expect("a string takes all");
    let browser = browser_seconds.map_or("no browser is installed".into(), spread);
    let empty = empty_seconds.map_or("–".into(), spread);
    let total =
        browser_seconds.map_or("–".into(), |browser| format!("{:.2} s", report_seconds.median + browser.median));
    text += &format!(
        "| step | median (min–max) |\n|---|---:|\n| `pagewalk report`, {kib} KiB | {} |\n\
         | browser, from its start to the picture of all frames | {browser} |\n| both | {total} |\n\
         | the same browser with an empty page | {empty} |\n",
        spread(*report_seconds)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_browser_the_table_says_so() {
        let one = Spread { min: 0.1, median: 0.2, max: 0.3 };
        let times =
            Times { runs: 3, page_bytes: 2048, report_seconds: one, browser_seconds: None, empty_seconds: None };
        let text = table(&times);
        assert!(text.contains("| `pagewalk report`, 2 KiB | 0.20 s (0.10–0.30) |\n"), "{text}");
        assert!(text.contains("no browser is installed"), "{text}");
    }
}
