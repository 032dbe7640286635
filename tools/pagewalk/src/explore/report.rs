//! What came of a sweep, for people and for programs.

use serde_json::json;

use super::{
    ExploreArgs,
    sweep::{Failure, Outcome},
};

/// The most lines of what a failed run said that are shown.
const SHOWN_LINES: usize = 12;

/// Each failing seed with the command that repeats it, and the counts.
pub(super) fn text(args: &ExploreArgs, outcome: &Outcome) -> String {
    let mut text = String::new();
    for failure in &outcome.failures {
        text += &format!("seed {}: {}\n  {}\n", failure.seed, failure.reason(), command(args, failure));
        let lines: Vec<&str> = failure.said.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            text += &format!("    {line}\n");
        }
    }
    let failed = outcome.failures.len();
    let wanted = args.seeds.count();
    let of = if outcome.ran() < wanted { format!(" of {wanted}") } else { String::new() };
    text + &format!("{}{of} seeds: {} passed, {failed} failed\n", outcome.ran(), outcome.passed)
}

/// The same with stable keys.
pub(super) fn json(args: &ExploreArgs, outcome: &Outcome) -> String {
    let failed: Vec<_> = outcome
        .failures
        .iter()
        .map(|failure| {
            json!({
                "seed": failure.seed, "status": failure.status, "reason": failure.reason(),
                "command": command(args, failure), "stderr": failure.said,
            })
        })
        .collect();
    let value = json!({
        "first": args.seeds.first, "last": args.seeds.last, "passed": outcome.passed, "failed": failed,
    });
    format!("{value}\n")
}

/// The command that repeats a run.
fn command(args: &ExploreArgs, failure: &Failure) -> String {
    let mut line = format!("pagewalk run --schedule-seed {}", failure.seed);
    for word in &args.words {
        line += " ";
        line += &quoted(&word.to_string_lossy());
    }
    line
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("--cpus=4"), "--cpus=4");
        assert_eq!(quoted("tlb=noipi x"), "'tlb=noipi x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
