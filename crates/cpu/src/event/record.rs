//! The last faults as the processor saw them, for who explains them afterwards: when a kernel has decided
//! that it does not resolve a page fault, the TLB holds the translation no more and the registers are its own.
//!
//! It is the host's data, bounded, and nothing in the machine reads it.

use std::collections::VecDeque;

use x86::{Eflags, LinearAddr, Vector};

use super::Event;
use crate::{
    Cpu, Exception, SegmentRegister,
    mmu::{Glance, Paging, TlbEntry},
};

/// Faults that a CPU remembers: some more than can come between a fault and the kernel's word on it.
const KEPT: usize = 128;
/// A contributory exception or page fault, a second, the double fault, and what shuts the CPU down.
const MOST_RAISED: usize = 4;

/// A page fault, or what became a double fault, before anything of its delivery was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultRecord {
    /// Virtual time, in nanoseconds.
    pub at: u64,
    /// The CPU.
    pub cpu: usize,
    /// How many instructions this CPU had retired.
    pub retired: u64,
    /// EAX … EDI by [`crate::Gpr`] number.
    pub gpr: [u32; 8],
    /// The instruction, an offset in CS.
    pub eip: u32,
    /// EFLAGS.
    pub eflags: Eflags,
    /// By [`x86::SegReg`] number.
    pub seg: [SegmentRegister; 6],
    /// The privilege level.
    pub cpl: u8,
    /// CR0, CR3, CR4 and what else decided translations.
    pub paging: Paging,
    /// The page fault whose address the rest is about; `None` if there was none.
    pub page_fault: Option<Exception>,
    /// What the TLB held for its address.
    pub held: Option<TlbEntry>,
    /// What the tables said of its address.
    pub tables: Option<Glance>,
    raised: [Option<Exception>; MOST_RAISED],
}

impl FaultRecord {
    fn of(cpu: &mut Cpu, first: Exception) -> Self {
        let (at, number, retired, eflags) = (cpu.now(), cpu.number(), cpu.retired(), cpu.eflags());
        let mut paging = cpu.state.paging();
        paging.a20_mask = cpu.projection().a20_mask();
        let state = &cpu.state;
        let mut record = FaultRecord {
            at,
            cpu: number,
            retired,
            gpr: std::array::from_fn(|i| state.gpr[i]),
            eip: state.eip,
            eflags,
            seg: state.seg,
            cpl: state.cpl,
            paging,
            page_fault: None,
            held: None,
            tables: None,
            raised: [None; MOST_RAISED],
        };
        record.raise(cpu, first);
        record
    }

    /// What was raised, one after the other: a page fault; or two exceptions and #DF, and what shut the CPU down.
    pub fn raised(&self) -> impl Iterator<Item = Exception> + '_ {
        self.raised.iter().flatten().copied()
    }

    /// It became a double fault.
    pub fn is_double(&self) -> bool {
        self.raised().any(|exception| exception.vector == Vector::DOUBLE_FAULT)
    }

    /// The CPU has shut down.
    pub fn is_triple(&self) -> bool {
        self.is_double() && self.raised().last() != Some(Exception::df())
    }

    /// Linear address of the instruction.
    pub fn pc(&self) -> u32 {
        self.seg[x86::SegReg::Cs as usize].base.wrapping_add(self.eip)
    }

    fn raise(&mut self, cpu: &mut Cpu, exception: Exception) {
        if let Some(place) = self.raised.iter_mut().find(|place| place.is_none()) {
            *place = Some(exception);
        }
        if exception.vector == Vector::PAGE_FAULT && self.page_fault.is_none() {
            let addr = LinearAddr(exception.addr);
            self.page_fault = Some(exception);
            self.held = cpu.state.tlb.lookup(addr).copied();
            self.tables = Some(Glance::at(cpu.mem(), &self.paging, addr));
        }
    }
}

/// The last faults of a CPU.
#[derive(Clone, Debug, Default)]
pub struct FaultLog {
    /// Oldest first.
    records: VecDeque<FaultRecord>,
    /// Double faults that nobody was told of.
    doubles: u32,
}

impl FaultLog {
    /// The faults, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &FaultRecord> {
        self.records.iter().rev()
    }

    /// Whether there was a double fault since the last call.
    pub fn take_double(&mut self) -> bool {
        std::mem::take(&mut self.doubles) != 0
    }

    fn push(&mut self, record: FaultRecord) {
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}

/// A page fault is about to be delivered, and what is held for its address to go.
pub(super) fn note(cpu: &mut Cpu, exception: Exception) {
    if exception.vector == Vector::PAGE_FAULT {
        let record = FaultRecord::of(cpu, exception);
        cpu.faults.push(record);
    }
}

/// The delivery of `event`, an exception, has raised `second`: a double fault follows, or `event` is one and
/// the CPU shuts down.
#[cold]
pub(super) fn note_next(cpu: &mut Cpu, event: Event, second: Exception) {
    let Event::Exception(first) = event else { return };
    // The record of this event is the newest, if there is one: nothing has retired since.
    let now = cpu.now();
    let is_open = |record: &FaultRecord| record.at == now && record.raised().last() == Some(first);
    let mut record = match cpu.faults.records.pop_back() {
        Some(record) if is_open(&record) => record,
        other => {
            cpu.faults.records.extend(other);
            FaultRecord::of(cpu, first)
        }
    };
    record.raise(cpu, second);
    if first.vector != Vector::DOUBLE_FAULT {
        record.raise(cpu, Exception::df());
        cpu.faults.doubles += 1;
    }
    cpu.faults.push(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::deliver, fixture::Fixture};

    #[test]
    fn a_fault_that_cannot_be_delivered_is_remembered_up_to_the_shut_down() {
        let mut f = Fixture::flat();
        f.cpu.state.idtr.limit = 0;
        let fault = Exception::pf(0x1234, x86::PageFaultCode::WR);
        let shut_down = f.run(|cpu| deliver(cpu, Event::Exception(fault)));
        assert_eq!(shut_down, Err(fault));
        let record = f.cpu.faults.newest().next().expect("a record");
        let vectors: Vec<u8> = record.raised().map(|exception| exception.vector.0).collect();
        assert_eq!(vectors, [14, 13, 8, 13]);
        assert!(record.is_double() && record.is_triple());
        assert_eq!(record.page_fault, Some(fault));
        assert!(f.cpu.faults.take_double() && !f.cpu.faults.take_double());
    }
}
