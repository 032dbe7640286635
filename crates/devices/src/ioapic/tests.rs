use super::*;

struct Bench(IoApic);

impl Bench {
    fn new() -> Self {
        Bench(IoApic::new(0))
    }

    fn read(&mut self, register: u32) -> u32 {
        self.0.write(0x00, register);
        self.0.read(0x10)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.write(0x00, register);
        self.0.write(0x10, value);
    }

    /// Writes both halves of a redirection entry, the destination first.
    fn redirect(&mut self, pin: u32, destination: u8, low: u32) {
        self.write(0x11 + 2 * pin, u32::from(destination) << 24);
        self.write(0x10 + 2 * pin, low);
    }

    fn sent(&mut self) -> Vec<u8> {
        self.0.take_messages().iter().map(|(_, message)| message.vector).collect()
    }
}

#[test]
fn registers_have_the_data_sheets_values_after_reset() {
    let mut bench = Bench(IoApic::new(9));
    assert_eq!([0, 1, 2].map(|register| bench.read(register)), [0x0900_0000, 0x0017_0011, 0x0900_0000]);
    for pin in 0..24 {
        assert_eq!((bench.read(0x10 + 2 * pin), bench.read(0x11 + 2 * pin)), (0x1_0000, 0), "{pin}");
    }
    assert_eq!([0x03, 0x0f, 0x40, 0xff].map(|register| bench.read(register)), [0; 4], "what there is not");
}

#[test]
fn reserved_and_read_only_bits_keep_their_value() {
    let mut bench = Bench::new();
    for (register, value) in
        [(0x00, 0x0f00_0000), (0x01, 0x0017_0011), (0x02, 0x0f00_0000), (0x10, 0x1_afff), (0x3f, 0xff00_0000)]
    {
        bench.write(register, !0);
        assert_eq!(bench.read(register), value, "{register:#x}");
    }
    bench.0.write(0x00, 0xffff_ff21);
    assert_eq!(bench.0.read(0x00), 0x21, "the selection has eight bits");
    bench.0.write(0x20, !0);
    assert_eq!(bench.0.read(0x20), 0, "between the registers of the page");
}

#[test]
fn an_edge_gives_one_message_and_the_next_needs_the_line_to_fall() {
    let mut bench = Bench::new();
    bench.redirect(4, 2, 0x44);
    bench.0.set_irq(4, true);
    let message = ApicMessage {
        mode: DeliveryMode::Fixed,
        vector: 0x44,
        level: false,
        assert: true,
        destination: Destination::Physical(2),
    };
    assert_eq!(bench.0.take_messages(), [(4, message)]);
    bench.0.set_irq(4, true);
    assert_eq!(bench.sent(), []);
    bench.0.set_irq(4, false);
    bench.0.set_irq(4, true);
    assert_eq!(bench.sent(), [0x44]);
}

#[test]
fn an_edge_at_a_masked_input_is_lost() {
    let mut bench = Bench::new();
    bench.redirect(4, 0, 0x1_0044);
    bench.0.set_irq(4, true);
    bench.redirect(4, 0, 0x44);
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_level_sends_once_until_its_end_and_again_while_it_stays() {
    let mut bench = Bench::new();
    bench.redirect(10, 0x03, 0x8849);
    bench.0.set_irq(10, true);
    let sent = bench.0.take_messages();
    assert_eq!(sent.len(), 1);
    let (pin, message) = sent[0];
    assert_eq!((pin, message.level, message.destination), (10, true, Destination::Logical(3)));
    assert_eq!(bench.read(0x10 + 20), 0xc849, "remote IRR");
    assert_eq!(bench.sent(), []);
    bench.0.end_of_interrupt(0x48);
    assert_eq!(bench.sent(), [], "another one's end");
    bench.0.end_of_interrupt(0x49);
    assert_eq!(bench.sent(), [0x49]);
    bench.0.set_irq(10, false);
    bench.0.end_of_interrupt(0x49);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.read(0x10 + 20), 0x8849);
}

#[test]
fn a_level_that_nobody_takes_is_due_again() {
    let mut bench = Bench::new();
    bench.redirect(10, 3, 0x8049);
    bench.0.set_irq(10, true);
    assert_eq!(bench.sent(), [0x49]);
    bench.0.not_accepted(10);
    assert_eq!(bench.read(0x10 + 20), 0x8049, "no remote IRR");
    assert_eq!(bench.sent(), [0x49]);
    bench.0.not_accepted(10);
    bench.0.set_irq(10, false);
    assert_eq!(bench.sent(), [], "it has gone meanwhile");
}

#[test]
fn a_level_at_a_masked_input_is_sent_when_the_mask_goes() {
    let mut bench = Bench::new();
    bench.redirect(10, 0, 0x1_8049);
    bench.0.set_irq(10, true);
    assert_eq!(bench.sent(), []);
    bench.redirect(10, 0, 0x8049);
    assert_eq!(bench.sent(), [0x49]);
}

#[test]
fn a_switch_to_edge_ends_a_level() {
    let mut bench = Bench::new();
    bench.redirect(10, 0, 0x8049);
    bench.0.set_irq(10, true);
    assert_eq!(bench.sent(), [0x49]);
    bench.redirect(10, 0, 0x1_0049);
    bench.redirect(10, 0, 0x8049);
    assert_eq!(bench.sent(), [0x49]);
}

#[test]
fn remote_irr_cannot_be_written() {
    let mut bench = Bench::new();
    bench.redirect(10, 0, 0xc049);
    bench.0.set_irq(10, true);
    assert_eq!(bench.sent(), [0x49]);
    bench.redirect(10, 0, 0x8049);
    assert_eq!(bench.sent(), []);
}

#[test]
fn an_active_low_input_is_turned_round() {
    let mut bench = Bench::new();
    bench.0.set_irq(5, true);
    bench.0.set_irq(6, true);
    bench.redirect(5, 0, 0xa055);
    bench.redirect(6, 0, 0x2056);
    assert_eq!(bench.sent(), []);
    bench.0.set_irq(5, false);
    bench.0.set_irq(6, false);
    assert_eq!(bench.sent(), [0x55, 0x56]);
}

#[test]
fn each_delivery_mode_travels_and_all_but_vectors_are_edges() {
    for (bits, mode, level) in [
        (0, Some(DeliveryMode::Fixed), true),
        (1, Some(DeliveryMode::LowestPriority), true),
        (2, Some(DeliveryMode::Smi), false),
        (3, None, false),
        (4, Some(DeliveryMode::Nmi), false),
        (5, Some(DeliveryMode::Init), false),
        (6, None, false),
        (7, Some(DeliveryMode::ExtInt), false),
    ] {
        let mut bench = Bench::new();
        bench.redirect(0, 0, 0x8040 | bits << 8);
        assert_eq!(bench.0.would_interrupt(0), mode.is_some(), "{bits}");
        bench.0.set_irq(0, true);
        let sent = bench.0.take_messages();
        assert_eq!(sent.first().map(|(_, message)| message.mode), mode, "{bits}");
        assert_eq!(sent.iter().any(|(_, message)| message.level), level, "{bits}");
        assert_eq!(bench.0.take_messages(), [], "{bits}");
    }
}

#[test]
fn messages_come_in_the_order_of_the_inputs() {
    let mut bench = Bench::new();
    for (pin, low) in [(3, 0x33), (9, 0x8090), (1, 0x99)] {
        bench.redirect(pin, 0, low);
    }
    for pin in [9, 3, 1] {
        bench.0.set_irq(pin, true);
    }
    assert_eq!(bench.sent(), [0x99, 0x33, 0x90]);
}

#[test]
fn an_input_is_worth_waiting_for_unless_masked_or_unserved() {
    let mut bench = Bench::new();
    assert!(!bench.0.would_interrupt(7));
    bench.redirect(7, 0, 0x8077);
    assert!(bench.0.would_interrupt(7));
    bench.0.set_irq(7, true);
    bench.sent();
    assert!(!bench.0.would_interrupt(7));
}

#[test]
fn reset_masks_everything_and_leaves_the_lines_alone() {
    let mut bench = Bench::new();
    bench.redirect(7, 0, 0x8077);
    bench.write(0, 0x0500_0000);
    bench.0.set_irq(7, true);
    bench.0.reset();
    assert_eq!((bench.read(0), bench.read(0x1e), bench.sent()), (0, 0x1_0000, vec![]));
    bench.redirect(7, 0, 0x8077);
    assert_eq!(bench.sent(), [0x77]);
}
