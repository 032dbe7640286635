//! Runs everything, platform by platform in turns, and takes the times.

use crate::{
    error::Error,
    goals,
    json::{Failure, Measured, Report, WorkloadReport},
    platform::{Job, Outcome, Platform},
    progress::Progress,
    stats::Spread,
    workloads::{self, Baseline, Spec},
};

/// A platform and what is run on it.
pub struct Place {
    /// The platform.
    pub platform: Box<dyn Platform>,
    /// Which of the workloads.
    pub specs: Vec<&'static Spec>,
}

impl Place {
    fn runs(&self, spec: &Spec) -> bool {
        self.platform.suits(spec) && self.specs.iter().any(|of| of.name == spec.name)
    }
}

/// What is to be measured.
pub struct Plan<'a> {
    /// Which workloads.
    pub specs: &'a [&'static Spec],
    /// Where.
    pub platforms: &'a [Place],
    /// How often.
    pub runs: u32,
    /// Seconds that the work of a run should take under an emulator.
    pub seconds: f64,
}

/// A platform's part in a workload that is being measured.
struct Cell<'a> {
    spec: &'static Spec,
    platform: &'a dyn Platform,
    rounds: u32,
    /// CPU seconds that the work of a run should take.
    wanted: f64,
    baselines: Vec<Outcome>,
    runs: Vec<Outcome>,
}

/// How often a workload is tried again with more rounds.
const RETRIES: u32 = 3;
/// Nobody waits for more rounds than these.
const MAX_ROUNDS: u32 = 1 << 24;

impl Plan<'_> {
    /// Measures all that is planned. A workload that fails on a platform is left out there.
    pub fn carry_out(&self) -> Report {
        let mut progress = Progress::new(
            self.platforms.iter().map(|place| place.specs.iter().filter(|spec| place.runs(spec)).count()).sum(),
        );
        let mut report = Report { runs: self.runs, ..Report::default() };
        // The same work on several machines is done in turns: a host has fast and slow times.
        for specs in self.specs.chunk_by(|one, next| (one.program, one.size) == (next.program, next.size)) {
            let workloads = self.workloads(specs, &mut progress, &mut report.failures);
            report.workloads.extend(workloads);
        }
        progress.finish();
        report.goals = goals::judge(&report);
        report
    }

    /// Measures workloads that have the same answer.
    fn workloads(
        &self,
        specs: &[&'static Spec],
        progress: &mut Progress,
        failures: &mut Vec<Failure>,
    ) -> Vec<WorkloadReport> {
        let mut answer: Option<String> = None;
        let mut fail = |progress: &Progress, spec: &Spec, platform: &'static str, reason: String| {
            progress.line(&format!("bench: {} on {platform}: {reason}", spec.name));
            failures.push(Failure { workload: spec.name, platform, reason });
        };

        // How many rounds: found out on each platform, from a guess by what is known.
        let mut cells: Vec<Cell> = Vec::new();
        let mut native_round: Option<f64> = None;
        for place in self.platforms {
            for &spec in specs.iter().filter(|spec| place.runs(spec)) {
                let platform = place.platform.as_ref();
                progress.says(format!("{} on {}: how many rounds", spec.name, platform.name()));
                match self.calibrate(spec, platform, native_round) {
                    Ok(Calibrated { rounds, round_seconds, wanted }) => {
                        native_round.get_or_insert(round_seconds / platform.slowness());
                        cells.push(Cell { spec, platform, rounds, wanted, baselines: Vec::new(), runs: Vec::new() });
                    }
                    Err(error) => {
                        fail(progress, spec, platform.name(), error.to_string());
                        progress.done();
                    }
                }
            }
        }
        for turn in 1..=self.runs {
            cells.retain_mut(|cell| {
                let (spec, platform) = (cell.spec, cell.platform.name());
                progress.says(format!("{} on {platform}: run {turn} of {}", spec.name, self.runs));
                let result = cell.run(&mut answer);
                if let Err(error) = &result {
                    fail(progress, spec, platform, error.to_string());
                }
                if result.is_err() || turn == self.runs {
                    progress.done();
                }
                result.is_ok()
            });
        }
        for cell in &mut cells {
            let (spec, platform) = (cell.spec, cell.platform.name());
            progress.says(format!("{} on {platform}: once more", spec.name));
            if let Err(error) = cell.make_certain(self.runs, |cell| cell.run(&mut answer)) {
                fail(progress, spec, platform, error.to_string());
                cell.runs.clear();
            } else if cell.measured().is_none() {
                fail(progress, spec, platform, "the work took no more time than the start".into());
            }
        }
        let checksum = answer.unwrap_or_default();
        let report = |&spec: &&'static Spec| WorkloadReport {
            name: spec.name,
            family: spec.family,
            what: spec.what,
            arguments: format!("{} {}", spec.program, spec.size),
            checksum: checksum.clone(),
            results: cells.iter().filter(|cell| cell.spec.name == spec.name).filter_map(Cell::measured).collect(),
        };
        specs.iter().map(report).collect()
    }

    /// The number of rounds that takes about as long as wanted, and how long one takes.
    fn calibrate(&self, spec: &Spec, platform: &dyn Platform, native_round: Option<f64>) -> Result<Calibrated, Error> {
        let native = platform.slowness() == 1.0;
        let wanted = if native { self.seconds / 3.0 } else { self.seconds };
        let base = platform.run(baseline_job(spec))?.seconds;
        // Beside a long start, short work would be lost in what starts differ by.
        let wanted = wanted.max(base / 2.0);
        let guess = native_round.map_or(1.0, |round| wanted / 2.0 / (round * platform.slowness()));
        let mut rounds = (guess as u32).clamp(1, MAX_ROUNDS);
        loop {
            let work = platform.run(job(spec, rounds))?.seconds - base;
            // Less may be chance.
            let is_certain = work > wanted / 4.0;
            let factor = (wanted / work.max(wanted / 64.0)).clamp(1.0 / 64.0, 64.0);
            if is_certain || rounds == MAX_ROUNDS {
                let chosen = ((f64::from(rounds) * factor).round() as u32).clamp(1, MAX_ROUNDS);
                let round_seconds = (work / f64::from(rounds)).max(f64::MIN_POSITIVE);
                return Ok(Calibrated { rounds: chosen, round_seconds, wanted });
            }
            rounds = ((f64::from(rounds) * factor.max(2.0)) as u32).min(MAX_ROUNDS);
        }
    }
}

/// What a platform is to do of a workload.
struct Calibrated {
    rounds: u32,
    round_seconds: f64,
    wanted: f64,
}

impl Cell<'_> {
    /// Does it all again with more rounds while the work is lost in what starts differ by.
    fn make_certain(&mut self, runs: u32, mut run: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..RETRIES {
            let work = self.work_seconds();
            if work > self.wanted / 4.0 || self.rounds == MAX_ROUNDS {
                break;
            }
            let factor = (self.wanted / work.max(self.wanted / 64.0)).max(2.0);
            self.rounds = ((f64::from(self.rounds) * factor) as u32).min(MAX_ROUNDS);
            self.baselines.clear();
            self.runs.clear();
            (0..runs).try_for_each(|_| run(self))?;
        }
        Ok(())
    }

    /// What a run's work takes, 0 if it is not to be seen.
    fn work_seconds(&self) -> f64 {
        self.measured().map_or(0.0, |measured| measured.round_seconds.median * f64::from(self.rounds))
    }

    /// One turn: the run without the work and the run with it.
    fn run(&mut self, answer: &mut Option<String>) -> Result<(), Error> {
        self.baselines.push(self.platform.run(baseline_job(self.spec))?);
        let run = self.platform.run(job(self.spec, self.rounds))?;
        let expected = answer.get_or_insert_with(|| run.answer.clone());
        if run.answer != *expected {
            return Err(Error::WrongAnswer { found: run.answer, expected: expected.clone() });
        }
        self.runs.push(run);
        Ok(())
    }

    fn measured(&self) -> Option<Measured> {
        let rounds = f64::from(self.rounds);
        let seconds = |outcomes: &[Outcome]| outcomes.iter().map(|outcome| outcome.seconds).collect::<Vec<_>>();
        let totals = seconds(&self.runs);
        let baseline_seconds = Spread::of(&seconds(&self.baselines))?;
        let work: Vec<f64> = totals.iter().map(|total| (total - baseline_seconds.median) / rounds).collect();
        let round_seconds = Spread::of(&work).filter(|spread| spread.median > 0.0)?;
        // Counts of a deterministic machine: any run will do.
        let instructions = |outcomes: &[Outcome]| Some(outcomes.first()?.instructions? as f64);
        let of_work = instructions(&self.runs).zip(instructions(&self.baselines)).map(|(run, base)| run - base);
        Some(Measured {
            platform: self.platform.name(),
            rounds: self.rounds,
            total_seconds: Spread::of(&totals)?,
            baseline_seconds,
            round_seconds,
            turns: work,
            mips: of_work.map(|count| count / rounds / round_seconds.median / 1e6),
        })
    }
}

fn job(spec: &Spec, rounds: u32) -> Job {
    Job { program: spec.program, size: spec.size, rounds, cpus: spec.cpus, time: spec.time() }
}

/// The same start without the work.
fn baseline_job(spec: &Spec) -> Job {
    match spec.baseline {
        Baseline::Nothing => Job { program: workloads::NOTHING.program, size: workloads::NOTHING.size, ..job(spec, 1) },
        Baseline::Prepared => job(spec, 0),
    }
}
