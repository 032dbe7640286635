//! What `run --trace` tells: events of the processor, every instruction, page faults from end to end.
//!
//! The tracers only look. That of faults asks for stops before three kinds of instruction: the first of
//! the page-fault handler and of the system-call entry, which the guest's own IDT names, and
//! the one that faulted, for its return. The machine runs as it would without it.

mod calls;
mod events;
mod exec;
mod fault;
mod origin;
mod sched;
mod syscalls;
mod thread;
mod told;

use std::collections::BTreeSet;

use cpu::CpuState;
use serde_json::json;
use x86::{Descriptor, LinearAddr, SegReg, Vector};

use crate::{Books, Reader, Target};

use fault::Fault;
use origin::Origins;

pub use events::{EventKinds, EventTrace};
pub use exec::ExecTrace;
pub use told::{Row, Thread, Told};

/// The gate of Linux's system calls.
const SYSTEM_CALL: Vector = Vector(0x80);
/// Faults that are still on their way; a thread rarely has more than two.
const MAX_PENDING: usize = 64;

/// How the machine goes on after a stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Until the next stop.
    Run,
    /// For one instruction; then [`FaultTrace::stepped`].
    Step,
}

/// Follows the page faults of all CPUs through a run of the machine.
#[derive(Default)]
pub struct FaultTrace {
    page_fault: Option<u32>,
    system_call: Option<u32>,
    origins: Origins,
    pending: Vec<Fault>,
    /// The fault whose instruction is being tried again.
    retrying: Option<Fault>,
    count: u64,
    /// Virtual time of the last stop.
    now_ns: u64,
    told: Vec<Told>,
}

impl FaultTrace {
    /// A tracer that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The linear addresses of the instructions before which the machine must stop.
    pub fn stops(&self) -> BTreeSet<u32> {
        let entries = [self.page_fault, self.system_call].into_iter().flatten();
        entries.chain(self.pending.iter().map(Fault::return_linear)).collect()
    }

    /// What there is to tell since the last call: whole faults, in the order of their ends.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Reads the handlers' addresses from the guest's IDT, which it may set up or change at any
    /// time: to be called now and then, and at every stop.
    pub fn read_idt(&mut self, target: &Target<'_>) {
        let Ok(state) = target.cpu(target.current) else { return };
        self.page_fault = handler(target, state, Vector::PAGE_FAULT);
        self.system_call = handler(target, state, SYSTEM_CALL);
    }

    /// The machine stopped before an instruction, at this virtual time.
    pub fn stopped(&mut self, target: &Target<'_>, now_ns: u64) -> Next {
        self.now_ns = now_ns;
        let Ok(state) = target.cpu(target.current) else { return Next::Run };
        let at = state.pc();
        let thread = thread(target);
        if let Some(fault) = self.retrying.take() {
            // An interrupt came first: its return is the next stop here.
            match self.page_fault == Some(at) {
                true => self.print(fault, Fault::faults_again),
                false => self.pending.push(fault),
            }
        }
        if self.page_fault == Some(at) {
            self.fault(target, state, thread);
        } else if self.system_call == Some(at) {
            self.gone_elsewhere(thread, state);
            self.origins.system_call(target, thread, state);
        } else if let Some(place) = self.pending.iter().position(|fault| fault.returns_here(state, thread)) {
            let mut fault = self.pending.remove(place);
            fault.returned(target, state);
            self.retrying = Some(fault);
            self.read_idt(target);
            return Next::Step;
        }
        self.read_idt(target);
        Next::Run
    }

    /// The machine has run the one instruction that [`Next::Step`] asked for.
    pub fn stepped(&mut self, target: &Target<'_>, now_ns: u64) {
        self.now_ns = now_ns;
        let Some(fault) = self.retrying.take() else { return };
        match target.cpu(target.current) {
            Ok(state) if fault.is_behind(state) => self.print(fault, |fault| fault.retried(state)),
            _ => self.pending.push(fault),
        }
    }

    /// The run has ended: what is still on its way never came back.
    pub fn finish(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        for fault in self.retrying.take().into_iter().chain(std::mem::take(&mut self.pending)) {
            self.print(fault, |fault| fault.abandoned("the run ended before it returned"));
        }
    }

    fn fault(&mut self, target: &Target<'_>, state: &CpuState, thread: u32) {
        let Some(mut fault) = Fault::at_handler(target, state, thread, self.count + 1, self.now_ns) else { return };
        self.count += 1;
        if fault.is_from_ring_3() {
            self.gone_elsewhere(thread, state);
        }
        self.origins.look(target, thread);
        fault.describe(target, state, self.origins.of(target, thread, fault.address()));
        if self.pending.len() == MAX_PENDING {
            let oldest = self.pending.remove(0);
            self.print(oldest, |fault| fault.abandoned("it has not returned for long"));
        }
        self.pending.push(fault);
    }

    /// The thread is in its program again, and not where its faults would have returned.
    fn gone_elsewhere(&mut self, thread: u32, state: &CpuState) {
        let (gone, stay) = std::mem::take(&mut self.pending).into_iter().partition(|fault| fault.thread() == thread);
        self.pending = stay;
        for fault in gone {
            let fault: Fault = fault;
            let why = format!("no return: the thread went on elsewhere (now at instruction {})", state.retired);
            self.print(fault, |fault| fault.abandoned(&why));
        }
    }

    fn print(&mut self, fault: Fault, end: impl FnOnce(Fault) -> String) {
        let (raised_ns, row, name) = fault.bar();
        let text = end(fault);
        let bar = Told::span([raised_ns, self.now_ns], row, "fault", &name, json!({ "what": text.trim_end() }));
        self.told.push(Told { text, ..bar });
    }
}

/// Where the gate of a vector leads, if the guest runs in protected mode and has one.
fn handler(target: &Target<'_>, state: &CpuState, vector: Vector) -> Option<u32> {
    let at = u32::from(vector.0) * 8;
    if !state.cr0().contains(x86::Cr0::PE) || at + 7 > u32::from(state.idtr.limit) {
        return None;
    }
    let reader = Reader::new(target.mem, state.paging());
    let low = reader.u32(LinearAddr(state.idtr.base.wrapping_add(at)))?;
    let high = reader.u32(LinearAddr(state.idtr.base.wrapping_add(at + 4)))?;
    let gate = Descriptor(u64::from(high) << 32 | u64::from(low));
    (gate.present() && gate.gate_offset() != 0).then(|| gate.gate_offset())
}

/// The thread that the CPU runs, by the kernel's books; 0 for a kernel that keeps none.
fn thread(target: &Target<'_>) -> u32 {
    Books::of(target).and_then(|books| books.current(target.current as u32)).map_or(0, |task| task.pid)
}

/// The linear address of an instruction of the code segment in use.
fn linear(state: &CpuState, eip: u32) -> u32 {
    state.seg(SegReg::Cs).base.wrapping_add(eip)
}
