//! `--trace syscall`: system calls from the program to its return.

use std::collections::BTreeMap;

use abi::nr;
use cpu::{CpuState, Gpr};
use serde_json::json;

use super::{
    calls,
    told::{Row, Thread, Told},
};
use crate::{Reader, Target};

/// Threads whose calls are followed to their ends; those of more are only told.
const MAX_THREADS: usize = 1 << 16;
/// Calls of one thread that have not returned: the handlers of signals make some inside of others.
const MAX_NESTED: usize = 16;
/// Bytes of INT 0x80.
const INT_80: u32 = 2;

/// A call that has not returned.
struct Call {
    number: u32,
    words: String,
    since_ns: u64,
    /// CS base and EIP say where it was made; SYSENTER does not say where it will return.
    made_at: Option<u32>,
    cr3: u32,
}

impl Call {
    fn name(&self) -> &str {
        self.words.split('(').next().unwrap_or_default()
    }

    fn never_returns(&self) -> bool {
        matches!(self.number, nr::SIGRETURN | nr::RT_SIGRETURN)
    }
}

/// The calls of all threads.
#[derive(Default)]
pub struct Syscalls {
    open: BTreeMap<(u32, u32), (Thread, Vec<Call>)>,
}

impl Syscalls {
    /// A thread is about to enter the kernel.
    pub fn enter(
        &mut self,
        target: &Target<'_>,
        now_ns: u64,
        cpu: u8,
        thread: Thread,
        state: &CpuState,
        by_sysenter: bool,
    ) -> Told {
        let words = calls::any(state, Reader::new(target.mem, state.paging()));
        let told = Told::line(now_ns, &format!("{now_ns} CPU {cpu} [{}] {words}", thread.words()));
        let call = Call {
            number: state.gpr[Gpr::Eax as usize],
            words,
            since_ns: now_ns,
            made_at: (!by_sysenter).then(|| state.pc()),
            cr3: state.cr3,
        };
        if self.open.len() < MAX_THREADS || self.open.contains_key(&thread.key()) {
            let (_, calls) = self.open.entry(thread.key()).or_insert_with(|| (thread, Vec::new()));
            if calls.len() == MAX_NESTED {
                calls.remove(0);
            }
            calls.push(call);
        }
        told
    }

    /// A thread is in ring 3 again.
    pub fn leave(&mut self, now_ns: u64, cpu: u8, thread: &Thread, state: &CpuState) -> Option<Told> {
        let (_, calls) = self.open.get_mut(&thread.key())?;
        if calls.last().is_some_and(Call::never_returns) {
            calls.pop();
        }
        let at = state.pc();
        let last = calls.last()?;
        if last.number == nr::EXECVE && last.cr3 != state.cr3 {
            // Another program, in which nothing that was called before returns.
            let call = calls.pop()?;
            calls.clear();
            return Some(Self::ended(now_ns, cpu, thread, &call, "0"));
        }
        let ends = |call: &Call| match call.made_at {
            None => Some(false),
            Some(made_at) if made_at.wrapping_add(INT_80) == at => Some(false),
            Some(made_at) if made_at == at => Some(true),
            Some(_) => None,
        };
        let (place, again) = calls.iter().enumerate().rev().find_map(|(place, call)| Some((place, ends(call)?)))?;
        let call = calls.drain(place..).next()?;
        let result = if again { "? (is made again)".to_owned() } else { calls::returned(state.gpr[Gpr::Eax as usize]) };
        if calls.is_empty() {
            self.open.remove(&thread.key());
        }
        Some(Self::ended(now_ns, cpu, thread, &call, &result))
    }

    /// The run has ended: what is still open is drawn up to here.
    pub fn finish(&mut self, now_ns: u64) -> Vec<Told> {
        let open = std::mem::take(&mut self.open);
        let bars = open
            .into_values()
            .flat_map(|(thread, calls)| calls.into_iter().map(move |call| Self::bar(now_ns, &thread, &call, "?")));
        bars.collect()
    }

    fn ended(now_ns: u64, cpu: u8, thread: &Thread, call: &Call, result: &str) -> Told {
        let line =
            format!("{now_ns} CPU {cpu} [{}] {} = {result}  <{}>", thread.words(), call.name(), now_ns - call.since_ns);
        Self::bar(now_ns, thread, call, result).with_line(&line)
    }

    fn bar(now_ns: u64, thread: &Thread, call: &Call, result: &str) -> Told {
        let args = json!({ "call": call.words, "result": result });
        Told::span([call.since_ns, now_ns], Row::Thread(thread.clone()), "syscall", call.name(), args)
    }
}
