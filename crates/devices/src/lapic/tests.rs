use super::*;
use crate::test_board::TestBoard;

const ENABLED: u32 = 0x1ff;
const MASKED: u32 = 0x1_0000;

const ID: u32 = 0x20;
const TPR: u32 = 0x80;
const PPR: u32 = 0xa0;
const EOI: u32 = 0xb0;
const LDR: u32 = 0xd0;
const DFR: u32 = 0xe0;
const SVR: u32 = 0xf0;
const ESR: u32 = 0x280;
const ICR_LOW: u32 = 0x300;
const ICR_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const INITIAL: u32 = 0x380;
const CURRENT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;

struct Bench {
    lapic: Lapic,
    board: TestBoard,
}

impl Bench {
    /// After RESET.
    fn cold(id: u8) -> Self {
        Bench { lapic: Lapic::new(id), board: TestBoard::default() }
    }

    /// Enabled by software.
    fn new() -> Self {
        let mut bench = Bench::cold(1);
        bench.write(SVR, ENABLED);
        bench
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.lapic.read(offset, &self.board)
    }

    fn write(&mut self, offset: u32, value: u32) -> Option<LapicOutput> {
        self.lapic.write(offset, value, &mut self.board)
    }

    fn at(&mut self, now_ns: u64) -> &mut Self {
        self.board.now_ns = now_ns;
        self.lapic.wake(&self.board);
        self
    }

    fn fixed(&mut self, vector: u8) {
        self.accept(DeliveryMode::Fixed, vector, false);
    }

    fn level(&mut self, vector: u8) {
        self.accept(DeliveryMode::Fixed, vector, true);
    }

    fn accept(&mut self, mode: DeliveryMode, vector: u8, level: bool) -> Option<CpuSignal> {
        self.lapic.accept(&ApicMessage { mode, vector, level, assert: true, destination: Destination::All })
    }

    fn taken(&mut self) -> Option<Acknowledged> {
        self.lapic.intr().then(|| self.lapic.acknowledge())
    }

    /// The vectors that a 256-bit register at `first` has.
    fn vectors(&mut self, first: u32) -> Vec<u32> {
        let words: Vec<u32> = (0..8).map(|word| self.read(first + 16 * word)).collect();
        (0..256).filter(|vector| words[vector / 32] >> (vector % 32) & 1 != 0).map(|vector| vector as u32).collect()
    }

    fn requested(&mut self) -> Vec<u32> {
        self.vectors(0x200)
    }

    fn in_service(&mut self) -> Vec<u32> {
        self.vectors(0x100)
    }

    /// What ESR has gathered.
    fn errors(&mut self) -> u32 {
        self.write(ESR, 0);
        self.read(ESR)
    }
}

fn message(mode: DeliveryMode, vector: u8, destination: Destination) -> Option<LapicOutput> {
    Some(LapicOutput::Message(ApicMessage { mode, vector, level: false, assert: true, destination }))
}

#[test]
fn registers_have_the_manuals_values_after_reset() {
    for (offset, value) in [
        (ID, 0x0300_0000),
        (0x30, 0x0005_0014),
        (TPR, 0),
        (PPR, 0),
        (LDR, 0),
        (DFR, 0xffff_ffff),
        (SVR, 0xff),
        (ESR, 0),
        (ICR_LOW, 0),
        (ICR_HIGH, 0),
        (LVT_TIMER, MASKED),
        (0x330, MASKED),
        (0x340, MASKED),
        (LVT_LINT0, MASKED),
        (LVT_LINT1, MASKED),
        (LVT_ERROR, MASKED),
        (INITIAL, 0),
        (CURRENT, 0),
        (DIVIDE, 0),
    ] {
        assert_eq!(Bench::cold(3).read(offset), value, "{offset:#x}");
    }
    let mut bench = Bench::cold(3);
    assert!(bench.vectors(0x100).is_empty() && bench.vectors(0x180).is_empty() && bench.vectors(0x200).is_empty());
}

#[test]
fn reserved_and_read_only_bits_keep_their_value() {
    for (offset, value) in [
        (ID, 0xff00_0000),
        (0x30, 0x0005_0014),
        (TPR, 0xff),
        (EOI, 0),
        (LDR, 0xff00_0000),
        (DFR, 0xffff_ffff),
        (SVR, 0x3ff),
        (ICR_HIGH, 0xff00_0000),
        (LVT_TIMER, 0x3_00ff),
        (0x330, 0x1_07ff),
        (0x340, 0x1_07ff),
        (LVT_LINT0, 0x1_a7ff),
        (LVT_LINT1, 0x1_a7ff),
        (LVT_ERROR, 0x1_00ff),
        (INITIAL, !0),
        (DIVIDE, 0b1011),
        (0x100, 0),
        (0x1f0, 0),
        (0x270, 0),
    ] {
        let mut bench = Bench::new();
        bench.write(offset, !0);
        assert_eq!(bench.read(offset), value, "{offset:#x}");
        assert_eq!(bench.errors(), 0, "{offset:#x} is a register");
    }
    let mut bench = Bench::new();
    bench.write(DFR, 0);
    assert_eq!(bench.read(DFR), 0x0fff_ffff);
    bench.write(ICR_LOW, 0x000f_ffff & !0x700 | 0xff);
    assert_eq!(bench.read(ICR_LOW), 0xc_c8ff, "delivery status is idle");
}

#[test]
fn access_to_a_register_that_there_is_not_is_an_error() {
    for offset in [0x000, 0x010, 0x040, 0x070, 0x290, 0x2f0, 0x3a0, 0x3d0, 0x3f0, 0xff0] {
        let mut bench = Bench::new();
        assert_eq!(bench.read(offset), 0);
        assert_eq!(bench.errors(), 1 << 7, "read of {offset:#x}");
        bench.write(offset, 1);
        assert_eq!(bench.errors(), 1 << 7, "write of {offset:#x}");
    }
    let mut bench = Bench::new();
    assert_eq!((bench.read(0x90), bench.read(0xc0)), (0, 0), "arbitration priority, remote read");
    assert_eq!(bench.read(0x84), 0, "between two registers");
    assert_eq!(bench.errors(), 0);
}

#[test]
fn reset_gives_the_id_back_and_init_keeps_it() {
    let mut bench = Bench::cold(2);
    bench.write(ID, 0x0700_0000);
    bench.write(SVR, ENABLED);
    bench.write(TPR, 0x40);
    bench.fixed(0x50);
    bench.lapic.init();
    assert_eq!((bench.read(ID), bench.read(SVR), bench.read(TPR)), (0x0700_0000, 0xff, 0));
    assert!(bench.requested().is_empty());
    bench.lapic.reset();
    assert_eq!(bench.read(ID), 0x0200_0000);
}

#[test]
fn the_first_one_lets_the_pics_through_after_reset() {
    let mut bench = Bench::cold(0);
    bench.lapic.set_lint(0, true);
    assert_eq!(bench.taken(), Some(Acknowledged::External));
    bench.lapic.set_lint(0, false);
    assert_eq!(bench.taken(), None);
    let mut other = Bench::cold(1);
    other.lapic.set_lint(0, true);
    assert_eq!(other.taken(), None);
}

#[test]
fn the_highest_vector_is_taken_first_and_a_lower_class_waits_for_its_end() {
    let mut bench = Bench::new();
    for vector in [0x31, 0x52, 0x51, 0x30] {
        bench.fixed(vector);
    }
    assert_eq!(bench.requested(), [0x30, 0x31, 0x51, 0x52]);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x52)));
    assert_eq!((bench.in_service(), bench.requested()), (vec![0x52], vec![0x30, 0x31, 0x51]));
    assert_eq!(bench.taken(), None, "0x51 is of the same class");
    bench.fixed(0x60);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x60)));
    assert_eq!(bench.in_service(), [0x52, 0x60]);
    let mut order = Vec::new();
    while !bench.in_service().is_empty() {
        assert_eq!(bench.write(EOI, 0), None, "an edge ends silently");
        while let Some(taken) = bench.taken() {
            order.push(taken);
        }
    }
    assert_eq!(order, [0x51, 0x31, 0x30].map(Acknowledged::Vector));
    assert!(bench.requested().is_empty());
}

#[test]
fn requests_of_the_same_vector_merge_in_irr_and_one_more_waits_beside_the_one_in_service() {
    let mut bench = Bench::new();
    bench.fixed(0x40);
    bench.fixed(0x40);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x40)));
    bench.fixed(0x40);
    assert_eq!((bench.in_service(), bench.requested()), (vec![0x40], vec![0x40]));
    bench.write(EOI, 0);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x40)));
    bench.write(EOI, 0);
    assert_eq!(bench.taken(), None);
}

#[test]
fn ppr_is_the_higher_of_the_task_and_what_is_in_service() {
    for (task, in_service, processor) in [
        (0x00, None, 0x00),
        (0x35, None, 0x35),
        (0x35, Some(0x41), 0x40),
        (0x45, Some(0x46), 0x45),
        (0x55, Some(0x46), 0x55),
        (0x0f, Some(0x1f), 0x10),
    ] {
        let mut bench = Bench::new();
        if let Some(vector) = in_service {
            bench.fixed(vector);
            bench.taken();
        }
        bench.write(TPR, task);
        assert_eq!(bench.read(PPR), processor, "{task:#x} {in_service:x?}");
        assert_eq!(u32::from(bench.lapic.processor_priority()), processor);
    }
}

#[test]
fn the_task_priority_holds_its_class_and_those_below_back() {
    let mut bench = Bench::new();
    bench.fixed(0x4f);
    for (task, taken) in [(0xff, false), (0x40, false), (0x4f, false), (0x3f, true)] {
        bench.write(TPR, task);
        assert_eq!(bench.lapic.intr(), taken, "{task:#x}");
    }
}

#[test]
fn an_acknowledge_that_finds_nothing_above_the_priority_is_spurious() {
    let mut bench = Bench::new();
    bench.write(SVR, 0x1ef);
    bench.fixed(0x40);
    assert!(bench.lapic.intr());
    bench.write(TPR, 0x50);
    assert_eq!(bench.lapic.acknowledge(), Acknowledged::Vector(0xef));
    assert_eq!((bench.in_service(), bench.requested()), (vec![], vec![0x40]), "it is not in service and needs no EOI");
}

#[test]
fn eoi_of_a_level_is_broadcast_with_its_vector() {
    let mut bench = Bench::new();
    bench.level(0x41);
    bench.fixed(0x62);
    assert_eq!(bench.vectors(0x180), [0x41]);
    bench.taken();
    assert_eq!(bench.write(EOI, 7), None);
    bench.taken();
    assert_eq!(bench.write(EOI, 0), Some(LapicOutput::EndOfInterrupt { vector: 0x41 }));
    assert_eq!(bench.write(EOI, 0), None, "nothing is in service");
    bench.fixed(0x41);
    assert_eq!(bench.vectors(0x180), [], "an edge takes the mark away");
}

#[test]
fn disabled_by_software_it_takes_no_vectors_but_nmi_init_smi_and_start_up() {
    let mut bench = Bench::cold(1);
    bench.fixed(0x40);
    bench.accept(DeliveryMode::LowestPriority, 0x41, false);
    bench.accept(DeliveryMode::ExtInt, 0, false);
    assert!(bench.requested().is_empty() && !bench.lapic.intr());
    for (mode, signal) in [
        (DeliveryMode::Nmi, CpuSignal::Nmi),
        (DeliveryMode::Init, CpuSignal::Init),
        (DeliveryMode::Smi, CpuSignal::Smi),
        (DeliveryMode::Startup, CpuSignal::Startup { vector: 0x9f }),
    ] {
        assert_eq!(bench.accept(mode, 0x9f, false), Some(signal));
    }
    assert!(bench.write(ICR_LOW, 0x0000_0040).is_some(), "it sends");
}

#[test]
fn disabling_it_masks_the_lvt_for_good_and_keeps_what_is_pending() {
    let mut bench = Bench::new();
    bench.write(LVT_TIMER, 0x2_0030);
    bench.write(LVT_LINT0, 0x700);
    bench.fixed(0x50);
    bench.write(SVR, 0xff);
    assert_eq!((bench.read(LVT_TIMER), bench.read(LVT_LINT0)), (0x3_0030, 0x1_0700));
    bench.write(LVT_TIMER, 0x31);
    assert_eq!(bench.read(LVT_TIMER), 0x1_0031, "the mask stays");
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x50)));
    bench.write(SVR, ENABLED);
    assert_eq!(bench.read(LVT_TIMER), 0x1_0031, "software takes the mask away");
}

#[test]
fn icr_messages_say_how_and_whom() {
    use DeliveryMode::*;
    for (high, low, sent) in [
        (0x0200_0000, 0x0_4040, message(Fixed, 0x40, Destination::Physical(2))),
        (0x0300_0000, 0x0_0840, message(Fixed, 0x40, Destination::Logical(3))),
        (0x0300_0000, 0x0_0941, message(LowestPriority, 0x41, Destination::Logical(3))),
        (0xff00_0000, 0x0_4200, message(Smi, 0, Destination::Physical(0xff))),
        (0x0100_0000, 0x0_4402, message(Nmi, 2, Destination::Physical(1))),
        (0x0100_0000, 0x0_c500, message(Init, 0, Destination::Physical(1))),
        (0x0100_0000, 0x0_4608, message(Startup, 8, Destination::Physical(1))),
        (0x0900_0000, 0x4_40f0, message(Fixed, 0xf0, Destination::Myself)),
        (0, 0x8_40f1, message(Fixed, 0xf1, Destination::All)),
        (0, 0xc_4500, message(Init, 0, Destination::Others)),
        (0, 0xc_c0f1, message(Fixed, 0xf1, Destination::Others)),
        (0, 0x0_4340, None),
        (0, 0x0_4740, None),
    ] {
        let mut bench = Bench::new();
        bench.write(ICR_HIGH, high);
        assert_eq!(bench.write(ICR_LOW, low), sent, "{low:#x}");
        assert_eq!(bench.read(ICR_LOW), low, "delivery status: idle");
    }
}

#[test]
fn init_that_is_let_go_reaches_nobody() {
    let mut bench = Bench::new();
    bench.write(ICR_HIGH, 0x0200_0000);
    let Some(LapicOutput::Message(message)) = bench.write(ICR_LOW, 0x8500) else { panic!("a message") };
    assert!(!message.assert);
    assert_eq!(bench.lapic.accept(&message), None);
}

#[test]
fn physical_destinations_match_the_id_or_all() {
    let mut bench = Bench::cold(5);
    for (id, addressed) in [(5, true), (4, false), (0xff, true), (0, false)] {
        assert_eq!(bench.lapic.is_addressed(Destination::Physical(id), None), addressed, "{id}");
    }
    bench.write(ID, 0x0900_0000);
    assert!(bench.lapic.is_addressed(Destination::Physical(9), Some(0)));
}

#[test]
fn logical_destinations_match_bits_in_the_flat_model_and_a_cluster_in_the_other() {
    const FLAT: u32 = 0xf000_0000;
    const CLUSTER: u32 = 0;
    for (model, ldr, address, addressed) in [
        (FLAT, 0x02, 0x02, true),
        (FLAT, 0x02, 0x07, true),
        (FLAT, 0x02, 0x0d, false),
        (FLAT, 0x00, 0x7f, false),
        (FLAT, 0x00, 0xff, true),
        (CLUSTER, 0x12, 0x12, true),
        (CLUSTER, 0x12, 0x1f, true),
        (CLUSTER, 0x12, 0x1d, false),
        (CLUSTER, 0x12, 0x22, false),
        (CLUSTER, 0x12, 0xff, true),
        (0x3000_0000, 0x12, 0x12, false),
        (0x3000_0000, 0x12, 0xff, true),
    ] {
        let mut bench = Bench::new();
        bench.write(DFR, model);
        bench.write(LDR, ldr << 24);
        let destination = Destination::Logical(address);
        assert_eq!(bench.lapic.is_addressed(destination, None), addressed, "{model:#x} {ldr:#x} {address:#x}");
    }
}

#[test]
fn shorthands_look_at_the_sender_alone() {
    let lapic = Lapic::new(1);
    for (destination, from_itself, from_another) in
        [(Destination::Myself, true, false), (Destination::All, true, true), (Destination::Others, false, true)]
    {
        assert_eq!(lapic.is_addressed(destination, Some(1)), from_itself, "{destination:?}");
        assert_eq!(lapic.is_addressed(destination, Some(0)), from_another, "{destination:?}");
    }
}

#[test]
fn shorthands_do_not_mind_the_id_that_software_gives() {
    let mut bench = Bench::cold(1);
    bench.write(ID, 0);
    assert!(bench.lapic.is_addressed(Destination::Physical(0), Some(1)));
    assert!(bench.lapic.is_addressed(Destination::Myself, Some(1)));
    assert!(bench.lapic.is_addressed(Destination::Others, Some(0)), "another one with the same ID");
}

#[test]
fn esr_shows_what_had_gathered_when_it_was_written() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(ICR_LOW, 0x4_000f), None, "an illegal vector is not sent");
    assert_eq!(bench.read(ESR), 0, "not before it is written");
    bench.fixed(0x0f);
    assert!(bench.requested().is_empty());
    bench.write(ESR, 0xffff_ffff);
    assert_eq!(bench.read(ESR), 1 << 5 | 1 << 6);
    assert_eq!(bench.read(ESR), 1 << 5 | 1 << 6, "reading clears nothing");
    bench.write(ESR, 0);
    assert_eq!(bench.read(ESR), 0);
}

#[test]
fn the_first_error_interrupts_and_esr_arms_the_next() {
    let mut bench = Bench::new();
    bench.write(LVT_ERROR, 0xfe);
    bench.write(ICR_LOW, 0x01);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0xfe)));
    bench.write(EOI, 0);
    bench.fixed(0x02);
    assert_eq!(bench.taken(), None);
    bench.write(ESR, 0);
    bench.fixed(0x02);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0xfe)));
    bench.write(EOI, 0);
    bench.write(ESR, 0);
    bench.write(LVT_ERROR, MASKED | 0xfe);
    bench.fixed(0x02);
    assert_eq!(bench.taken(), None, "masked");
}

#[test]
fn an_error_entry_with_an_illegal_vector_is_one_more_error() {
    let mut bench = Bench::new();
    bench.write(LVT_ERROR, 0x03);
    bench.write(ICR_LOW, 0x01);
    assert_eq!(bench.taken(), None);
    assert_eq!(bench.errors(), 1 << 5 | 1 << 6);
}

#[test]
fn the_timer_divides_a_clock_of_one_tick_a_nanosecond() {
    for (code, divisor) in
        [(0b0000, 2), (0b0001, 4), (0b0010, 8), (0b0011, 16), (0b1000, 32), (0b1001, 64), (0b1010, 128), (0b1011, 1)]
    {
        let mut bench = Bench::new();
        bench.at(1000).write(DIVIDE, code);
        bench.write(LVT_TIMER, 0x30);
        bench.write(INITIAL, 100);
        assert_eq!(bench.lapic.deadline_ns(), Some(1000 + 100 * divisor), "{code:#b}");
        assert_eq!(bench.at(1000 + 40 * divisor).read(CURRENT), 60, "{code:#b}");
        assert_eq!(bench.at(1000 + 40 * divisor + divisor - 1).read(CURRENT), 60, "{code:#b}");
    }
}

#[test]
fn a_one_shot_interrupts_once_and_rests_at_zero() {
    let mut bench = Bench::new();
    bench.write(DIVIDE, 0b1011);
    bench.write(LVT_TIMER, 0x30);
    bench.write(INITIAL, 500);
    assert_eq!(bench.at(499).taken(), None);
    assert_eq!(bench.at(500).taken(), Some(Acknowledged::Vector(0x30)));
    bench.write(EOI, 0);
    assert_eq!((bench.lapic.deadline_ns(), bench.read(CURRENT), bench.read(INITIAL)), (None, 0, 500));
    assert_eq!(bench.at(5000).taken(), None);
    bench.write(INITIAL, 10);
    assert_eq!(bench.lapic.deadline_ns(), Some(5010));
    bench.write(INITIAL, 0);
    assert_eq!(bench.lapic.deadline_ns(), None, "a count of 0 stops it");
}

#[test]
fn a_periodic_timer_goes_on_from_the_initial_count() {
    let mut bench = Bench::new();
    bench.write(DIVIDE, 0b1011);
    bench.write(LVT_TIMER, 0x2_0030);
    bench.write(INITIAL, 500);
    for period in 1..=3 {
        assert_eq!(bench.lapic.deadline_ns(), Some(period * 500));
        assert_eq!(bench.at(period * 500).taken(), Some(Acknowledged::Vector(0x30)));
        assert_eq!(bench.read(CURRENT), 500);
        bench.write(EOI, 0);
    }
    assert_eq!(bench.at(10_123).read(CURRENT), 500 - 123, "periods that nobody woke it for are skipped");
    assert_eq!(bench.lapic.deadline_ns(), Some(10_500));
    bench.taken();
    assert_eq!(bench.taken(), None, "and merge into one request");
}

#[test]
fn how_often_the_timer_is_woken_changes_nothing() {
    let mut bench = Bench::new();
    bench.write(LVT_TIMER, 0x2_0030);
    bench.write(INITIAL, 77);
    let mut eager = Lapic::clone(&bench.lapic);
    for now_ns in 0..1000 {
        eager.wake(&TestBoard { now_ns, ..TestBoard::default() });
    }
    bench.at(999);
    assert_eq!(bench.lapic, eager);
}

#[test]
fn a_masked_timer_counts_without_a_word_and_the_end_is_not_made_up_for() {
    let mut bench = Bench::new();
    bench.write(DIVIDE, 0b1011);
    bench.write(INITIAL, 500);
    assert_eq!(bench.lapic.deadline_ns(), None);
    assert_eq!(bench.at(200).read(CURRENT), 300);
    bench.at(600).write(LVT_TIMER, 0x30);
    assert_eq!((bench.taken(), bench.lapic.deadline_ns()), (None, None));
}

#[test]
fn a_new_divisor_goes_on_from_the_current_count() {
    let mut bench = Bench::new();
    bench.write(DIVIDE, 0b1011);
    bench.write(LVT_TIMER, 0x30);
    bench.write(INITIAL, 100);
    bench.at(40).write(DIVIDE, 0b0000);
    assert_eq!(bench.read(CURRENT), 60);
    assert_eq!(bench.lapic.deadline_ns(), Some(40 + 120));
}

#[test]
fn the_timer_is_worth_waiting_for_only_if_it_can_interrupt() {
    let mut bench = Bench::new();
    assert!(!bench.lapic.would_interrupt_timer());
    bench.write(INITIAL, 100);
    assert!(!bench.lapic.would_interrupt_timer(), "masked");
    bench.write(LVT_TIMER, 0x30);
    assert!(bench.lapic.would_interrupt_timer());
    bench.write(TPR, 0x30);
    assert!(!bench.lapic.would_interrupt_timer(), "held back");
    bench.write(TPR, 0);
    bench.write(LVT_TIMER, 0x08);
    assert!(!bench.lapic.would_interrupt_timer(), "an illegal vector");
}

#[test]
fn local_pins_do_what_their_entries_say() {
    for (entry, signal, taken) in [
        (0x0040, None, Some(Acknowledged::Vector(0x40))),
        (0x8040, None, Some(Acknowledged::Vector(0x40))),
        (0x0200, Some(CpuSignal::Smi), None),
        (0x0400, Some(CpuSignal::Nmi), None),
        (0x8400, Some(CpuSignal::Nmi), None),
        (0x0500, Some(CpuSignal::Init), None),
        (0x0700, None, Some(Acknowledged::External)),
        (0x0340, None, None),
        (MASKED | 0x0400, None, None),
        (MASKED | 0x0700, None, None),
        (MASKED | 0x8040, None, None),
    ] {
        for (pin, register) in [(0, LVT_LINT0), (1, LVT_LINT1)] {
            let mut bench = Bench::new();
            bench.write(register, entry);
            assert_eq!(bench.lapic.set_lint(pin, true), signal, "{entry:#x} at LINT{pin}");
            assert_eq!(bench.lapic.set_lint(pin, true), None, "no further edge");
            assert_eq!(bench.taken(), taken, "{entry:#x} at LINT{pin}");
        }
    }
}

#[test]
fn an_active_low_pin_is_turned_round() {
    let mut bench = Bench::new();
    bench.lapic.set_lint(1, true);
    bench.write(LVT_LINT1, 0x2400);
    assert_eq!(bench.lapic.set_lint(1, false), Some(CpuSignal::Nmi));
    assert_eq!(bench.lapic.set_lint(1, true), None);
}

#[test]
fn a_level_at_lint0_asks_again_after_its_end() {
    let mut bench = Bench::new();
    bench.lapic.set_lint(0, true);
    bench.write(LVT_LINT0, 0x8040);
    assert_eq!(bench.read(LVT_LINT0), 0xc040, "remote IRR");
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x40)));
    bench.lapic.set_lint(0, true);
    assert!(bench.requested().is_empty(), "not before the end of the last one");
    bench.write(EOI, 0);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x40)));
    bench.lapic.set_lint(0, false);
    bench.write(EOI, 0);
    assert_eq!((bench.taken(), bench.read(LVT_LINT0)), (None, 0x8040));
}

#[test]
fn extint_ignores_priorities_and_waits_behind_a_vector() {
    let mut bench = Bench::new();
    bench.write(TPR, 0xff);
    bench.accept(DeliveryMode::ExtInt, 0, false);
    assert_eq!(bench.taken(), Some(Acknowledged::External));
    assert_eq!(bench.taken(), None, "a message is one interrupt");
    bench.write(TPR, 0);
    bench.write(LVT_LINT0, 0x700);
    bench.lapic.set_lint(0, true);
    bench.fixed(0x40);
    assert_eq!(bench.taken(), Some(Acknowledged::Vector(0x40)));
    assert_eq!(bench.taken(), Some(Acknowledged::External));
    assert_eq!(bench.taken(), Some(Acknowledged::External), "a pin as long as it is high");
    assert_eq!(bench.in_service(), [0x40], "it needs no EOI");
}
