//! A sample of the cases of the command `pagewalk-oracle`; the full run's table is in `docs/fidelity.md`.
//!
//! `PAGEWALK_ORACLE_CASES` tries more of them, `PAGEWALK_ORACLE_SEED` others.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::{
    env,
    time::{Duration, Instant},
};

use pagewalk_oracle::{run::Run, table::Table};

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn unprivileged_instructions_do_what_silicon_does() {
    let mut run = match Run::new(number("PAGEWALK_ORACLE_SEED").unwrap_or(1)) {
        Ok(run) => run,
        Err(needs) => {
            eprintln!("skipped: needs {needs}");
            return;
        }
    };
    // A fixed sequence of cases, or what of it a slow host manages in a few seconds.
    let wanted = number("PAGEWALK_ORACLE_CASES");
    let end = Instant::now() + Duration::from_secs(10);
    let mut table = Table::default();
    while table.cases() < wanted.unwrap_or(200_000) && (wanted.is_some() || Instant::now() < end) {
        run.go(2_000, "", &mut table);
    }
    let differences: Vec<String> = table
        .differences
        .iter()
        .map(|(code, (count, what, line))| format!("{code}: {count} times; first: {what}\n    {line}"))
        .collect();
    assert!(differences.is_empty(), "of {} cases differ:\n{}", table.cases(), differences.join("\n"));
}
