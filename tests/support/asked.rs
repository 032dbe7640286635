//! What the environment asks of the machines that tests start: `PAGEWALK_CPUS`,
//! `PAGEWALK_SCHEDULE_SEED` and `PAGEWALK_CHECK_TLB` (see CONTRIBUTING.md). A test that needs a
//! certain number of CPUs says so by [`Need::OneCpu`](super::Need::OneCpu), or asks for them itself.

use std::{env, str::FromStr};

/// How many CPUs machines have where a test does not say; 1 without the variable.
pub fn cpus() -> u8 {
    number("PAGEWALK_CPUS").unwrap_or(1)
}

/// What the CPUs' turns are drawn from; nothing, if they take turns of equal length.
pub fn schedule_seed() -> Option<u64> {
    number("PAGEWALK_SCHEDULE_SEED")
}

/// Whether runs are checked for uses of stale translations, of which each makes the test fail.
pub fn checks_tlb() -> bool {
    number("PAGEWALK_CHECK_TLB").is_some_and(|wanted: u8| wanted != 0)
}

/// The same as options of `pagewalk run`, where `given` does not have them.
pub fn options(given: &[&str]) -> Vec<String> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if !given.contains(&name) {
            options.push(name.to_owned());
            options.extend(value);
        }
    };
    if cpus() != 1 {
        add("--cpus", Some(cpus().to_string()));
    }
    if let Some(seed) = schedule_seed() {
        add("--schedule-seed", Some(seed.to_string()));
    }
    if checks_tlb() {
        add("--check-tlb", None);
    }
    options
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number that it can have")))
}
