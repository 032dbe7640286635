//! What a run found, added up over families and processes.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};

/// One row.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// Instruction forms of the decoder that were run, by name and size of code, with how often.
    pub forms: BTreeMap<String, u64>,
    /// Cases whose end was an exception.
    pub faults: u64,
    /// Cases that differ.
    pub differences: u64,
}

/// Everything a run found.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// By family.
    pub rows: BTreeMap<String, Row>,
    /// By instruction form: how many cases differ, what differs in the first, and that as a line of a `.ins` file.
    pub differences: BTreeMap<String, (u64, String, String)>,
    /// By named exception: how many cases were let pass.
    pub excused: BTreeMap<String, u64>,
}

impl Table {
    /// Cases in all.
    pub fn cases(&self) -> u64 {
        self.rows.values().flat_map(|row| row.forms.values()).sum()
    }

    /// Adds what another process found.
    pub fn add(&mut self, other: Table) {
        for (family, row) in other.rows {
            let mine = self.rows.entry(family).or_default();
            mine.faults += row.faults;
            mine.differences += row.differences;
            for (form, cases) in row.forms {
                *mine.forms.entry(form).or_default() += cases;
            }
        }
        for (form, (count, what, line)) in other.differences {
            self.differences.entry(form).or_insert((0, what, line)).0 += count;
        }
        for (exception, cases) in other.excused {
            *self.excused.entry(exception).or_default() += cases;
        }
    }

    /// As Markdown.
    pub fn print(&self) -> String {
        let mut text =
            String::from("| family | forms | cases | of them faults | differences |\n|---|--:|--:|--:|--:|\n");
        let mut sum = (0, 0, 0, 0);
        for (family, row) in &self.rows {
            let cases: u64 = row.forms.values().sum();
            _ = writeln!(text, "| {family} | {} | {cases} | {} | {} |", row.forms.len(), row.faults, row.differences);
            sum = (sum.0 + row.forms.len(), sum.1 + cases, sum.2 + row.faults, sum.3 + row.differences);
        }
        _ = writeln!(text, "| **all** | {} | {} | {} | {} |", sum.0, sum.1, sum.2, sum.3);
        text
    }
}
