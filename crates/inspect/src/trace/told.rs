//! What a trace tells, in words and as events of Chrome's trace format, which Perfetto opens.
//!
//! Times are virtual, in nanoseconds; the format wants microseconds.

use serde_json::{Value, json};

/// The group of rows that are of the machine.
const MACHINE: u32 = 0;
/// The group of the threads of a kernel without books: no process has such a number.
const UNNAMED: u32 = 1 << 30;
/// The rows of a CPU are so many numbers apart.
const KIND: u32 = 100;

/// The row of the picture that something is drawn in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// What a CPU meets: interrupts, ports, flushes.
    Cpu(u8),
    /// Which thread a CPU runs.
    Runs(u8),
    /// Which function a CPU is in.
    Code(u8),
    /// A thread.
    Thread(Thread),
}

/// A thread of the guest, as far as it can be told from others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Thread {
    /// Its number by the kernel's books; that of an idle thread is 0.
    pub pid: u32,
    /// The number of its process.
    pub tgid: u32,
    /// Its name; `None` for a kernel that keeps no books.
    pub name: Option<String>,
    /// ESP0 of the TSS: the top of its kernel stack.
    pub stack: u32,
}

impl Thread {
    /// What tells it from the others while it lives.
    pub fn key(&self) -> (u32, u32) {
        if self.name.is_some() && self.pid != 0 { (self.pid, 0) } else { (0, self.stack) }
    }

    /// Its number and name in a line of text.
    pub fn words(&self) -> String {
        match &self.name {
            Some(_) if self.pid == 0 => "idle".to_owned(),
            Some(name) => format!("{} ({name})", self.pid),
            None => format!("thread with stack {:#010x}", self.stack),
        }
    }
}

impl Row {
    /// The group and the number of the row in it: `pid` and `tid` of Chrome's format.
    pub fn ids(&self) -> (u32, u32) {
        match self {
            Row::Cpu(cpu) => (MACHINE, u32::from(*cpu)),
            Row::Runs(cpu) => (MACHINE, KIND + u32::from(*cpu)),
            Row::Code(cpu) => (MACHINE, 2 * KIND + u32::from(*cpu)),
            Row::Thread(thread) if thread.name.is_some() && thread.pid != 0 => (thread.tgid, thread.pid),
            Row::Thread(thread) => (UNNAMED, thread.stack >> 1),
        }
    }

    /// What the row is called.
    pub fn name(&self) -> String {
        match self {
            Row::Cpu(cpu) => format!("CPU {cpu}"),
            Row::Runs(cpu) => format!("CPU {cpu} runs"),
            Row::Code(cpu) => format!("CPU {cpu} code"),
            Row::Thread(thread) => thread.words(),
        }
    }

    /// What the row's group is called.
    pub fn group(&self) -> String {
        match (self, self.ids().0) {
            (_, MACHINE) => "machine".to_owned(),
            (_, UNNAMED) => "threads of the guest".to_owned(),
            (Row::Thread(thread), tgid) => match &thread.name {
                Some(name) => format!("{name} [{tgid}]"),
                None => format!("process {tgid}"),
            },
            (_, group) => format!("{group}"),
        }
    }

    /// The events that give the row and its group their names.
    pub fn name_events(&self) -> [Value; 2] {
        let (pid, tid) = self.ids();
        [
            json!({ "name": "process_name", "ph": "M", "pid": pid, "tid": tid, "args": { "name": self.group() } }),
            json!({ "name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": { "name": self.name() } }),
        ]
    }
}

/// Something that a trace tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// When it is told: what is told later has not a smaller time, but for what is put together from parts.
    pub at_ns: u64,
    /// Whole lines; empty for what is only drawn.
    pub text: String,
    /// What is drawn, an event of Chrome's format with a comma and a line feed each; empty for what is only said.
    pub events: String,
    /// The row that it is drawn in.
    pub row: Option<Row>,
}

impl Told {
    /// Nothing but a line of text, without its end.
    pub fn line(at_ns: u64, line: &str) -> Told {
        Told { at_ns, text: format!("{line}\n"), events: String::new(), row: None }
    }

    /// A moment, drawn as a mark.
    pub fn mark(at_ns: u64, row: Row, category: &str, name: &str, args: Value) -> Told {
        let (pid, tid) = row.ids();
        let event = json!({
            "name": name, "cat": category, "ph": "i", "s": "t", "pid": pid, "tid": tid,
            "ts": micros(at_ns), "args": args,
        });
        Told { at_ns, text: String::new(), events: format!("{event},\n"), row: Some(row) }
    }

    /// What went on from `from_ns` to `at_ns`, drawn as a bar.
    pub fn span([from_ns, at_ns]: [u64; 2], row: Row, category: &str, name: &str, args: Value) -> Told {
        let (pid, tid) = row.ids();
        let event = json!({
            "name": name, "cat": category, "ph": "X", "pid": pid, "tid": tid,
            "ts": micros(from_ns), "dur": micros(at_ns.saturating_sub(from_ns)), "args": args,
        });
        Told { at_ns, text: String::new(), events: format!("{event},\n"), row: Some(row) }
    }

    /// The same with a line of text, without its end.
    pub fn with_line(self, line: &str) -> Told {
        Told { text: format!("{line}\n"), ..self }
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_different_kinds_have_different_numbers_and_names() {
        let thread = |pid, name: Option<&str>, stack| {
            Row::Thread(Thread { pid, tgid: pid, name: name.map(str::to_owned), stack })
        };
        let rows = [
            Row::Cpu(0),
            Row::Cpu(7),
            Row::Runs(0),
            Row::Code(0),
            thread(1, Some("init"), 8),
            thread(2, Some("sh"), 8),
            thread(0, None, 0xc020_0000),
            thread(0, None, 0xc020_2000),
        ];
        let mut ids: Vec<_> = rows.iter().map(Row::ids).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), rows.len());
        assert_eq!((rows[4].name(), rows[4].group()), ("1 (init)".to_owned(), "init [1]".to_owned()));
        assert_eq!(rows[6].name(), "thread with stack 0xc0200000");
    }

    #[test]
    fn a_bar_has_its_begin_and_length_in_microseconds() {
        let told = Told::span([1500, 4000], Row::Cpu(1), "fault", "#PF", json!({}));
        let event: Value = serde_json::from_str(told.events.trim_end().trim_end_matches(',')).unwrap();
        assert_eq!((&event["ph"], &event["ts"], &event["dur"]), (&"X".into(), &1.5.into(), &2.5.into()));
        assert_eq!((&event["pid"], &event["tid"]), (&0.into(), &1.into()));
    }
}
