//! What the user has chosen to see: which pane, which rows, what lies over them.

use super::{model::Model, sort::By};

/// A part of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pane {
    /// The CPUs.
    Cpus,
    /// The processes.
    #[default]
    Processes,
    /// Memory.
    Memory,
    /// The event log.
    Events,
}

impl Pane {
    /// In the order of Tab.
    pub const ALL: [Pane; 4] = [Pane::Cpus, Pane::Processes, Pane::Memory, Pane::Events];

    fn place(self) -> usize {
        Pane::ALL.iter().position(|pane| *pane == self).unwrap_or(0)
    }
}

/// What lies over the panes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Over {
    /// A text that one can scroll.
    Text {
        /// What it is.
        title: String,
        /// Its lines.
        lines: Vec<String>,
        /// The first line that is seen.
        top: usize,
    },
    /// A line that is typed.
    Question {
        /// What for.
        what: Question,
        /// What was typed so far.
        typed: String,
    },
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// How many instructions.
    Step,
    /// Which address.
    Walk,
}

/// How far a key goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Motion {
    /// Rows up (negative) or down.
    Rows(isize),
    /// Pages up (negative) or down.
    Pages(isize),
    /// To the first.
    First,
    /// To the last.
    Last,
}

/// The user's choice.
#[derive(Debug, Default)]
pub struct Ui {
    /// The pane that has the keys.
    pub pane: Pane,
    /// The CPU that is chosen.
    pub cpu: usize,
    /// The process that is chosen; the first, if it is none that there is.
    pub pid: Option<u32>,
    /// The first line of the memory pane.
    pub memory: usize,
    /// Events below what is seen: 0 follows the newest.
    pub events_back: usize,
    /// What lies over the panes.
    pub over: Option<Over>,
    /// The last word of the machine on what was asked.
    pub message: Option<String>,
    /// Rows of the pane that has the keys, as last drawn.
    pub page: usize,
}

impl Ui {
    /// Where the chosen process stands.
    pub fn row(&self, model: &Model) -> usize {
        let wanted = |pid| model.processes.iter().position(|row| row.process.pid == pid);
        self.pid.and_then(wanted).unwrap_or(0)
    }

    /// The chosen process.
    pub fn process(&self, model: &Model) -> Option<u32> {
        model.processes.get(self.row(model)).map(|row| row.process.pid)
    }

    /// The next pane, or the one before.
    pub fn turn(&mut self, by: isize) {
        let count = Pane::ALL.len() as isize;
        self.pane = Pane::ALL[(self.pane.place() as isize + by).rem_euclid(count) as usize];
    }

    /// Moves in what has the keys.
    pub fn go(&mut self, model: &Model, motion: Motion) {
        if let Some(Over::Text { lines, top, .. }) = &mut self.over {
            *top = moved(*top, motion, self.page, lines.len().saturating_sub(self.page));
            return;
        }
        match self.pane {
            Pane::Cpus => self.cpu = moved(self.cpu, motion, self.page, model.look.cpus.len().saturating_sub(1)),
            Pane::Processes => {
                let row = moved(self.row(model), motion, self.page, model.processes.len().saturating_sub(1));
                self.pid = model.processes.get(row).map(|row| row.process.pid);
            }
            // The view knows how many lines there are, and keeps it within them.
            Pane::Memory => self.memory = moved(self.memory, motion, self.page, usize::MAX >> 1),
            Pane::Events => {
                let up = match motion {
                    Motion::Rows(rows) => Motion::Rows(-rows),
                    Motion::Pages(pages) => Motion::Pages(-pages),
                    Motion::First => Motion::Last,
                    Motion::Last => Motion::First,
                };
                self.events_back = moved(self.events_back, up, self.page, model.log.len().saturating_sub(self.page));
            }
        }
    }

    /// A text over all, from its first line.
    pub fn show(&mut self, title: impl Into<String>, text: &str) {
        let lines = text.lines().map(super::look::printable).collect();
        self.over = Some(Over::Text { title: title.into(), lines, top: 0 });
    }
}

/// Where one is after a motion, at most at `last`.
fn moved(at: usize, motion: Motion, page: usize, last: usize) -> usize {
    let by = |rows: isize| at.saturating_add_signed(rows).min(last);
    match motion {
        Motion::Rows(rows) => by(rows),
        Motion::Pages(pages) => by(pages.saturating_mul(page.max(1) as isize)),
        Motion::First => 0,
        Motion::Last => last,
    }
}

/// The help, from the keys' own list and the columns to sort by.
pub fn help() -> String {
    let keys: String = super::keys::HELP.iter().map(|(key, what)| format!("{key:<16} {what}\n")).collect();
    let sorts: Vec<String> = By::ALL.iter().map(|(_, letter, word)| format!("{letter} {word}")).collect();
    format!("{keys}\nSort processes by {} (R: the other way round)\n\n{}", sorts.join(", "), FIGURES)
}

/// What the figures are.
const FIGURES: &str = "\
MIPS      millions of instructions in a second of the host's time, since the last look
MISS/1K   TLB misses in 1,000 instructions since the last look; OVERALL since the start. Hits are not
          counted: what the TLB holds costs the machine nothing, so there is no rate of hits
FAULTS    page faults delivered; SHOOTDOWNS as the guest's /proc/interrupts counts them
%CPU      of one CPU, of the guest's own time since the last look
MINFLT    as /proc/PID/stat has it; RSS, VSZ, TIME too
memory    as /proc/meminfo and /proc/zoneinfo have it
-         nothing to measure yet, or no such thing
?         only a kernel with books that pagewalk can read tells it

The event log has page faults, TLB shootdowns and other IPIs that the machine remembers (of page faults
the last 128 of each CPU), and processes that began or ended between two looks: one that did both is not
seen. A saved machine keeps no page faults, and nothing of it changes.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{look::Process, model::Row, sort::Order};

    #[test]
    fn the_choice_stays_with_its_process() {
        let mut model = Model::new("m");
        let row = |pid, rss| Row { process: Process { pid, rss_pages: Some(rss), ..Process::default() }, share: None };
        model.processes = vec![row(1, 5), row(2, 9), row(3, 7)];
        let mut ui = Ui { page: 2, ..Ui::default() };
        assert_eq!(ui.process(&model), Some(1));
        ui.go(&model, Motion::Rows(1));
        assert_eq!((ui.row(&model), ui.process(&model)), (1, Some(2)));
        model.sort(Order { by: By::Rss, reversed: false });
        assert_eq!((ui.row(&model), ui.process(&model)), (0, Some(2)));
        ui.go(&model, Motion::Pages(9));
        assert_eq!(ui.process(&model), Some(1));
        model.processes.truncate(1);
        assert_eq!(ui.process(&model), Some(2), "the one that is there");
        model.processes.clear();
        assert_eq!(ui.process(&model), None);
        ui.go(&model, Motion::Last);
    }

    #[test]
    fn a_text_over_all_has_the_keys() {
        let (model, mut ui) = (Model::new("m"), Ui { page: 3, ..Ui::default() });
        ui.show("t", "1\n2\n3\n4\x1b\n5\n");
        ui.go(&model, Motion::Pages(1));
        let Some(Over::Text { lines, top, .. }) = &ui.over else { panic!("no text") };
        assert_eq!((*top, lines[3].as_str()), (2, "4?"));
        ui.turn(-1);
        assert_eq!(ui.pane, Pane::Cpus);
        ui.turn(-1);
        assert_eq!(ui.pane, Pane::Events);
    }
}
