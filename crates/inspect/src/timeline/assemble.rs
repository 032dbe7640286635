//! From facts to shootdowns.
//!
//! An interprocessor interrupt opens a call, whose targets take its vector and end it.
//!
//! **A kernel that has [`Points`]** says itself what is a shootdown: the call that it makes between them, to the
//! CPUs that it names. Until the second point nobody goes on, so what the initiator and the targets remove from their
//! TLBs up to there belongs to it, before EOI or after.
//!
//! **Of any other kernel** it is guessed. A target's side runs from where it takes the vector to
//! its EOI; what it removes in between belongs to the call, and so does what the sender
//! removes while the call is open. A call in which somebody flushed is a shootdown; the others were
//! sent to have something else done. A kernel that writes EOI first and flushes then is
//! understood too: a flush soon after the EOI counts, but not a load of CR3 with another value,
//! which is what the scheduler does.

use std::collections::{BTreeMap, BTreeSet};

use cpu::coherence::Flush;
use machine::{Fact, Ipi, TimelineEvent};

use super::points::{Asked, Point, Points};

/// A flush so soon after an EOI, or after another flush that was, belongs to that interrupt, as far as one can guess.
const SOON_NS: u64 = 400;

/// What was removed from a TLB, all together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Removed {
    /// When the first removal was.
    pub first_ns: u64,
    /// When the last one was.
    pub last_ns: u64,
    /// Linear page numbers, in the order of INVLPG.
    pub pages: Vec<u32>,
    /// All that is not global, or all, went too.
    pub everything: bool,
}

impl Removed {
    fn note(&mut self, at_ns: u64, flush: Flush) {
        if !self.any() {
            self.first_ns = at_ns;
        }
        self.last_ns = at_ns;
        match flush {
            Flush::Page(page) => self.pages.push(page),
            Flush::Reload | Flush::Switch { .. } | Flush::All => self.everything = true,
        }
    }

    /// Whether anything was removed.
    pub fn any(&self) -> bool {
        self.everything || !self.pages.is_empty()
    }
}

/// A CPU that was told to flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The CPU.
    pub cpu: u8,
    /// When it took the interrupt.
    pub received_ns: Option<u64>,
    /// What it removed. Nothing, where it knew that it held nothing that is stale.
    pub removed: Removed,
    /// When it said that it was done, as far as the hardware sees: its EOI, or its last removal
    /// if that came later.
    pub acknowledged_ns: Option<u64>,
}

/// A shootdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shootdown {
    /// The CPU that asked for it.
    pub initiator: u8,
    /// The vector of its interrupt.
    pub vector: u8,
    /// When it sent it.
    pub sent_ns: u64,
    /// What the initiator removed from its own TLB while others did.
    pub own: Removed,
    /// Those that it asked, by number.
    pub targets: Vec<Target>,
    /// What the kernel says that it is about, if it says so.
    pub asked: Option<Asked>,
}

impl Shootdown {
    /// When the initiator could go on: as it says, else when the last target was done. `None` while one is not.
    pub fn done_ns(&self) -> Option<u64> {
        if let Some(asked) = &self.asked {
            return asked.over_ns;
        }
        self.targets.iter().map(|target| target.acknowledged_ns).try_fold(0, |last, at| Some(last.max(at?)))
    }

    fn target(&mut self, cpu: u8) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.cpu == cpu)
    }

    fn flushed_anything(&self) -> bool {
        self.own.any() || self.targets.iter().any(|target| target.removed.any())
    }
}

/// What a CPU is doing.
#[derive(Default)]
struct Cpu {
    /// The interrupts that it serves, innermost last, each with the calls that it was told of by it.
    serving: Vec<Vec<u64>>,
    /// The calls whose interrupt it ended last.
    ended: Vec<u64>,
    /// The call that it has made, until it does something else than flush.
    made: Option<u64>,
    /// What it has said that it is about, until it says that it is over; and its call.
    asks: Option<(Asked, Option<u64>)>,
}

/// Puts facts together one by one.
#[derive(Default)]
pub struct Assembler {
    /// By their number, in the order of sending.
    calls: BTreeMap<u64, Shootdown>,
    next: u64,
    cpus: Vec<Cpu>,
    points: Option<Points>,
}

/// The shootdowns in these facts, by the time of their sending.
pub fn assemble<'a>(events: impl IntoIterator<Item = &'a TimelineEvent>, points: Option<Points>) -> Vec<Shootdown> {
    let mut assembler = Assembler::new(points);
    events.into_iter().for_each(|event| assembler.add(event));
    assembler.finish()
}

impl Assembler {
    /// For the facts of a machine whose kernel has these points, if it has any.
    pub fn new(points: Option<Points>) -> Self {
        Assembler { points, ..Assembler::default() }
    }

    /// Takes in the next fact.
    pub fn add(&mut self, event: &TimelineEvent) {
        let &TimelineEvent { at_ns, cpu, fact } = event;
        let number = usize::from(cpu);
        if self.cpus.len() <= number {
            self.cpus.resize_with(number + 1, Cpu::default);
        }
        match fact {
            Fact::Sent { mode: Ipi::Fixed, vector, targets } if targets & !(1 << cpu) != 0 => {
                self.cpus[number].ended.clear();
                self.cpus[number].made = Some(self.next);
                self.calls.insert(self.next, call(at_ns, cpu, vector, targets & !(1 << cpu)));
                self.name(number, self.next, targets);
                self.next += 1;
            }
            Fact::Sent { .. } => {}
            Fact::Taken { is_local: false, .. } => {}
            Fact::Taken { vector, .. } => {
                let mut told = Vec::new();
                for (&id, call) in self.calls.iter_mut().filter(|(_, call)| call.vector == vector) {
                    if let Some(target) = call.target(cpu).filter(|target| target.received_ns.is_none()) {
                        target.received_ns = Some(at_ns);
                        told.push(id);
                    }
                }
                self.cpus[number].ended.clear();
                self.cpus[number].made = None;
                self.cpus[number].serving.push(told);
            }
            Fact::Ended => {
                let ended = self.cpus[number].serving.pop().unwrap_or_default();
                self.at_targets(&ended, cpu, |target| target.acknowledged_ns = Some(at_ns));
                self.cpus[number].ended = ended;
            }
            Fact::Flushed(flush) if self.is_told(at_ns) => self.add_told_flush(at_ns, cpu, flush),
            Fact::Flushed(flush) => self.add_flush(at_ns, cpu, flush),
            Fact::Passed { place, registers } => {
                match self.points.and_then(|points| points.point(at_ns, place, registers)) {
                    Some(Point::Begin(asked)) => self.cpus[number].asks = Some((asked, None)),
                    Some(Point::End) => self.end(number, at_ns),
                    None => {}
                }
            }
        }
    }

    /// Whether the kernel says of everything at this time what it is.
    fn is_told(&self, at_ns: u64) -> bool {
        self.points.is_some_and(|points| points.cover(at_ns))
    }

    /// A call to these CPUs may be the one that its sender has said something of. An interrupt may have come in
    /// between, in which it asks somebody for something else: the last call to those CPUs is the one.
    fn name(&mut self, sender: usize, id: u64, targets: u8) {
        let Some((asked, of)) = self.cpus[sender].asks.as_mut().filter(|(asked, _)| asked.targets == targets) else {
            return;
        };
        let before = of.replace(id);
        let asked = Some(*asked);
        if let Some(call) = before.and_then(|id| self.calls.get_mut(&id)) {
            call.asked = None;
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.asked = asked;
        }
    }

    /// A CPU says that what it asked for is done.
    fn end(&mut self, number: usize, at_ns: u64) {
        let Some((_, Some(id))) = self.cpus[number].asks.take() else { return };
        if let Some(asked) = self.calls.get_mut(&id).and_then(|call| call.asked.as_mut()) {
            asked.over_ns = Some(at_ns);
        }
    }

    /// Between its points a kernel flushes for nothing else.
    fn add_told_flush(&mut self, at_ns: u64, cpu: u8, flush: Flush) {
        let is_open = |call: &Shootdown| call.asked.is_some_and(|asked| asked.over_ns.is_none());
        for call in self.calls.values_mut().filter(|call| is_open(call)) {
            if call.initiator == cpu {
                call.own.note(at_ns, flush);
            } else if let Some(target) = call.target(cpu).filter(|target| target.received_ns.is_some()) {
                target.removed.note(at_ns, flush);
                target.acknowledged_ns = target.acknowledged_ns.map(|_| at_ns);
            }
        }
    }

    /// Whether a call is a shootdown.
    fn is_shootdown(&self, call: &Shootdown) -> bool {
        if self.is_told(call.sent_ns) { call.asked.is_some() } else { call.flushed_anything() }
    }

    /// The shootdowns that are over, by the time of their sending; each once.
    pub fn take_done(&mut self) -> Vec<Shootdown> {
        let mentioned: BTreeSet<u64> = self
            .cpus
            .iter()
            .flat_map(|cpu| cpu.serving.iter().flatten().chain(&cpu.ended).chain(&cpu.made))
            .copied()
            .collect();
        let asked: BTreeSet<u64> = self.cpus.iter().filter_map(|cpu| cpu.asks?.1).collect();
        let is_in_use = |id: &u64| mentioned.contains(id) || asked.contains(id);
        let done = |(id, call): (&u64, &Shootdown)| (call.done_ns().is_some() && !is_in_use(id)).then_some(*id);
        let ids: Vec<u64> = self.calls.iter().filter_map(done).collect();
        let calls: Vec<Shootdown> = ids.iter().filter_map(|id| self.calls.remove(id)).collect();
        calls.into_iter().filter(|call| self.is_shootdown(call)).collect()
    }

    /// All that are left, over or not.
    pub fn finish(mut self) -> Vec<Shootdown> {
        let calls = std::mem::take(&mut self.calls);
        calls.into_values().filter(|call| self.is_shootdown(call)).collect()
    }

    fn at_targets(&mut self, calls: &[u64], cpu: u8, mut change: impl FnMut(&mut Target)) {
        for id in calls {
            if let Some(target) = self.calls.get_mut(id).and_then(|call| call.target(cpu)) {
                change(target);
            }
        }
    }

    fn add_flush(&mut self, at_ns: u64, cpu: u8, flush: Flush) {
        let here = &self.cpus[usize::from(cpu)];
        if let Some(told) = here.serving.last().filter(|told| !told.is_empty()) {
            let told = told.clone();
            return self.at_targets(&told, cpu, |target| target.removed.note(at_ns, flush));
        }
        if matches!(flush, Flush::Switch { .. }) {
            self.cpus[usize::from(cpu)].made = None;
            self.cpus[usize::from(cpu)].ended.clear();
            return;
        }
        // While it waits for others, what it removes is its own part of the call. It may come to that only when they
        // are done, if its turn ended before.
        let own = self.cpus[usize::from(cpu)].made.and_then(|id| self.calls.get_mut(&id));
        let is_part = |call: &&mut Shootdown| {
            call.done_ns().is_none() || !call.own.any() && call.targets.iter().any(|target| target.removed.any())
        };
        if let Some(own) = own.filter(is_part) {
            return own.own.note(at_ns, flush);
        }
        let ended = self.cpus[usize::from(cpu)].ended.clone();
        self.at_targets(&ended, cpu, |target| {
            // Later flushes are another matter, which may have nothing to do with the interrupt.
            if target.acknowledged_ns.is_some_and(|last| at_ns - last <= SOON_NS) {
                target.removed.note(at_ns, flush);
                target.acknowledged_ns = Some(at_ns);
            }
        });
    }
}

fn call(sent_ns: u64, initiator: u8, vector: u8, targets: u8) -> Shootdown {
    let target = |cpu| Target { cpu, received_ns: None, removed: Removed::default(), acknowledged_ns: None };
    let targets = (0..8).filter(|cpu| targets >> cpu & 1 != 0).map(target).collect();
    Shootdown { initiator, vector, sent_ns, own: Removed::default(), targets, asked: None }
}

#[cfg(test)]
mod tests {
    use abi::tlb::Reason;

    use super::*;

    fn assemble(facts: &[TimelineEvent]) -> Vec<Shootdown> {
        super::assemble(facts, None)
    }

    fn at(at_ns: u64, cpu: u8, fact: Fact) -> TimelineEvent {
        TimelineEvent { at_ns, cpu, fact }
    }

    fn sent(at_ns: u64, cpu: u8, vector: u8, targets: u8) -> TimelineEvent {
        at(at_ns, cpu, Fact::Sent { mode: Ipi::Fixed, vector, targets })
    }

    fn page(at_ns: u64, cpu: u8, page: u32) -> TimelineEvent {
        at(at_ns, cpu, Fact::Flushed(Flush::Page(page)))
    }

    fn taken(at_ns: u64, cpu: u8, vector: u8) -> TimelineEvent {
        at(at_ns, cpu, Fact::Taken { vector, is_local: true })
    }

    fn ended(at_ns: u64, cpu: u8) -> TimelineEvent {
        at(at_ns, cpu, Fact::Ended)
    }

    #[test]
    fn a_shootdown_has_every_step_of_every_target() {
        let facts = [
            sent(10, 0, 0xfd, 0b110),
            page(12, 0, 7),
            taken(20, 1, 0xfd),
            page(25, 1, 7),
            taken(26, 2, 0xfd),
            ended(30, 1),
            page(33, 2, 7),
            ended(35, 2),
            page(50, 0, 9),
        ];
        let [one] = &assemble(&facts)[..] else { panic!("one shootdown") };
        assert_eq!((one.initiator, one.sent_ns, &one.own.pages[..], one.done_ns()), (0, 10, &[7][..], Some(35)));
        let steps: Vec<_> =
            one.targets.iter().map(|t| (t.cpu, t.received_ns, t.removed.first_ns, t.acknowledged_ns)).collect();
        assert_eq!(steps, [(1, Some(20), 25, Some(30)), (2, Some(26), 33, Some(35))]);
    }

    #[test]
    fn an_interrupt_that_makes_nobody_flush_is_none() {
        let switch = at(40, 1, Fact::Flushed(Flush::Switch { cr3: 0x3000 }));
        let facts = [sent(10, 0, 0xfc, 0b10), taken(20, 1, 0xfc), ended(30, 1), switch];
        assert_eq!(assemble(&facts), [], "the scheduler's load of CR3 is no flush");
    }

    #[test]
    fn an_end_of_interrupt_before_the_flush_is_understood() {
        let reload = at(40, 1, Fact::Flushed(Flush::Reload));
        let facts = [sent(10, 0, 0xfd, 0b10), taken(20, 1, 0xfd), ended(21, 1), reload];
        let [one] = &assemble(&facts)[..] else { panic!("one shootdown") };
        assert!(one.targets[0].removed.everything);
        assert_eq!(one.done_ns(), Some(40));
    }

    #[test]
    fn a_flush_long_after_an_end_of_interrupt_has_nothing_to_do_with_it() {
        let facts = [sent(10, 0, 0xfc, 0b10), taken(20, 1, 0xfc), ended(21, 1), page(21 + SOON_NS + 1, 1, 4)];
        assert_eq!(assemble(&facts), []);
    }

    #[test]
    fn one_interrupt_can_serve_two_that_asked() {
        let facts = [
            sent(10, 0, 0xfd, 0b100),
            sent(11, 1, 0xfd, 0b100),
            page(12, 0, 1),
            page(13, 1, 2),
            taken(20, 2, 0xfd),
            page(21, 2, 1),
            page(22, 2, 2),
            ended(23, 2),
        ];
        let received: Vec<_> = assemble(&facts).iter().map(|s| s.targets[0].received_ns).collect();
        assert_eq!(received, [Some(20), Some(20)]);
    }

    #[test]
    fn what_is_over_is_given_out_once() {
        let mut assembler = Assembler::default();
        let facts =
            [sent(10, 0, 0xfd, 0b10), taken(20, 1, 0xfd), page(21, 1, 4), ended(22, 1), sent(30, 0, 0xfd, 0b10)];
        facts.iter().for_each(|fact| assembler.add(fact));
        assert_eq!(assembler.take_done(), [], "a flush may still follow the end of the interrupt");
        assembler.add(&taken(40, 1, 0xfd));
        assembler.add(&taken(41, 0, 0xef));
        let sent: Vec<_> = assembler.take_done().iter().map(|shootdown| shootdown.sent_ns).collect();
        assert_eq!(sent, [10]);
        assert_eq!(assembler.take_done(), []);
    }

    const BEGIN: u32 = 0xc010_0000;
    const END: u32 = 0xc010_0010;

    fn passed(at_ns: u64, cpu: u8, place: u32, what: u32) -> TimelineEvent {
        at(at_ns, cpu, Fact::Passed { place, registers: [0x4000, what, 0x6000] })
    }

    fn told(facts: &[TimelineEvent], since_ns: u64) -> Vec<Shootdown> {
        super::assemble(facts, Some(Points::at(BEGIN, END, since_ns)))
    }

    #[test]
    fn a_kernel_that_says_what_it_is_about_is_believed() {
        let unmap = 0b110 | (Reason::Unmap as u32) << 8;
        let facts = [
            passed(5, 0, BEGIN, unmap),
            // An interrupt before the call, in which somebody is told to look whom to run.
            sent(6, 0, 0xfd, 0b10),
            sent(10, 0, 0xfc, 0b110),
            page(11, 0, 4),
            taken(20, 1, 0xfc),
            ended(21, 1),
            taken(22, 2, 0xfc),
            ended(23, 2),
            // Long after its EOI.
            page(9000, 1, 4),
            passed(9100, 0, END, unmap),
            page(9200, 1, 8),
            // No point around it: the scheduler's, whatever is flushed then.
            sent(9300, 0, 0xfd, 0b10),
            taken(9310, 1, 0xfd),
            at(9311, 1, Fact::Flushed(Flush::Reload)),
            ended(9312, 1),
        ];
        let [one] = &told(&facts, 0)[..] else { panic!("one shootdown") };
        let asked = one.asked.expect("it is said");
        assert_eq!((asked.start, asked.end, asked.reason), (0x4000, 0x6000, Some(Reason::Unmap)));
        assert_eq!((one.sent_ns, one.vector, one.done_ns(), &one.own.pages[..]), (10, 0xfc, Some(9100), &[4][..]));
        let steps: Vec<_> = one.targets.iter().map(|t| (&t.removed.pages[..], t.acknowledged_ns)).collect();
        assert_eq!(steps, [(&[4][..], Some(9000)), (&[][..], Some(23))]);
    }

    #[test]
    fn before_its_points_were_noted_it_is_guessed() {
        let facts = [sent(10, 0, 0xfd, 0b10), taken(20, 1, 0xfd), page(21, 1, 4), ended(22, 1)];
        assert_eq!(told(&facts, 100).len(), 1);
        assert_eq!(told(&facts, 10), []);
    }

    #[test]
    fn what_is_said_to_be_over_is_given_out_once() {
        let mut assembler = Assembler::new(Some(Points::at(BEGIN, END, 0)));
        let begun =
            [passed(5, 0, BEGIN, 0b10), sent(10, 0, 0xfc, 0b10), taken(20, 1, 0xfc), page(21, 1, 4), ended(22, 1)];
        begun.iter().for_each(|fact| assembler.add(fact));
        assert_eq!(assembler.take_done(), []);
        [passed(30, 0, END, 0b10), taken(40, 1, 0xef), taken(41, 0, 0xef)].iter().for_each(|fact| assembler.add(fact));
        assert_eq!(assembler.take_done().len(), 1);
        assert_eq!((assembler.take_done(), assembler.finish()), (vec![], vec![]));
    }

    #[test]
    fn other_interrupts_in_between_do_not_end_it() {
        let facts = [
            sent(10, 0, 0xfd, 0b10),
            taken(12, 1, 0xfd),
            taken(14, 1, 0xfe),
            ended(15, 1),
            page(16, 1, 3),
            ended(18, 1),
        ];
        let [one] = &assemble(&facts)[..] else { panic!("one shootdown") };
        assert_eq!((one.targets[0].removed.first_ns, one.done_ns()), (16, Some(18)));
    }
}
