//! Everything that was measured, as it is written with `--json`.

use serde::Serialize;

use crate::{
    goals::Verdict,
    host::Host,
    stats::{Spread, geometric_mean},
    workloads::Family,
};

/// A whole run of the tool. Times are CPU seconds, user and system; in the family `smp` seconds on the clock.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// How often each workload was run on each platform.
    pub runs: u32,
    /// The platforms, in the order of the command line.
    pub platforms: Vec<PlatformInfo>,
    /// What was measured.
    pub workloads: Vec<WorkloadReport>,
    /// What was asked for and could not be measured.
    pub failures: Vec<Failure>,
    /// What the project has set itself, as far as it was measured.
    pub goals: Vec<Verdict>,
}

/// A platform.
#[derive(Debug, Serialize)]
pub struct PlatformInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A workload on all platforms.
#[derive(Debug, Serialize)]
pub struct WorkloadReport {
    /// Its name.
    pub name: &'static str,
    /// Its family.
    pub family: Family,
    /// What it does.
    pub what: &'static str,
    /// Its name and size for the program `workload`.
    pub arguments: String,
    /// What it printed, the same on all platforms.
    pub checksum: String,
    /// Platforms on which it was measured.
    pub results: Vec<Measured>,
}

/// A workload on a platform.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The platform's name.
    pub platform: &'static str,
    /// Rounds of a run.
    pub rounds: u32,
    /// Whole runs.
    pub total_seconds: Spread,
    /// Runs without the work: boot, start and preparation.
    pub baseline_seconds: Spread,
    /// A round: the runs, each less the median of the baseline, by rounds.
    pub round_seconds: Spread,
    /// A round in each of the turns that platforms take, in their order.
    pub turns: Vec<f64>,
    /// Millions of guest instructions a second, in the work alone; where they are counted.
    pub mips: Option<f64>,
}

/// A workload that could not be measured on a platform.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The workload.
    pub workload: &'static str,
    /// The platform.
    pub platform: &'static str,
    /// Why.
    pub reason: String,
}

impl WorkloadReport {
    /// The result on a platform.
    pub fn on(&self, platform: &str) -> Option<&Measured> {
        self.results.iter().find(|result| result.platform == platform)
    }

    /// How many times longer a round takes on one platform than on another.
    pub fn ratio(&self, platform: &str, other: &str) -> Option<f64> {
        Some(self.on(platform)?.round_seconds.median / self.on(other)?.round_seconds.median)
    }
}

impl Measured {
    /// How many times longer a round takes than in another measurement that was taken in turns with this one:
    /// the median over the turns, in each of which the host had about the same speed.
    pub fn ratio_in_turns(&self, other: &Measured) -> Option<f64> {
        let ratios: Vec<f64> = self.turns.iter().zip(&other.turns).map(|(own, others)| own / others).collect();
        Some(Spread::of(&ratios)?.median)
    }
}

impl Report {
    /// What was measured of a workload.
    pub fn workload(&self, name: &str) -> Option<&WorkloadReport> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// The geometric mean of such ratios over the workloads of a family (over all without
    /// one) that both platforms have run.
    pub fn mean_ratio(&self, family: Option<Family>, platform: &str, other: &str) -> Option<f64> {
        let of_family = self.workloads.iter().filter(|workload| family.is_none_or(|family| workload.family == family));
        geometric_mean(of_family.filter_map(|workload| workload.ratio(platform, other)))
    }
}
