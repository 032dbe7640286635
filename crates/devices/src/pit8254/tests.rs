use super::*;
use crate::test_board::TestBoard;

/// A timer and a board whose time is moved by ticks of the timer.
struct Bench {
    pit: Pit8254,
    board: TestBoard,
    tick: u64,
}

impl Bench {
    fn new() -> Self {
        Bench { pit: Pit8254::new(), board: TestBoard::default(), tick: 0 }
    }

    fn run(&mut self, ticks: u64) -> &mut Self {
        self.tick += ticks;
        self.board.now_ns = Pit8254::ns_of(self.tick);
        self
    }

    fn control(&mut self, value: u8) -> &mut Self {
        self.pit.write(3, value, &mut self.board);
        self
    }

    fn byte(&mut self, value: u8) -> &mut Self {
        self.pit.write(0, value, &mut self.board);
        self
    }

    fn count(&mut self, value: u16) -> &mut Self {
        let [low, high] = value.to_le_bytes();
        self.byte(low).byte(high)
    }

    fn gate(&mut self, level: bool) -> &mut Self {
        self.pit.set_gate(0, level, &mut self.board);
        self
    }

    fn out(&mut self) -> bool {
        self.pit.output(0, &mut self.board)
    }

    fn read(&mut self) -> u8 {
        self.pit.read(0, &mut self.board)
    }

    fn read_count(&mut self) -> u16 {
        self.control(0x00);
        u16::from_le_bytes([self.read(), self.read()])
    }

    /// OUT after each of the next `ticks` ticks, `#` for high.
    fn wave(&mut self, ticks: u64) -> String {
        (0..ticks).map(|_| if self.run(1).out() { '#' } else { '_' }).collect()
    }
}

#[test]
fn the_clock_is_exact_after_a_day() {
    let day_ns = 86_400 * 1_000_000_000;
    assert_eq!(Pit8254::ticks_at(day_ns), 86_400 * PIT_HZ);
    for tick in [1, 2, 1193, 86_400 * PIT_HZ + 1] {
        let ns = Pit8254::ns_of(tick);
        assert_eq!((Pit8254::ticks_at(ns), Pit8254::ticks_at(ns - 1)), (tick, tick - 1));
    }
}

#[test]
fn output_waves_are_those_of_the_data_sheet() {
    // Control word, count, and OUT after each tick from the write of the count on.
    for (name, control, count, wave) in [
        ("terminal count after N + 1 ticks", 0x30, 4, "____########"),
        ("one-shot waits for its trigger", 0x32, 4, "############"),
        ("rate generator, low in the last tick of N", 0x34, 3, "##_##_##_##_"),
        ("rate generator of 2", 0x34, 2, "#_#_#_#_#_#_"),
        ("square wave, even", 0x36, 4, "##__##__##__"),
        ("square wave, odd", 0x36, 5, "###__###__##"),
        ("square wave of 3", 0x36, 3, "##_##_##_##_"),
        ("software strobe after N + 1 ticks", 0x38, 3, "###_########"),
        ("mode 6 is mode 2", 0x3c, 3, "##_##_##_##_"),
        ("mode 7 is mode 3", 0x3e, 4, "##__##__##__"),
    ] {
        let mut bench = Bench::new();
        bench.control(control).count(count);
        assert_eq!(bench.wave(12), wave, "{name}");
    }
}

#[test]
fn jumping_far_gives_the_same_as_going_tick_by_tick() {
    for control in [0x30, 0x34, 0x36, 0x38, 0x31, 0x35, 0x37] {
        for count in [0, 1, 2, 3, 7, 0x100] {
            let mut walker = Bench::new();
            let mut jumper = Bench::new();
            walker.control(control).count(count);
            jumper.control(control).count(count);
            for _ in 0..1000 {
                walker.run(1).out();
            }
            jumper.run(1000);
            assert_eq!(walker.out(), jumper.out(), "{control:#x} {count}");
            assert_eq!(walker.pit, jumper.pit, "{control:#x} {count}");
        }
    }
}

#[test]
fn the_deadline_is_the_next_change_of_irq_0() {
    for control in [0x30, 0x34, 0x36, 0x38] {
        let mut bench = Bench::new();
        bench.control(control).count(1000);
        bench.run(1).out(); // loaded
        for _ in 0..4 {
            let Some(deadline) = bench.pit.deadline_ns() else { break };
            let before = bench.pit.irq();
            bench.board.now_ns = deadline - 1;
            assert_eq!(bench.out(), before, "{control:#x}");
            bench.board.now_ns = deadline;
            assert_ne!(bench.out(), before, "{control:#x}");
        }
    }
}

#[test]
fn a_hundred_hertz_tick_comes_a_hundred_times_a_second() {
    let mut bench = Bench::new();
    bench.control(0x34).count(11932);
    let mut rises = 0;
    let mut high = bench.out();
    while let Some(deadline) = bench.pit.deadline_ns().filter(|&ns| ns <= 1_000_000_000) {
        bench.board.now_ns = deadline;
        let now_high = bench.out();
        rises += u32::from(now_high && !high);
        high = now_high;
    }
    assert_eq!(rises, 99, "11932 ticks are a little more than 10 ms");
}

#[test]
fn an_expired_or_unprogrammed_counter_has_no_deadline() {
    let mut bench = Bench::new();
    assert_eq!(bench.pit.deadline_ns(), None);
    bench.control(0x30).count(10).run(50).out();
    assert_eq!(bench.pit.deadline_ns(), None);
}

#[test]
fn after_the_terminal_count_the_element_goes_on_round() {
    let mut bench = Bench::new();
    bench.control(0x30).count(5).run(1 + 5 + 3);
    assert_eq!(bench.read_count(), 0xfffd);
    bench.control(0x31).count(0x0005).run(1 + 5 + 3);
    assert_eq!(bench.read_count(), 0x9997, "in BCD below 0 comes 9999");
}

#[test]
fn mode_0_stands_still_between_the_bytes_and_while_the_gate_is_low() {
    let mut bench = Bench::new();
    bench.control(0x30).count(10).run(1 + 4);
    bench.byte(20).run(100);
    assert_eq!((bench.out(), bench.read_count()), (false, 6));
    bench.byte(0).run(1 + 8);
    bench.gate(false).run(50);
    assert_eq!(bench.read_count(), 12);
    bench.gate(true).run(12);
    assert!(bench.out());
}

#[test]
fn a_one_shot_is_triggered_and_retriggered_by_its_gate() {
    let mut bench = Bench::new();
    bench.control(0x32).gate(false).count(4);
    assert_eq!(bench.wave(3), "###");
    bench.gate(true);
    assert_eq!(bench.wave(3), "___");
    bench.gate(false).gate(true);
    assert_eq!(bench.wave(6), "____##");
    bench.count(2);
    assert_eq!(bench.wave(4), "####", "a new count waits for the next trigger");
    bench.gate(false).gate(true);
    assert_eq!(bench.wave(4), "__##");
}

#[test]
fn a_hardware_strobe_is_low_for_one_tick_after_its_trigger() {
    let mut bench = Bench::new();
    bench.control(0x3a).gate(false).count(3);
    assert_eq!(bench.wave(5), "#####");
    bench.gate(true);
    assert_eq!(bench.wave(6), "###_##");
}

#[test]
fn a_new_count_of_a_periodic_mode_waits_for_the_end_of_the_period() {
    let mut bench = Bench::new();
    bench.control(0x34).count(4);
    assert_eq!(bench.wave(2), "##");
    bench.count(2);
    assert_eq!(bench.wave(6), "#_#_#_");
    let mut bench = Bench::new();
    bench.control(0x36).count(6);
    assert_eq!(bench.wave(1), "#");
    bench.count(2);
    assert_eq!(bench.wave(5), "##_#_", "the running half ends first");
}

#[test]
fn the_gate_of_a_periodic_mode_stops_it_high_and_starts_it_anew() {
    let mut bench = Bench::new();
    bench.control(0x36).count(4).run(4);
    assert!(!bench.out());
    bench.gate(false);
    assert!(bench.out(), "at once, without a tick");
    assert_eq!(bench.wave(5), "#####");
    bench.gate(true);
    assert_eq!(bench.wave(6), "##__##");
}

#[test]
fn bcd_counts_in_decimal() {
    let mut bench = Bench::new();
    bench.control(0x35).count(0x1000).run(1 + 1);
    assert_eq!(bench.read_count(), 0x0999);
    bench.run(899);
    assert_eq!(bench.read_count(), 0x0100);
}

#[test]
fn a_latched_count_stays_until_both_bytes_are_read() {
    let mut bench = Bench::new();
    bench.control(0x34).count(0x1234).run(1);
    bench.control(0x00).run(0x34);
    bench.control(0x00); // already latched: ignored
    assert_eq!((bench.read(), bench.read()), (0x34, 0x12));
    assert_eq!((bench.read(), bench.read()), (0x00, 0x12), "now the live count");
}

#[test]
fn the_count_of_a_square_wave_goes_down_by_two() {
    let mut bench = Bench::new();
    bench.control(0x36).count(8).run(1);
    let mut counts = Vec::new();
    for _ in 0..9 {
        counts.push(bench.read_count());
        bench.run(1);
    }
    assert_eq!(counts, [8, 6, 4, 2, 8, 6, 4, 2, 8]);
}

#[test]
fn read_back_latches_status_and_count_of_the_chosen_counters() {
    let mut bench = Bench::new();
    bench.control(0x34).count(0x0203);
    bench.control(0xe2); // status of counter 0
    assert_eq!(bench.read(), 0x80 | 0x40 | 0x34, "OUT high, count not yet loaded");
    bench.run(1);
    bench.control(0xc2); // both
    assert_eq!((bench.read(), bench.read(), bench.read()), (0x80 | 0x34, 0x03, 0x02), "status first");
    bench.control(0xd4); // count of counter 1: nothing latched here
    bench.run(1);
    assert_eq!(bench.read(), 0x02);
}

#[test]
fn one_byte_counters_read_and_write_one_byte() {
    let mut bench = Bench::new();
    bench.control(0x14).byte(200).run(1 + 10);
    assert_eq!((bench.read(), bench.read()), (190, 190));
    bench.control(0x24).byte(2).run(1 + 1);
    assert_eq!(bench.read(), 1, "the high byte of 0x1ff");
}

#[test]
fn a_count_of_zero_is_the_largest() {
    let mut bench = Bench::new();
    bench.control(0x30).count(0).run(0x10000);
    assert!(!bench.out());
    assert!(bench.run(1).out());
}
