//! The table for people.

use std::fmt::Write;

use crate::{
    json::{Report, WorkloadReport},
    stats::Spread,
    workloads::Family,
};

/// Compared with native speed, all platforms are this.
const NATIVE: &str = "native";
/// What ours is compared with besides.
const OURS: &str = "pagewalk";

/// What the figures are.
const METHOD: &str = "\
One static i386 program runs on all platforms and prints the same checksums. pagewalk, QEMU TCG and Bochs boot the same \
kernel and initramfs, with one CPU where nothing else is said. Time is CPU time, user and system, of the process on \
the host; in the group `smp` it is the time on the clock. The same start without the work is taken off, and the rest \
divided by the rounds of the work. qemu-rr is QEMU TCG with one thread for all CPUs.";

/// The report as Markdown.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    write_to(&mut text, report).expect("a string takes all");
    text
}

fn write_to(out: &mut String, report: &Report) -> std::fmt::Result {
    let host = &report.host;
    writeln!(
        out,
        "# Speed\n\nPrinted by `cargo run --release -p pagewalk-bench`; made anew with `--markdown FILE`.\n"
    )?;
    writeln!(out, "- {}, {} CPUs, {}, load {:.1}", host.cpu, host.cpus, host.kernel, host.load)?;
    writeln!(out, "- commit {}, {}", host.commit, host.rustc)?;
    for platform in &report.platforms {
        writeln!(out, "- {}: {}", platform.name, platform.version)?;
    }
    writeln!(out, "\n{METHOD} Each figure is the median of {} runs, the platforms in turns.", report.runs)?;
    ratios(out, report)?;
    if has(report, OURS) {
        ours(out, report)?;
    }
    times(out, report)?;
    if !report.goals.is_empty() {
        goals(out, report)?;
    }
    if !report.failures.is_empty() {
        writeln!(out, "\n## Not measured\n")?;
        for failure in &report.failures {
            writeln!(out, "- {} on {}: {}", failure.workload, failure.platform, failure.reason)?;
        }
    }
    Ok(())
}

fn has(report: &Report, platform: &str) -> bool {
    report.platforms.iter().any(|p| p.name == platform)
}

/// The families that have a workload here.
fn families(report: &Report) -> impl Iterator<Item = Family> + '_ {
    Family::ALL.into_iter().filter(|family| report.workloads.iter().any(|workload| workload.family == *family))
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) -> std::fmt::Result {
    let cells: Vec<_> = cells.into_iter().collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

fn heading(out: &mut String, first: &str, rest: &[String]) -> std::fmt::Result {
    row(out, [first.to_owned()].into_iter().chain(rest.iter().cloned()))?;
    writeln!(out, "|---|{}", "---:|".repeat(rest.len()))
}

/// How many times the native time each platform takes.
fn ratios(out: &mut String, report: &Report) -> std::fmt::Result {
    let others: Vec<String> = report.platforms.iter().map(|p| p.name.clone()).filter(|name| name != NATIVE).collect();
    if !has(report, NATIVE) || others.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Time, native = 1\n")?;
    heading(out, "workload", &others)?;
    for family in families(report) {
        for workload in report.workloads.iter().filter(|workload| workload.family == family) {
            let cells = others.iter().map(|other| figure(workload.ratio(other, NATIVE)));
            row(out, [workload.what.to_owned()].into_iter().chain(cells))?;
        }
        let means = others.iter().map(|other| bold(figure(report.mean_ratio(Some(family), other, NATIVE))));
        row(out, [format!("**{family}, geometric mean**")].into_iter().chain(means))?;
    }
    Ok(())
}

/// How fast we are: instructions a second, and compared with the other emulators.
fn ours(out: &mut String, report: &Report) -> std::fmt::Result {
    let peers: Vec<&str> =
        report.platforms.iter().map(|p| p.name.as_str()).filter(|name| ![OURS, NATIVE].contains(name)).collect();
    writeln!(out, "\n## Speed of pagewalk\n")?;
    let columns: Vec<String> =
        ["MIPS".to_owned()].into_iter().chain(peers.iter().map(|peer| format!("× {peer}"))).collect();
    heading(out, "workload", &columns)?;
    for family in families(report) {
        for workload in report.workloads.iter().filter(|workload| workload.family == family) {
            let mips = workload.on(OURS).and_then(|measured| measured.mips);
            let cells = peers.iter().map(|peer| figure(workload.ratio(peer, OURS)));
            row(out, [workload.what.to_owned(), figure(mips)].into_iter().chain(cells))?;
        }
        let means = peers.iter().map(|peer| bold(figure(report.mean_ratio(Some(family), peer, OURS))));
        row(out, [format!("**{family}, geometric mean**"), String::new()].into_iter().chain(means))?;
    }
    Ok(())
}

/// The times themselves.
fn times(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n## Milliseconds a round: median (min–max)\n")?;
    let names: Vec<String> = report.platforms.iter().map(|p| p.name.clone()).collect();
    heading(out, "workload (`program size`)", &names)?;
    for workload in &report.workloads {
        let WorkloadReport { what, arguments, .. } = workload;
        let cells = names.iter().map(|name| spread(workload.on(name).map(|measured| measured.round_seconds)));
        row(out, [format!("{what} (`{arguments}`)")].into_iter().chain(cells))?;
    }
    Ok(())
}

fn goals(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n## Goals\n")?;
    heading(out, "at least this speed", &["wanted", "measured", ""].map(String::from))?;
    for verdict in &report.goals {
        let met = if verdict.is_met { "met" } else { "**missed**" };
        row(out, [verdict.goal.into(), figure(Some(verdict.wanted)), figure(Some(verdict.measured)), met.into()])?;
    }
    Ok(())
}

/// Three digits, no more than are meant.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value >= 99.95 => format!("{value:.0}"),
        Some(value) if value >= 9.995 => format!("{value:.1}"),
        Some(value) if value >= 0.0995 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn bold(text: String) -> String {
    format!("**{text}**")
}

fn spread(seconds: Option<Spread>) -> String {
    let ms = |value: f64| figure(Some(value * 1e3));
    seconds.map_or("–".into(), |s| format!("{} ({}–{})", ms(s.median), ms(s.min), ms(s.max)))
}
