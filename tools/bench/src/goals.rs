//! What the project has set itself for speed, and whether a run shows it.

use serde::Serialize;

use crate::{json::Report, workloads::Family};

/// A goal that was measured.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// What is wanted.
    pub goal: &'static str,
    /// How many times the speed of the other platform ours has, at least.
    pub wanted: f64,
    /// How many times it has.
    pub measured: f64,
    /// Whether that is enough.
    pub is_met: bool,
}

/// What the speed is taken over.
enum Over {
    /// The geometric mean of a family.
    Family(Family),
    /// The geometric mean of these workloads.
    Workloads(&'static [&'static str]),
    /// The first of these, compared with the second on the same platform.
    Pair(&'static str, &'static str),
    /// The geometric mean of a family: the platform compared with ours.
    Slower(Family),
    /// How often a condition fails in a second, in units of [`FAILING`], beyond what the workload takes of itself.
    Failing(&'static str, f64),
}

/// A goal: at least so many times the speed of another platform.
struct Goal {
    text: &'static str,
    over: Over,
    peer: &'static str,
    times: f64,
}

/// Conditions of a breakpoint that are to fail in a second, at least.
const FAILING: f64 = 100_000.0;

const GOALS: [Goal; 12] = [
    Goal { text: "integer: 5 × Bochs", over: Over::Family(Family::Integer), peer: "bochs", times: 5.0 },
    Goal { text: "integer: 0.45 × QEMU TCG", over: Over::Family(Family::Integer), peer: "qemu-tcg", times: 0.45 },
    Goal {
        text: "SSE2 doubles: 3 × QEMU TCG",
        over: Over::Workloads(&["nbody", "matrix"]),
        peer: "qemu-tcg",
        times: 3.0,
    },
    Goal { text: "x87: 3 × QEMU TCG", over: Over::Workloads(&["nbody87"]), peer: "qemu-tcg", times: 3.0 },
    Goal { text: "code run once: 5 × QEMU TCG", over: Over::Workloads(&["cold"]), peer: "qemu-tcg", times: 5.0 },
    Goal { text: "`rep movsd`: a third of native", over: Over::Workloads(&["copy"]), peer: "native", times: 1.0 / 3.0 },
    Goal {
        text: "pointer chases: QEMU TCG",
        over: Over::Workloads(&["chase64", "chase512"]),
        peer: "qemu-tcg",
        times: 1.0,
    },
    Goal {
        text: "shootdowns and pipes on 2 CPUs: QEMU TCG, a thread a CPU",
        over: Over::Workloads(&["shootdown2", "switch2"]),
        peer: "qemu-tcg",
        times: 1.0,
    },
    Goal {
        text: "shootdowns and pipes on 2 CPUs: QEMU TCG, one thread",
        over: Over::Workloads(&["shootdown2", "switch2"]),
        peer: "qemu-rr",
        times: 1.0,
    },
    Goal {
        text: "watchpoints whose pages nobody touches: 1 / 1.1 of the speed without",
        over: Over::Slower(Family::Integer),
        peer: "pagewalk-watch",
        times: 1.0 / 1.1,
    },
    Goal {
        text: "a breakpoint whose condition fails: 100,000 times a second",
        over: Over::Failing("syscall", 10_000.0),
        peer: "pagewalk-break",
        times: 1.0,
    },
    Goal {
        text: "four CPUs that compute: 0.9 of one that does it all",
        over: Over::Pair("crowd4", "crowd1"),
        peer: "pagewalk",
        times: 0.9,
    },
];

/// Judges what was measured; what was not is left out.
pub fn judge(report: &Report) -> Vec<Verdict> {
    GOALS.iter().filter_map(|goal| goal.judge(report)).collect()
}

impl Goal {
    fn judge(&self, report: &Report) -> Option<Verdict> {
        let measured = match self.over {
            Over::Family(family) => report.mean_ratio(Some(family), self.peer, "pagewalk")?,
            Over::Pair(name, other) => {
                let on_peer = |name| report.workload(name)?.on(self.peer);
                on_peer(other)?.ratio_in_turns(on_peer(name)?)?
            }
            Over::Slower(family) => report.mean_ratio(Some(family), "pagewalk", self.peer)?,
            Over::Failing(name, a_round) => {
                let seconds = |platform| Some(report.workload(name)?.on(platform)?.round_seconds.median);
                let more = (seconds(self.peer)? - seconds("pagewalk")?).max(f64::MIN_POSITIVE);
                a_round / more / FAILING
            }
            Over::Workloads(names) => {
                let ratio = |name: &&str| report.workload(name)?.ratio(self.peer, "pagewalk");
                let ratios: Option<Vec<f64>> = names.iter().map(ratio).collect();
                crate::stats::geometric_mean(ratios?)?
            }
        };
        Some(Verdict { goal: self.text, wanted: self.times, measured, is_met: measured >= self.times })
    }
}
