//! The event log: faults, shootdowns and other interprocessor interrupts as the machine remembers them, and
//! processes that begin and end, as two looks tell them apart.

use std::collections::{BTreeMap, HashMap};

use super::look::{Fault, Look, Shootdown, printable};

/// Events that are kept.
const KEPT: usize = 2000;

/// An event: when (virtual time, in nanoseconds) and what, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at_ns: u64,
    /// What.
    pub text: String,
}

/// What makes an event one and the same in two looks: when, where, of which kind.
type Key = (u64, u32, u8);

/// The kinds, in the order of events of one instant.
const SUMMARY: u8 = 0;
const BEGIN: u8 = 1;
const FAULT: u8 = 2;
const SHOOTDOWN: u8 = 3;
const IPI: u8 = 4;
const END: u8 = 5;

/// The last events.
#[derive(Default)]
pub struct Log {
    events: BTreeMap<Key, String>,
    alive: HashMap<(u32, u64), String>,
    faults: u64,
    /// When the machine was looked at last.
    seen_ns: u64,
    /// The first shootdown that was not done then.
    open_ns: Option<u64>,
}

impl Log {
    /// The events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = Event> + '_ {
        self.events.iter().map(|(key, text)| Event { at_ns: key.0, text: text.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// From when on the next look is to tell: a shootdown that was under way is told again.
    pub fn since_ns(&self) -> u64 {
        self.open_ns.map_or(self.seen_ns, |open| open.min(self.seen_ns))
    }

    /// Takes in what a look tells, taken at `seen_ns`; `continues` if it is of the machine of the look before.
    pub fn take(&mut self, look: &Look, continues: bool, seen_ns: u64) {
        if !continues {
            self.events.clear();
        }
        self.processes(look, continues, seen_ns);
        self.counts(look, continues, seen_ns);
        for fault in &look.faults {
            self.events.insert((fault.at, fault.cpu, FAULT), words(fault));
        }
        for one in &look.shootdowns {
            self.events.insert((one.sent, one.initiator, SHOOTDOWN), shootdown_words(one));
        }
        for ipi in &look.ipis {
            self.events.insert((ipi.at, ipi.cpu, IPI), printable(&format!("CPU {} {}", ipi.cpu, ipi.what)));
        }
        self.open_ns = look.shootdowns.iter().filter(|one| one.done.is_none()).map(|one| one.sent).min();
        self.seen_ns = seen_ns;
        while self.events.len() > KEPT {
            self.events.pop_first();
        }
    }

    /// Who began and who ended since the last look.
    fn processes(&mut self, look: &Look, continues: bool, seen_ns: u64) {
        let Some(processes) = &look.processes else { return };
        let mut alive = HashMap::new();
        for process in processes {
            let (pid, name) = (process.pid, process.comm.as_str());
            let key = (pid, process.start_time_ns);
            if continues && !self.alive.contains_key(&key) {
                self.events.insert((process.start_time_ns, pid, BEGIN), format!("process {pid} ({name}) begins"));
            }
            alive.insert(key, name.to_owned());
        }
        for ((pid, start), name) in self.alive.iter().filter(|(key, _)| continues && !alive.contains_key(key)) {
            // Of two looks far apart: it was there at the one and not at the other.
            let text = format!("process {pid} ({name}, begun at {start}) has ended");
            self.events.insert((seen_ns, *pid, END), text);
        }
        self.alive = alive;
    }

    /// What the counters say that no single record is left of.
    fn counts(&mut self, look: &Look, continues: bool, seen_ns: u64) {
        let faults = look.counter("page_faults");
        let known = |one: &&Fault| one.at >= self.seen_ns && one.address.is_some();
        let more = faults.saturating_sub(self.faults).saturating_sub(look.faults.iter().filter(known).count() as u64);
        if continues && more != 0 {
            let text = format!("{more} more page faults since {}, forgotten by the machine", self.seen_ns);
            self.events.insert((seen_ns, 0, SUMMARY), text);
        }
        self.faults = faults;
        for ((what, more), place) in look.left_out.iter().filter(|(_, more)| **more != 0).zip(1..) {
            self.events.insert(
                (seen_ns, place, SUMMARY),
                format!("{more} older {}, too many to be told", if what == "ipis" { "IPIs" } else { what }),
            );
        }
    }
}

/// A fault in a line.
fn words(fault: &Fault) -> String {
    let whose = match (fault.pid, &fault.comm) {
        (Some(pid), Some(comm)) => format!(" of process {pid} ({})", printable(comm)),
        _ => String::new(),
    };
    let kind = match fault {
        Fault { triple: true, .. } => "triple fault: it shuts down",
        Fault { double: true, .. } => "double fault",
        _ => "page fault",
    };
    let ring = match fault.cpl {
        3 => "user".to_owned(),
        0 => "kernel".to_owned(),
        ring => format!("ring {ring}"),
    };
    let what = match (fault.address, &fault.access, fault.present) {
        (Some(address), Some(access), Some(present)) => {
            let why = if present { "not allowed" } else { "not present" };
            format!(": {ring} {} at {address:#010x}, {why}", printable(access))
        }
        _ => format!(": {ring}"),
    };
    format!("CPU {} {kind}{whose}{what}, eip {:#010x}", fault.cpu, fault.eip)
}

/// A shootdown in a line.
fn shootdown_words(one: &Shootdown) -> String {
    let told: Vec<String> = one.targets.iter().map(|target| target.cpu.to_string()).collect();
    let what = one.asked.as_ref().map_or(String::new(), |asked| {
        let reason = asked.reason.as_deref().map(|reason| format!(", {}", printable(reason))).unwrap_or_default();
        format!(" of {:#010x}-{:#010x}{reason}", asked.start, asked.end)
    });
    let end = match one.done {
        Some(done) => format!("done after {} ns", done.saturating_sub(one.sent)),
        None => "not done yet".to_owned(),
    };
    format!("CPU {} TLB shootdown{what}: asks CPU {}, {end}", one.initiator, told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::look::{Process, ShotDown};

    fn look(pids: &[u32], page_faults: u64) -> Look {
        let process = |&pid: &u32| Process { pid, start_time_ns: 5, comm: format!("p{pid}"), ..Process::default() };
        Look {
            processes: Some(pids.iter().map(process).collect()),
            stats: [("page_faults".to_owned(), page_faults)].into(),
            ..Look::default()
        }
    }

    fn texts(log: &Log) -> Vec<String> {
        log.events().map(|event| event.text).collect()
    }

    #[test]
    fn processes_begin_and_end_between_two_looks() {
        let mut log = Log::default();
        log.take(&look(&[1, 2], 0), false, 10);
        assert_eq!(log.len(), 0, "those that were there before nobody saw begin");
        log.take(&look(&[1, 3], 0), true, 20);
        assert_eq!(texts(&log), ["process 3 (p3) begins", "process 2 (p2, begun at 5) has ended"]);
        log.take(&look(&[7], 0), false, 3);
        assert_eq!(log.len(), 0, "another machine");
    }

    #[test]
    fn a_shootdown_under_way_is_told_again_and_stays_one_event() {
        let mut log = Log::default();
        let one = |done| Shootdown { initiator: 1, sent: 8, targets: vec![ShotDown { cpu: 0 }], done, asked: None };
        log.take(&Look { shootdowns: vec![one(None)], ..look(&[], 0) }, false, 10);
        assert_eq!((log.since_ns(), texts(&log)), (8, vec!["CPU 1 TLB shootdown: asks CPU 0, not done yet".into()]));
        log.take(&Look { shootdowns: vec![one(Some(14))], ..look(&[], 0) }, true, 20);
        assert_eq!(
            (log.since_ns(), texts(&log)),
            (20, vec!["CPU 1 TLB shootdown: asks CPU 0, done after 6 ns".into()])
        );
    }

    #[test]
    fn faults_that_the_machine_forgot_are_counted() {
        let fault = |at| Fault {
            at,
            address: Some(0x1000),
            access: Some("write".into()),
            present: Some(false),
            cpl: 3,
            ..Fault::default()
        };
        let mut log = Log::default();
        log.take(&look(&[], 5), false, 10);
        log.take(&Look { faults: vec![fault(12)], ..look(&[], 9) }, true, 20);
        let said = texts(&log);
        assert_eq!(said[0], "CPU 0 page fault: user write at 0x00001000, not present, eip 0x00000000");
        assert_eq!(said[1], "3 more page faults since 10, forgotten by the machine");
        assert!(words(&Fault { comm: Some("a\x1b[2J".into()), pid: Some(1), ..fault(1) }).contains("(a?[2J)"));
    }
}
