//! In what order the processes stand.

use std::cmp::Ordering;

use super::model::Row;

/// By what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum By {
    /// By number.
    #[default]
    Pid,
    /// By the share of a CPU, the most first.
    Share,
    /// By resident pages, the most first.
    Rss,
    /// By the size of the address space, the most first.
    Vsize,
    /// By CPU time, the most first.
    Time,
    /// By page faults, the most first.
    Faults,
    /// By name.
    Name,
}

/// By what, and whether the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// By what.
    pub by: By,
    /// The other way round.
    pub reversed: bool,
}

impl By {
    /// All, with the letter and the word for each.
    pub const ALL: [(By, char, &str); 7] = [
        (By::Pid, 'N', "pid"),
        (By::Share, 'P', "cpu"),
        (By::Rss, 'M', "rss"),
        (By::Vsize, 'V', "vsz"),
        (By::Time, 'T', "time"),
        (By::Faults, 'F', "faults"),
        (By::Name, 'C', "name"),
    ];

    /// What a word means.
    pub fn of_word(word: &str) -> Result<By, String> {
        let found = By::ALL.iter().find(|(.., known)| *known == word);
        let words: Vec<&str> = By::ALL.iter().map(|(.., word)| *word).collect();
        found.map(|(by, ..)| *by).ok_or_else(|| format!("`{word}` is no column to sort by: {}", words.join(", ")))
    }
}

impl Order {
    /// Sorts rows.
    pub fn sort(self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let order = self.compare(a, b);
            (if self.reversed { order.reverse() } else { order }).then(a.process.pid.cmp(&b.process.pid))
        });
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (one, other) = (&a.process, &b.process);
        match self.by {
            By::Pid => one.pid.cmp(&other.pid),
            By::Share => b.share.unwrap_or(0.0).total_cmp(&a.share.unwrap_or(0.0)),
            By::Rss => other.rss_pages.cmp(&one.rss_pages),
            By::Vsize => other.vsize_pages.cmp(&one.vsize_pages),
            By::Time => (other.utime_ns.saturating_add(other.stime_ns)).cmp(&one.utime_ns.saturating_add(one.stime_ns)),
            By::Faults => (other.min_flt.saturating_add(other.maj_flt)).cmp(&one.min_flt.saturating_add(one.maj_flt)),
            By::Name => one.comm.cmp(&other.comm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::look::Process;

    #[test]
    fn most_comes_first_and_equals_stand_by_number() {
        let row = |pid, rss, comm: &str| Row {
            process: Process { pid, rss_pages: rss, comm: comm.into(), ..Process::default() },
            share: None,
        };
        let mut rows = vec![row(3, Some(5), "a"), row(1, None, "c"), row(2, Some(9), "b"), row(4, Some(5), "d")];
        let mut pids = |by, reversed| {
            Order { by, reversed }.sort(&mut rows);
            rows.iter().map(|row| row.process.pid).collect::<Vec<_>>()
        };
        assert_eq!(pids(By::Pid, false), [1, 2, 3, 4]);
        assert_eq!(pids(By::Rss, false), [2, 3, 4, 1]);
        assert_eq!(pids(By::Rss, true), [1, 3, 4, 2]);
        assert_eq!(pids(By::Name, false), [3, 2, 1, 4]);
        assert_eq!(pids(By::Share, false), [1, 2, 3, 4]);
        assert!(By::of_word("sizes").unwrap_err().contains("rss"));
    }
}
