use super::*;

const EOI: u8 = 0x20;

/// Initialized as PC firmware does: vectors 0x08 and 0x70, nothing masked.
fn ready() -> PicPair {
    ready_with_icw4(0x01)
}

fn ready_with_icw4(icw4: u8) -> PicPair {
    let mut pics = PicPair::default();
    for (offset, master, slave) in [(0, 0x11, 0x11), (1, 0x08, 0x70), (1, 0x04, 0x02), (1, icw4, 0x01)] {
        pics.write_master(offset, master);
        pics.write_slave(offset, slave);
    }
    pics
}

fn pulse(pics: &mut PicPair, irq: u8) {
    pics.set_irq(irq, false);
    pics.set_irq(irq, true);
}

#[test]
fn an_edge_is_requested_once_and_served_once() {
    let mut pics = ready();
    pics.set_irq(0, true);
    assert!(pics.intr());
    assert_eq!(pics.acknowledge(), 0x08);
    assert_eq!((pics.irr(), pics.isr()), (0, 1));
    pics.write_master(0, EOI);
    assert!(!pics.intr(), "the line is still high, but there was no new edge");
    pulse(&mut pics, 0);
    assert!(pics.intr());
}

#[test]
fn an_edge_that_falls_before_the_acknowledge_is_lost_and_gives_spurious_irq_7() {
    let mut pics = ready();
    pics.set_irq(4, true);
    pics.set_irq(4, false);
    assert!(!pics.intr());
    assert_eq!(pics.acknowledge(), 0x0f);
    assert_eq!(pics.isr(), 0, "a spurious interrupt is not in service");
}

#[test]
fn a_slave_without_a_request_answers_with_spurious_irq_15() {
    let mut pics = ready();
    pics.set_irq(10, true);
    // Mask the slave's line between the master's latch and the acknowledge, with the master's
    // cascade latch forced high the way a race on the wire would.
    pics.slave.write(1, 0xff);
    assert_eq!(pics.acknowledge(), 0x77);
    assert_eq!(pics.isr(), 1 << 2, "only the master takes it for real");
}

#[test]
fn a_level_triggered_line_asks_again_until_it_falls() {
    let mut pics = ready();
    pics.write_elcr(1, 1 << 2);
    pics.set_irq(10, true);
    assert_eq!(pics.acknowledge(), 0x72);
    pics.write_slave(0, EOI);
    pics.write_master(0, EOI);
    assert!(pics.intr());
    pics.set_irq(10, false);
    assert!(!pics.intr());
}

#[test]
fn lines_that_must_be_edge_triggered_stay_so() {
    let mut pics = ready();
    pics.write_elcr(0, 0xff);
    pics.write_elcr(1, 0xff);
    assert_eq!((pics.read_elcr(0), pics.read_elcr(1)), (0xf8, 0xde));
}

#[test]
fn a_higher_priority_interrupts_a_lower_one_and_not_the_other_way_round() {
    let mut pics = ready();
    pics.set_irq(4, true);
    assert_eq!(pics.acknowledge(), 0x0c);
    pics.set_irq(5, true);
    assert!(!pics.intr());
    pics.set_irq(1, true);
    assert_eq!(pics.acknowledge(), 0x09);
    pics.write_master(0, EOI); // ends 1, the highest in service
    assert_eq!(pics.isr(), 1 << 4);
    assert!(!pics.intr());
    pics.write_master(0, EOI);
    assert_eq!(pics.acknowledge(), 0x0d);
}

#[test]
fn the_mask_holds_a_request_back_without_losing_it() {
    let mut pics = ready();
    pics.write_master(1, 1 << 3);
    pics.set_irq(3, true);
    assert!(!pics.intr());
    assert_eq!(pics.read_master(0), 1 << 3);
    assert_eq!(pics.read_master(1), 1 << 3);
    pics.write_master(1, 0);
    assert_eq!(pics.acknowledge(), 0x0b);
}

#[test]
fn the_slave_sits_between_irq_1_and_irq_3() {
    let mut pics = ready();
    for irq in [3, 8, 15, 1] {
        pics.set_irq(irq, true);
    }
    let mut served = Vec::new();
    while pics.intr() {
        served.push(pics.acknowledge());
        pics.write_slave(0, EOI);
        pics.write_master(0, EOI);
    }
    assert_eq!(served, [0x09, 0x70, 0x77, 0x0b]);
}

#[test]
fn a_second_slave_request_waits_for_the_masters_end_of_interrupt() {
    let mut pics = ready();
    pics.set_irq(12, true);
    assert_eq!(pics.acknowledge(), 0x74);
    pics.set_irq(9, true);
    assert!(!pics.intr(), "IRQ 2 is in service at the master");
    pics.write_slave(0, EOI);
    pics.write_master(0, EOI);
    assert_eq!(pics.acknowledge(), 0x71);
}

#[test]
fn special_fully_nested_mode_lets_a_slaves_higher_request_through() {
    let mut pics = ready_with_icw4(0x11);
    pics.set_irq(12, true);
    assert_eq!(pics.acknowledge(), 0x74);
    pics.set_irq(3, true);
    assert!(!pics.intr(), "a lower line of the master stays below");
    pics.set_irq(9, true);
    assert_eq!(pics.acknowledge(), 0x71);
}

#[test]
fn automatic_end_of_interrupt_leaves_nothing_in_service() {
    let mut pics = ready_with_icw4(0x03);
    pics.set_irq(5, true);
    assert_eq!(pics.acknowledge(), 0x0d);
    assert_eq!(pics.isr(), 0);
}

#[test]
fn rotation_in_automatic_eoi_mode_gives_the_served_line_the_lowest_priority() {
    let mut pics = ready_with_icw4(0x03);
    pics.write_master(0, 0x80);
    pics.set_irq(3, true);
    assert_eq!(pics.acknowledge(), 0x0b);
    pulse(&mut pics, 3);
    pics.set_irq(7, true);
    assert_eq!(pics.acknowledge(), 0x0f, "7 now comes before 3");
    pics.write_master(0, 0x00);
    assert_eq!(pics.acknowledge(), 0x0b);
}

#[test]
fn rotating_end_of_interrupt_gives_every_line_its_turn() {
    let mut pics = ready();
    let mut served = Vec::new();
    for _ in 0..4 {
        pulse(&mut pics, 0);
        pulse(&mut pics, 1);
        served.push(pics.acknowledge());
        pics.write_master(0, 0xa0);
    }
    assert_eq!(served, [0x08, 0x09, 0x08, 0x09]);
}

#[test]
fn set_priority_and_rotate_on_specific_eoi_choose_the_lowest_line() {
    let mut pics = ready();
    pics.write_master(0, 0xc0 | 4); // lowest is 4, so 5 is the highest
    pics.set_irq(0, true);
    pics.set_irq(5, true);
    assert_eq!(pics.acknowledge(), 0x0d);
    pics.write_master(0, 0xe0 | 7); // ends 7 (not in service); lowest is 7 again
    assert_eq!(pics.acknowledge(), 0x08);
}

#[test]
fn a_specific_end_of_interrupt_ends_that_level_only() {
    let mut pics = ready();
    pics.set_irq(6, true);
    pics.acknowledge();
    pics.set_irq(1, true);
    pics.acknowledge();
    pics.write_master(0, 0x60 | 6);
    assert_eq!(pics.isr(), 1 << 1);
}

#[test]
fn special_mask_mode_opens_all_other_unmasked_levels() {
    let mut pics = ready();
    pics.set_irq(1, true);
    pics.acknowledge();
    pics.set_irq(6, true);
    assert!(!pics.intr());
    pics.write_master(1, 1 << 1);
    pics.write_master(0, 0x68);
    assert_eq!(pics.acknowledge(), 0x0e);
    pics.write_master(0, EOI);
    assert_eq!(pics.isr(), 1 << 1, "a masked level is spared by the non-specific end");
    pics.write_master(0, 0x48);
    pics.write_master(0, EOI);
    assert_eq!(pics.isr(), 0);
}

#[test]
fn a_poll_serves_the_request_without_the_processor() {
    let mut pics = ready();
    pics.set_irq(6, true);
    pics.write_master(0, 0x0c);
    assert_eq!(pics.read_master(0), 0x86);
    assert_eq!(pics.isr(), 1 << 6);
    assert!(!pics.intr());
    pics.write_master(0, 0x0c);
    assert_eq!(pics.read_master(0), 0x07, "nothing above 6 is left");
    assert_eq!(pics.read_master(0), 0, "one read only is a poll");
}

#[test]
fn ocw3_chooses_the_register_that_the_command_port_reads() {
    let mut pics = ready();
    pics.set_irq(0, true);
    pics.acknowledge();
    pics.set_irq(1, true);
    pics.write_master(0, 0x0b);
    assert_eq!(pics.read_master(0), 1);
    pics.write_master(0, 0x0a);
    assert_eq!(pics.read_master(0), 2);
}

#[test]
fn initialization_forgets_masks_service_and_old_edges() {
    let mut pics = ready();
    pics.write_master(1, 0x55);
    pics.set_irq(0, true);
    pics.set_irq(1, true);
    pics.acknowledge();
    pics.write_master(0, 0x11);
    assert!(!pics.intr(), "quiet while it is being initialized");
    for word in [0x20, 0x04, 0x01] {
        pics.write_master(1, word);
    }
    assert_eq!((pics.imr(), pics.isr(), pics.irr()), (0, 0, 0));
    pulse(&mut pics, 0);
    assert_eq!(pics.acknowledge(), 0x20);
}

#[test]
fn a_single_chip_expects_no_third_word_and_may_do_without_the_fourth() {
    let mut pics = PicPair::default();
    pics.write_master(0, 0x12);
    pics.write_master(1, 0x40);
    pics.write_master(1, 0xfe); // already the mask
    pics.set_irq(0, true);
    assert_eq!(pics.acknowledge(), 0x40);
}

#[test]
fn a_line_would_interrupt_unless_it_is_masked_or_held_back_on_its_way() {
    let mut pics = ready();
    assert!(pics.would_interrupt(0) && pics.would_interrupt(9));
    pics.write_master(1, 1 << 2);
    assert!(pics.would_interrupt(0) && !pics.would_interrupt(9));
    pics.set_irq(0, true);
    pics.acknowledge();
    assert!(!pics.would_interrupt(3), "0 is in service");
    assert_eq!(pics.irr(), 0, "asking changes nothing");
}
