//! The interrupt bus: what goes between the I/O APIC, the local APICs and the pins of the CPUs.
//!
//! The 8259A pair's INTR is wired to LINT0 of every CPU; each ISA interrupt line goes to the pair
//! and to the I/O APIC, where the timer's is input 2.

use std::collections::VecDeque;

use devices::{Acknowledged, ApicMessage, Board, CpuSignal, DeliveryMode, IoApic, Lapic, LapicOutput};
use serde::{Deserialize, Serialize};
use x86::msr;

use crate::timeline::Fact;

/// Virtual time that a message needs from one local APIC to another. What a local APIC sends to itself
/// needs none.
const TRAVEL_NS: u64 = 100;

/// Physical address of the I/O APIC's registers.
pub(crate) const IOAPIC_BASE: u64 = 0xfec0_0000;
/// Where local APICs are after RESET.
pub(crate) const LAPIC_BASE: u64 = 0xfee0_0000;
/// The offset of the EOI register of a local APIC.
const EOI: u32 = 0xb0;
/// The I/O APIC's ID; those of local APICs are the numbers of the CPUs.
pub(crate) const IOAPIC_ID: u8 = 0;

/// The input of the I/O APIC that an ISA interrupt line is wired to.
fn pin(irq: u8) -> u8 {
    if irq == 0 { 2 } else { irq }
}

/// A message between local APICs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Travelling {
    due_ns: u64,
    /// The CPU that sent it.
    sender: u8,
    message: ApicMessage,
}

/// The APICs of a machine and what is on its way between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptBus {
    /// The I/O APIC.
    pub ioapic: IoApic,
    /// By CPU.
    pub lapics: Vec<Lapic>,
    /// Where each CPU sees its local APIC, if it is switched on: follows IA32_APIC_BASE.
    pages: Vec<Option<u64>>,
    /// In the order of their arrival.
    travelling: VecDeque<Travelling>,
    /// The CPU that won the last arbitration for an interrupt of lowest priority.
    last_winner: u8,
    /// Levels of the ISA interrupt lines, and of the 8259A pair's INTR.
    lines: u16,
    intr: bool,
    /// The I/O APIC may have messages.
    stirred: bool,
    /// For the CPUs' pins; the run loop takes them before the machine rests.
    #[serde(skip)]
    signals: Vec<(usize, CpuSignal)>,
}

impl InterruptBus {
    /// The bus of so many CPUs after RESET.
    pub(crate) fn new(cpus: u8) -> Self {
        InterruptBus {
            ioapic: IoApic::new(IOAPIC_ID),
            lapics: (0..cpus).map(Lapic::new).collect(),
            pages: vec![Some(LAPIC_BASE); cpus.into()],
            travelling: VecDeque::new(),
            last_winner: cpus - 1,
            lines: 0,
            intr: false,
            stirred: false,
            signals: Vec::new(),
        }
    }

    /// RESET: what is on its way is lost. Lines keep their levels.
    pub(crate) fn reset(&mut self) {
        let lines = self.lines;
        *self = InterruptBus::new(self.lapics.len() as u8);
        (0..16).for_each(|irq| self.set_line(irq, lines >> irq & 1 != 0));
    }

    /// The local APICs as firmware leaves them: the bootstrap processor's in virtual wire mode, with INTR at
    /// LINT0 and NMI at LINT1 (MultiProcessor Specification 1.4, "Virtual Wire Mode").
    pub(crate) fn set_up(&mut self, board: &mut impl Board) {
        for (offset, value) in [(0xf0, 0x1ff), (0x350, 0x700), (0x360, 0x400)] {
            self.lapics[0].write(offset, value, board);
        }
    }

    /// Whether this can be the bus of so many CPUs at `now_ns`, whatever a snapshot says.
    pub(crate) fn fits(&self, cpus: usize, now_ns: u64) -> bool {
        [self.lapics.len(), self.pages.len()] == [cpus; 2]
            && self.lapics.iter().all(|lapic| lapic.fits(now_ns))
            && self.travelling.iter().all(|travelling| usize::from(travelling.sender) < cpus)
    }

    /// IA32_APIC_BASE of a CPU. A local APIC that is switched off loses its state.
    pub(crate) fn follow(&mut self, cpu: usize, apic_base: u64) {
        let on = apic_base & msr::APIC_BASE_ENABLE != 0;
        if !on && self.pages[cpu].is_some() {
            self.lapics[cpu].reset();
            self.lapics[cpu].set_lint(0, self.intr);
        }
        self.pages[cpu] = on.then_some(apic_base & !0xfff & 0xf_ffff_ffff);
    }

    /// The offset of `addr` in the page where `cpu` sees its local APIC.
    pub(crate) fn lapic_offset(&self, cpu: usize, addr: u64) -> Option<u32> {
        self.pages[cpu].filter(|page| addr & !0xfff == *page).map(|_| addr as u32 & 0xfff)
    }

    /// Drives an ISA interrupt line.
    pub(crate) fn set_line(&mut self, irq: u8, level: bool) {
        if (self.lines >> irq & 1 != 0) != level {
            self.lines ^= 1 << irq;
            self.ioapic.set_irq(pin(irq), level);
            self.stirred = true;
        }
    }

    /// Lets LINT0 follow the 8259A pair's INTR, and delivers what the I/O APIC sends.
    pub(crate) fn drive(&mut self, intr: bool) {
        if self.intr != intr {
            self.intr = intr;
            for (cpu, lapic) in self.lapics.iter_mut().enumerate() {
                self.signals.extend(lapic.set_lint(0, intr).map(|signal| (cpu, signal)));
            }
        }
        if std::mem::take(&mut self.stirred) {
            for (pin, message) in self.ioapic.take_messages() {
                if !self.deliver(&message, None, |_| true) && message.level {
                    // It is offered again until somebody takes it.
                    self.ioapic.not_accepted(pin);
                    self.stirred = true;
                }
            }
        }
    }

    /// The level of a CPU's INTR: the 8259A pair's alone where there is no local APIC.
    pub(crate) fn intr(&self, cpu: usize) -> bool {
        if self.pages[cpu].is_some() { self.lapics[cpu].intr() } else { self.intr }
    }

    /// A CPU takes an interrupt: its vector, or `None` if the 8259A pair must be asked.
    pub(crate) fn acknowledge(&mut self, cpu: usize) -> Option<u8> {
        self.pages[cpu]?;
        match self.lapics[cpu].acknowledge() {
            Acknowledged::Vector(vector) => Some(vector),
            Acknowledged::External => None,
        }
    }

    /// A CPU writes to its local APIC. What it sent by that to whom, if anything.
    pub(crate) fn write_lapic(&mut self, cpu: usize, offset: u32, value: u32, board: &mut impl Board) -> Option<Fact> {
        match self.lapics[cpu].write(offset, value, board) {
            Some(LapicOutput::Message(message)) => {
                let is_for = |other: &usize| self.is_addressed(*other, &message, Some(cpu));
                let targets = (0..self.lapics.len()).filter(is_for).fold(0, |mask, other| mask | 1 << other);
                let sent = Fact::Sent { mode: message.mode.into(), vector: message.vector, targets };
                self.send(cpu, message, board.now_ns());
                return Some(sent);
            }
            Some(LapicOutput::EndOfInterrupt { vector }) => {
                self.ioapic.end_of_interrupt(vector);
                self.stirred = true;
            }
            None => {}
        }
        (offset == EOI).then_some(Fact::Ended)
    }

    /// A CPU writes to the I/O APIC.
    pub(crate) fn write_ioapic(&mut self, offset: u32, value: u32) {
        self.ioapic.write(offset, value);
        self.stirred = true;
    }

    /// Brings timers up to now, and messages that are due to where they go.
    pub(crate) fn wake(&mut self, board: &mut impl Board) {
        while let Some(arrived) = self.travelling.pop_front_if(|first| first.due_ns <= board.now_ns()) {
            let sender = usize::from(arrived.sender);
            // The sender has its own already, unless the receiver is found only now.
            let arbitrated = arrived.message.mode == DeliveryMode::LowestPriority;
            self.deliver(&arrived.message, Some(sender), |cpu| arbitrated || cpu != sender);
        }
        for lapic in &mut self.lapics {
            lapic.wake(board);
        }
    }

    /// When a timer ends or a message arrives.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        let arrival = self.travelling.front().map(|first| first.due_ns);
        self.lapics.iter().filter_map(Lapic::deadline_ns).chain(arrival).min()
    }

    /// Whether a message is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.travelling.is_empty()
    }

    /// Whether the timer of one of the CPUs for which `listens` would reach it.
    pub(crate) fn timer_may_wake(&self, listens: impl Fn(usize) -> bool) -> bool {
        self.lapics.iter().enumerate().any(|(cpu, lapic)| listens(cpu) && lapic.would_interrupt_timer())
    }

    /// Whether an edge on an ISA interrupt line would reach a CPU through the I/O APIC.
    pub(crate) fn would_interrupt(&self, irq: u8) -> bool {
        self.ioapic.would_interrupt(pin(irq))
    }

    /// Whether the I/O APIC's table holds an ISA interrupt line back.
    pub(crate) fn holds_back(&self, irq: u8) -> bool {
        self.ioapic.holds_back(pin(irq))
    }

    /// Whether INTR of the 8259A pair would reach one of the CPUs for which `listens`.
    pub(crate) fn passes_intr(&self, listens: impl Fn(usize) -> bool) -> bool {
        self.lapics.iter().zip(&self.pages).enumerate().any(|(cpu, (lapic, page))| {
            let mut trial = lapic.clone();
            trial.set_lint(0, true);
            listens(cpu) && (page.is_none() || trial.intr())
        })
    }

    /// Whether a pin of a CPU was driven since [`InterruptBus::take_signals`].
    pub(crate) fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    /// What was done to the pins of the CPUs, in order.
    pub(crate) fn take_signals(&mut self) -> Vec<(usize, CpuSignal)> {
        std::mem::take(&mut self.signals)
    }

    /// A local APIC sends. What it sends to itself is there at once; the bus takes its time.
    fn send(&mut self, sender: usize, message: ApicMessage, now_ns: u64) {
        let addressed = |bus: &Self, cpu: usize| bus.is_addressed(cpu, &message, Some(sender));
        let itself = addressed(self, sender);
        let others = (0..self.lapics.len()).any(|cpu| cpu != sender && addressed(self, cpu));
        if itself && !(others && message.mode == DeliveryMode::LowestPriority) {
            self.accept(sender, &message);
        }
        if others {
            self.travelling.push_back(Travelling { due_ns: now_ns + TRAVEL_NS, sender: sender as u8, message });
        }
    }

    fn is_addressed(&self, cpu: usize, message: &ApicMessage, sender: Option<usize>) -> bool {
        let sender = sender.map(|sender| sender as u8);
        self.pages[cpu].is_some() && self.lapics[cpu].is_addressed(message.destination, sender)
    }

    /// A message reaches whom it is for, of the CPUs that `may` get it; says whether anybody took it.
    fn deliver(&mut self, message: &ApicMessage, sender: Option<usize>, may: impl Fn(usize) -> bool) -> bool {
        let cpus = self.lapics.len();
        if message.mode == DeliveryMode::LowestPriority {
            // Among equals the one behind the last winner, so that all get their share.
            let first = usize::from(self.last_winner) + 1;
            let winner = (0..cpus)
                .map(|step| (first + step) % cpus)
                .filter(|&cpu| self.lapics[cpu].is_enabled() && self.is_addressed(cpu, message, sender))
                .min_by_key(|&cpu| self.lapics[cpu].processor_priority());
            if let Some(cpu) = winner {
                self.last_winner = cpu as u8;
                self.accept(cpu, message);
            }
            return winner.is_some();
        }
        let mut taken = false;
        for cpu in 0..cpus {
            if may(cpu) && self.is_addressed(cpu, message, sender) {
                taken |= self.lapics[cpu].is_enabled() || !message.mode.has_vector();
                self.accept(cpu, message);
            }
        }
        taken
    }

    fn accept(&mut self, cpu: usize, message: &ApicMessage) {
        let signal = self.lapics[cpu].accept(message);
        self.signals.extend(signal.map(|signal| (cpu, signal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{BoardView, Signals};

    #[test]
    fn a_level_waits_until_a_local_apic_takes_it() {
        let mut bus = InterruptBus::new(1);
        // Redirection entry 9: level triggered, vector 0x49, for CPU 0.
        for (register, value) in [(0x23, 0), (0x22, 0x8049)] {
            bus.write_ioapic(0x00, register);
            bus.write_ioapic(0x10, value);
        }
        let entry = |bus: &mut InterruptBus| {
            bus.ioapic.write(0x00, 0x22);
            bus.ioapic.read(0x10)
        };
        bus.set_line(9, true);
        for _ in 0..3 {
            bus.drive(false);
            assert_eq!((entry(&mut bus), bus.intr(0)), (0x8049, false), "software has not enabled it");
        }
        let mut signals = Signals::default();
        bus.write_lapic(0, 0xf0, 0x1ff, &mut BoardView { now_ns: 0, signals: &mut signals });
        bus.drive(false);
        assert_eq!((entry(&mut bus), bus.intr(0)), (0xc049, true));
    }
}
