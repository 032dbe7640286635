use super::*;
use crate::test_board::TestBoard;

/// 2024-02-28 23:59:50 UTC, a Wednesday.
const START: u64 = 1_709_164_790;

struct Bench {
    rtc: Rtc,
    board: TestBoard,
}

impl Bench {
    fn new() -> Self {
        Bench::with_memory(64 << 20)
    }

    fn with_memory(memory_bytes: u64) -> Self {
        Bench { rtc: Rtc::new(&RtcConfig { start_unix_s: START, memory_bytes }), board: TestBoard::default() }
    }

    fn get(&mut self, index: u8) -> u8 {
        self.rtc.write(0, index, &mut self.board);
        self.rtc.read(1, &mut self.board)
    }

    fn put(&mut self, index: u8, value: u8) {
        self.rtc.write(0, index, &mut self.board);
        self.rtc.write(1, value, &mut self.board);
    }

    fn at(&mut self, now_ns: u64) -> &mut Self {
        self.board.now_ns = now_ns;
        self
    }

    /// Century, year, month, day, weekday, hour, minute, second as the registers spell them.
    fn date(&mut self) -> [u8; 8] {
        [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| self.get(index))
    }
}

#[test]
fn the_date_follows_virtual_time_over_a_leap_day() {
    let mut bench = Bench::new();
    assert_eq!(bench.date(), [0x20, 0x24, 0x02, 0x28, 0x04, 0x23, 0x59, 0x50]);
    bench.at(10 * SECOND_NS - 1);
    assert_eq!(bench.get(0), 0x59);
    bench.at(10 * SECOND_NS);
    assert_eq!(bench.date(), [0x20, 0x24, 0x02, 0x29, 0x05, 0x00, 0x00, 0x00]);
    bench.at((10 + 86_400) * SECOND_NS);
    assert_eq!(bench.date(), [0x20, 0x24, 0x03, 0x01, 0x06, 0x00, 0x00, 0x00]);
}

#[test]
fn calendar_and_seconds_are_inverse_over_four_centuries() {
    for unix_s in (0..400 * 365 * DAY_S).step_by(86_399 * 7) {
        let mut ram = [0; 128];
        Calendar::from_unix_s(unix_s).store(&mut ram);
        let before = ram;
        Calendar::load(&ram).store(&mut ram);
        assert_eq!(ram, before, "{unix_s}");
    }
}

#[test]
fn the_century_rolls_over() {
    let mut bench =
        Bench { rtc: Rtc::new(&RtcConfig { start_unix_s: 4_102_444_799, memory_bytes: 0 }), ..Bench::new() };
    assert_eq!(bench.date(), [0x20, 0x99, 0x12, 0x31, 0x05, 0x23, 0x59, 0x59]);
    bench.at(SECOND_NS);
    assert_eq!(bench.date(), [0x21, 0x00, 0x01, 0x01, 0x06, 0x00, 0x00, 0x00]);
}

#[test]
fn binary_and_twelve_hour_formats_are_kept_by_the_update() {
    let mut bench = Bench::new();
    bench.put(0x0b, B_SET | B_BINARY);
    for (index, value) in [(0, 59), (2, 59), (4, 11), (6, 1), (7, 31), (8, 12), (9, 99), (0x32, 0x19)] {
        bench.put(index, value);
    }
    bench.put(0x0b, B_BINARY);
    bench.at(SECOND_NS);
    assert_eq!(bench.date(), [0x19, 99, 12, 31, 1, 12 | 0x80, 0, 0], "noon is 12 PM");
    bench.at((12 * 3600 + 1) * SECOND_NS);
    assert_eq!(bench.date(), [0x20, 0, 1, 1, 2, 12, 0, 0], "midnight is 12 AM");
}

#[test]
fn set_holds_the_time_and_clears_the_update_interrupt() {
    let mut bench = Bench::new();
    bench.put(0x0b, B_SET | UPDATE | B_24_HOURS);
    assert_eq!(bench.get(0x0b), B_SET | B_24_HOURS);
    bench.at(5 * SECOND_NS);
    assert_eq!(bench.get(0), 0x50);
    bench.put(0x0b, B_24_HOURS);
    bench.at(6 * SECOND_NS);
    assert_eq!(bench.get(0), 0x51);
}

#[test]
fn update_in_progress_shows_2228_microseconds_before_the_second() {
    let mut bench = Bench::new();
    bench.at(SECOND_NS - UPDATE_IN_PROGRESS_NS - 1);
    assert_eq!(bench.get(0x0a), 0x26);
    bench.at(SECOND_NS - UPDATE_IN_PROGRESS_NS);
    assert_eq!(bench.get(0x0a), 0xa6);
    bench.at(SECOND_NS - 1);
    assert_eq!((bench.get(0x0a), bench.get(0)), (0xa6, 0x50));
    bench.at(SECOND_NS);
    assert_eq!((bench.get(0x0a), bench.get(0)), (0x26, 0x51));
}

#[test]
fn the_first_update_comes_half_a_second_after_the_divider_is_released() {
    let mut bench = Bench::new();
    bench.at(100_000_000).put(0x0a, 0x76);
    bench.at(3_300_000_000);
    assert_eq!(bench.get(0), 0x50);
    bench.put(0x0a, 0x26);
    bench.at(3_799_999_999);
    assert_eq!(bench.get(0), 0x50);
    bench.at(3_800_000_000);
    assert_eq!(bench.get(0), 0x51);
    bench.at(4_800_000_000);
    assert_eq!(bench.get(0), 0x52);
}

#[test]
fn the_divider_can_be_released_in_the_first_moments() {
    let mut bench = Bench::new();
    bench.at(1000).put(0x0a, 0x76);
    bench.put(0x0a, 0x26);
    bench.put(0x0b, UPDATE | B_24_HOURS);
    assert_eq!(bench.rtc.deadline_ns(), Some(FIRST_UPDATE_NS + 1000));
}

#[test]
fn the_periodic_interrupt_comes_at_its_rate_once_register_c_is_read() {
    let mut bench = Bench::new();
    bench.put(0x0b, PERIODIC | B_24_HOURS);
    let mut interrupts = 0;
    while let Some(deadline) = bench.rtc.deadline_ns().filter(|&ns| ns <= SECOND_NS) {
        bench.board.now_ns = deadline - 1;
        bench.rtc.wake(&mut bench.board);
        assert!(!bench.rtc.irq());
        bench.board.now_ns = deadline;
        bench.rtc.wake(&mut bench.board);
        assert!(bench.rtc.irq());
        assert_eq!(bench.rtc.deadline_ns(), None, "nothing new until the flag is read");
        assert_eq!(bench.get(0x0c) & (C_IRQF | PERIODIC), C_IRQF | PERIODIC);
        assert!(!bench.rtc.irq());
        interrupts += 1;
    }
    assert_eq!(interrupts, 1024);
}

#[test]
fn flags_are_set_without_being_enabled_and_cleared_by_reading() {
    let mut bench = Bench::new();
    bench.at(SECOND_NS);
    assert_eq!(bench.get(0x0c), PERIODIC | UPDATE);
    assert_eq!(bench.get(0x0c), 0);
}

#[test]
fn the_update_interrupt_comes_at_the_second() {
    let mut bench = Bench::new();
    bench.at(1_250_000_000).put(0x0b, UPDATE | B_24_HOURS);
    bench.get(0x0c);
    assert_eq!(bench.rtc.deadline_ns(), Some(2 * SECOND_NS));
    bench.at(2 * SECOND_NS);
    bench.rtc.wake(&mut bench.board);
    assert!(bench.rtc.irq());
}

#[test]
fn the_alarm_matches_exact_and_any_bytes() {
    for (alarm, matches_after_s) in [([0x55, 0x59, 0x23], 5), ([0xff, 0xc0, 0x00], 10), ([0x03, 0xff, 0xff], 13)] {
        let mut bench = Bench::new();
        for (index, value) in [1, 3, 5].into_iter().zip(alarm) {
            bench.put(index, value);
        }
        bench.put(0x0b, ALARM | B_24_HOURS);
        let rang = (1..30).find(|&second| {
            bench.at(second * SECOND_NS);
            bench.rtc.wake(&mut bench.board);
            bench.rtc.irq()
        });
        assert_eq!(rang, Some(matches_after_s));
        assert_eq!(bench.get(0x0c) & (C_IRQF | ALARM), C_IRQF | ALARM);
    }
}

#[test]
fn an_alarm_inside_a_long_sleep_is_flagged() {
    let mut bench = Bench::new();
    for (index, value) in [(1, 0x30), (3, 0x45), (5, 0x11)] {
        bench.put(index, value);
    }
    bench.at(86_400 * SECOND_NS);
    assert_eq!(bench.get(0x0c) & ALARM, ALARM);
    assert_eq!(bench.get(0), 0x50);
}

#[test]
fn memory_sizes_are_where_firmware_puts_them() {
    for (mib, extended_kib, above_16_mib) in [(16, 15 * 1024, 0), (64, 63 * 1024, 48 * 16), (3584, 65535, 3568 * 16)] {
        let mut bench = Bench::with_memory(mib << 20);
        let mut word = |index: u8| u16::from_le_bytes([bench.get(index), bench.get(index + 1)]);
        assert_eq!(
            (word(0x15), word(0x17), word(0x30), word(0x34)),
            (640, extended_kib, extended_kib, above_16_mib),
            "{mib} MiB"
        );
    }
}

#[test]
fn bit_7_of_the_index_masks_nmi_and_is_no_part_of_the_index() {
    let mut bench = Bench::new();
    bench.put(0x80 | 0x40, 0x5a);
    assert!(bench.rtc.nmi_masked());
    assert_eq!(bench.get(0x40), 0x5a);
    assert!(!bench.rtc.nmi_masked());
}

#[test]
fn reset_keeps_time_and_ram_but_no_interrupt() {
    let mut bench = Bench::new();
    bench.put(0x40, 0x77);
    bench.put(0x0b, CAUSES | B_24_HOURS);
    bench.at(2 * SECOND_NS);
    bench.rtc.wake(&mut bench.board);
    bench.rtc.reset();
    assert!(!bench.rtc.irq());
    assert_eq!((bench.get(0x0b), bench.get(0x40), bench.get(0)), (B_24_HOURS, 0x77, 0x52));
}
