//! `--trace sched`: which thread has which CPU.
//!
//! A kernel loads ESP0 of the CPU's TSS with the top of the next thread's stack when it switches; so a store
//! there tells of a switch, in any kernel that has a stack a thread.

use serde_json::json;

use super::told::{Row, Thread, Told};

/// Who has the CPUs.
#[derive(Default)]
pub struct Sched {
    /// By CPU: the thread, and since when.
    running: Vec<Option<(Thread, u64)>>,
}

impl Sched {
    /// CPU `cpu` has `thread` now.
    pub fn runs(&mut self, now_ns: u64, cpu: u8, thread: Thread) -> Option<Told> {
        let number = usize::from(cpu);
        if self.running.len() <= number {
            self.running.resize_with(number + 1, || None);
        }
        let before = self.running[number].take();
        if let Some((last, since)) = before.as_ref().filter(|(last, _)| last.key() == thread.key()) {
            self.running[number] = Some((last.clone(), *since));
            return None;
        }
        let line = match &before {
            Some((last, _)) => format!("{now_ns} CPU {cpu} switches from {} to {}", last.words(), thread.words()),
            None => format!("{now_ns} CPU {cpu} runs {}", thread.words()),
        };
        self.running[number] = Some((thread, now_ns));
        Some(match before {
            Some((last, since)) => bar(since, now_ns, cpu, &last).with_line(&line),
            None => Told::line(now_ns, &line),
        })
    }

    /// The run has ended.
    pub fn finish(&mut self, now_ns: u64) -> Vec<Told> {
        let running = std::mem::take(&mut self.running).into_iter().zip(0u8..);
        running.filter_map(|(running, cpu)| running.map(|(thread, since)| bar(since, now_ns, cpu, &thread))).collect()
    }
}

fn bar(since_ns: u64, now_ns: u64, cpu: u8, thread: &Thread) -> Told {
    let args = json!({ "pid": thread.pid, "process": thread.tgid });
    Told::span([since_ns, now_ns], Row::Runs(cpu), "sched", &thread.words(), args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(pid: u32) -> Thread {
        Thread { pid, tgid: pid, name: Some(format!("p{pid}")), stack: pid * 0x2000 }
    }

    #[test]
    fn a_switch_ends_the_bar_of_the_thread_before() {
        let mut sched = Sched::default();
        assert_eq!(sched.runs(5, 1, thread(2)).map(|told| told.text), Some("5 CPU 1 runs 2 (p2)\n".into()));
        assert_eq!(sched.runs(6, 1, thread(2)), None, "it has the CPU already");
        let switch = sched.runs(9, 1, thread(3)).expect("a switch");
        assert_eq!(switch.text, "9 CPU 1 switches from 2 (p2) to 3 (p3)\n");
        assert!(switch.events.contains("\"dur\":0.004"), "{}", switch.events);
        assert_eq!(sched.finish(20).len(), 1);
    }
}
