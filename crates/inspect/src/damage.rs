//! What is wrong in a guest's books, as it is met on the way: a look goes on with the rest.

use std::sync::{Arc, Mutex, PoisonError};

/// Findings that are kept apart; more are only counted.
const MAX_FINDINGS: usize = 32;

/// Findings of one look. Clones share them.
#[derive(Clone, Default, Debug)]
pub struct Damage(Arc<Mutex<Findings>>);

#[derive(Default, Debug)]
struct Findings {
    lines: Vec<String>,
    more: usize,
}

impl Damage {
    /// Notes one, once.
    pub fn note(&self, what: impl ToString) {
        let line = what.to_string();
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.lines.contains(&line) {
            return;
        }
        match findings.lines.len() < MAX_FINDINGS {
            true => findings.lines.push(line),
            false => findings.more += 1,
        }
    }

    /// Takes what was noted, a line each.
    pub fn take(&self) -> Vec<String> {
        let findings = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let more =
            (findings.more > 0).then(|| format!("and {} more places where the books are damaged", findings.more));
        findings.lines.into_iter().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_kept_once_and_their_number_is_bounded() {
        let damage = Damage::default();
        (0..100).for_each(|n| damage.clone().note(n % 50));
        let lines = damage.take();
        assert_eq!(lines.len(), MAX_FINDINGS + 1);
        // What does not fit is not remembered, and counts each time.
        assert_eq!(lines[MAX_FINDINGS], "and 36 more places where the books are damaged");
        assert!(damage.take().is_empty());
    }
}
