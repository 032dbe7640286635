use serde::{Deserialize, Serialize};

use crate::Board;

/// Frequency of the power-management timer (ACPI 1.0, "Power Management Timer").
const PM_TIMER_HZ: u64 = 3_579_545;
const NS_PER_S: u64 = 1_000_000_000;
/// The timer shows 24 bits; its status bit is set whenever the highest of them changes.
const TIMER_MASK: u64 = (1 << 24) - 1;
const TIMER_HALF: u64 = 1 << 23;

/// Offsets of the registers in the block, by bytes.
const STATUS: u16 = 0;
const ENABLE: u16 = 2;
const CONTROL: u16 = 4;
const TIMER: u16 = 8;
/// Last offset of the block.
const LAST: u16 = 11;

/// PM1 status and enable bits: timer, global lock, power button, sleep button, RTC alarm.
const TIMER_EVENT: u16 = 1 << 0;
const EVENTS: u16 = TIMER_EVENT | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10;
/// Status alone: the machine woke from sleep.
const WAKE_STATUS: u16 = 1 << 15;

/// PM1 control: ACPI mode, bus masters may wake it, the sleep type. Two bits act and read 0.
const SCI_ENABLE: u16 = 1 << 0;
const SLEEP_TYPE: u16 = 7 << 10;
const SLEEP_ENABLE: u16 = 1 << 13;
const CONTROL_KEPT: u16 = SCI_ENABLE | 1 << 1 | SLEEP_TYPE;

/// What software writes to the command port to enter and to leave ACPI mode.
const ACPI_ENABLE: u8 = 0xf1;
const ACPI_DISABLE: u8 = 0xf0;

/// The power-management registers of ACPI 1.0, as the PIIX4 has them: PM1 event and control, the
/// timer, and the two ports through which software asks firmware for ACPI mode. Sleep type 0 is
/// S5; the DSDT says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiPm {
    status: u16,
    enable: u16,
    control: u16,
    /// The tick up to which `status` is true.
    at_tick: u64,
    /// The command and status ports of firmware.
    command: [u8; 2],
}

impl AcpiPm {
    /// Reads the byte at `offset` of the block.
    pub fn read(&mut self, offset: u16, board: &impl Board) -> u8 {
        self.wake(board);
        let (register, value) = match offset {
            STATUS..ENABLE => (STATUS, u32::from(self.status)),
            ENABLE..CONTROL => (ENABLE, u32::from(self.enable)),
            CONTROL..TIMER => (CONTROL, u32::from(self.control)),
            TIMER..=LAST => (TIMER, (self.at_tick & TIMER_MASK) as u32),
            _ => return 0xff,
        };
        value.to_le_bytes()[usize::from(offset - register)]
    }

    /// Writes the byte at `offset` of the block. A written 1 clears a status bit.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board) {
        self.wake(board);
        let shift = 8 * (offset & 1);
        let bits = u16::from(value) << shift;
        let put = |old: u16| old & !(0xff << shift) | bits;
        match offset {
            STATUS..ENABLE => self.status &= !bits,
            ENABLE..CONTROL => self.enable = put(self.enable) & EVENTS,
            CONTROL..=5 => {
                self.control = put(self.control) & CONTROL_KEPT;
                if bits & SLEEP_ENABLE != 0 {
                    self.sleep(board);
                }
            }
            // The timer cannot be written, and nothing is at 6 and 7.
            _ => {}
        }
    }

    /// Reads port 0xb2 or 0xb3 (`offset` 0 or 1).
    pub fn read_command(&self, offset: u16) -> u8 {
        self.command[usize::from(offset & 1)]
    }

    /// Writes port 0xb2, a command for firmware, or 0xb3, its status.
    pub fn write_command(&mut self, offset: u16, value: u8) {
        self.command[usize::from(offset & 1)] = value;
        match (offset, value) {
            (0, ACPI_ENABLE) => self.control |= SCI_ENABLE,
            (0, ACPI_DISABLE) => self.control &= !SCI_ENABLE,
            _ => {}
        }
    }

    /// Level of the SCI, IRQ 9: an enabled event is flagged, in ACPI mode.
    pub fn irq(&self) -> bool {
        self.control & SCI_ENABLE != 0 && self.status & self.enable & EVENTS != 0
    }

    /// When the timer flags its event next, where that interrupts.
    pub fn deadline_ns(&self) -> Option<u64> {
        let waits = self.control & SCI_ENABLE != 0 && self.enable & !self.status & TIMER_EVENT != 0;
        waits.then(|| ns_of((self.at_tick / TIMER_HALF + 1) * TIMER_HALF))
    }

    /// Brings the timer up to now.
    pub fn wake(&mut self, board: &impl Board) {
        let tick = tick_at(board.now_ns());
        if tick / TIMER_HALF > self.at_tick / TIMER_HALF {
            self.status |= TIMER_EVENT;
        }
        self.at_tick = self.at_tick.max(tick);
    }

    /// The state after the reset line was pulled; the timer goes on.
    pub fn reset(&mut self) {
        *self = AcpiPm { at_tick: self.at_tick, ..AcpiPm::default() };
    }

    /// Whether a snapshot of `now_ns` could hold this, whatever a file says.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.at_tick <= tick_at(now_ns)
    }

    fn sleep(&mut self, board: &mut impl Board) {
        match (self.control & SLEEP_TYPE) >> 10 {
            0 => board.power_off(0),
            // The DSDT offers no other state: software that did not ask would never wake.
            sleep_type => {
                log::debug!("ACPI: sleep type {sleep_type}, which there is not");
                self.status |= WAKE_STATUS;
            }
        }
    }
}

/// How many ticks have passed at `now_ns`.
fn tick_at(now_ns: u64) -> u64 {
    // Whole seconds apart, so that nothing overflows.
    now_ns / NS_PER_S * PM_TIMER_HZ + now_ns % NS_PER_S * PM_TIMER_HZ / NS_PER_S
}

/// The first nanosecond at which `ticks` ticks have passed.
fn ns_of(ticks: u64) -> u64 {
    ticks / PM_TIMER_HZ * NS_PER_S + (ticks % PM_TIMER_HZ * NS_PER_S).div_ceil(PM_TIMER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_board::TestBoard;

    #[derive(Default)]
    struct Bench {
        chip: AcpiPm,
        board: TestBoard,
    }

    impl Bench {
        fn read16(&mut self, offset: u16) -> u16 {
            u16::from_le_bytes([0, 1].map(|byte| self.chip.read(offset + byte, &self.board)))
        }

        fn write16(&mut self, offset: u16, value: u16) {
            for (byte, value) in (0..).zip(value.to_le_bytes()) {
                self.chip.write(offset + byte, value, &mut self.board);
            }
        }

        fn timer(&mut self) -> u32 {
            u32::from_le_bytes([8, 9, 10, 11].map(|offset| self.chip.read(offset, &self.board)))
        }
    }

    #[test]
    fn the_timer_counts_3_579_545_a_second_in_24_bits() {
        for (now_ns, count) in [
            (0, 0),
            (279, 0),
            (280, 1),
            (NS_PER_S, 3_579_545),
            (5 * NS_PER_S, (5 * 3_579_545) & 0xff_ffff),
            (86_400 * 365 * NS_PER_S, ((86_400 * 365 * 3_579_545_u64) & 0xff_ffff) as u32),
        ] {
            let mut bench = Bench { board: TestBoard { now_ns, ..TestBoard::default() }, ..Bench::default() };
            assert_eq!(bench.timer(), count, "{now_ns}");
        }
    }

    #[test]
    fn the_highest_bit_of_the_timer_raises_the_sci_once_it_is_enabled() {
        let mut bench = Bench::default();
        bench.write16(ENABLE, TIMER_EVENT);
        assert_eq!(bench.chip.deadline_ns(), None, "not in ACPI mode");
        bench.chip.write_command(0, ACPI_ENABLE);
        let deadline = bench.chip.deadline_ns().unwrap();
        assert_eq!(deadline, (TIMER_HALF * NS_PER_S).div_ceil(PM_TIMER_HZ));
        bench.board.now_ns = deadline - 1;
        bench.chip.wake(&bench.board);
        assert!(!bench.chip.irq());
        bench.board.now_ns = deadline;
        bench.chip.wake(&bench.board);
        assert!(bench.chip.irq());
        assert_eq!((bench.timer(), bench.chip.deadline_ns()), (0x80_0000, None));
        bench.write16(STATUS, TIMER_EVENT);
        assert!(!bench.chip.irq());
        assert!(bench.chip.deadline_ns().unwrap() > deadline);
    }

    #[test]
    fn status_is_cleared_by_ones_and_reserved_bits_stay_clear() {
        let mut bench = Bench::default();
        bench.board.now_ns = 10 * NS_PER_S;
        assert_eq!(bench.read16(STATUS), TIMER_EVENT);
        bench.write16(STATUS, !TIMER_EVENT);
        assert_eq!(bench.read16(STATUS), TIMER_EVENT);
        bench.write16(STATUS, TIMER_EVENT);
        assert_eq!(bench.read16(STATUS), 0);
        bench.write16(ENABLE, 0xffff);
        assert_eq!(bench.read16(ENABLE), 0x0721);
        bench.write16(CONTROL, !SLEEP_ENABLE);
        assert_eq!(bench.read16(CONTROL), 0x1c03);
    }

    #[test]
    fn acpi_mode_comes_and_goes_through_the_command_port() {
        let mut bench = Bench::default();
        bench.chip.write_command(0, ACPI_ENABLE);
        assert_eq!((bench.read16(CONTROL), bench.chip.read_command(0)), (SCI_ENABLE, ACPI_ENABLE));
        bench.chip.write_command(1, ACPI_DISABLE);
        assert_eq!(bench.read16(CONTROL), SCI_ENABLE, "the status port commands nothing");
        bench.chip.write_command(0, ACPI_DISABLE);
        assert_eq!(bench.read16(CONTROL), 0);
    }

    #[test]
    fn sleep_type_0_powers_off_with_status_0_and_others_wake_at_once() {
        let mut bench = Bench::default();
        bench.write16(CONTROL, 0x1000);
        assert_eq!(bench.board.status, None, "not without the enable bit");
        bench.write16(CONTROL, 0x3400);
        assert_eq!((bench.board.status, bench.read16(STATUS)), (None, WAKE_STATUS));
        bench.write16(CONTROL, 0x2000);
        assert_eq!(bench.board.status, Some(0));
    }

    #[test]
    fn reset_leaves_acpi_mode_and_the_timer_running() {
        let mut bench = Bench::default();
        bench.chip.write_command(0, ACPI_ENABLE);
        bench.write16(ENABLE, TIMER_EVENT);
        bench.board.now_ns = NS_PER_S;
        bench.timer();
        bench.chip.reset();
        assert_eq!((bench.read16(CONTROL), bench.read16(ENABLE), bench.timer()), (0, 0, 3_579_545));
    }
}
