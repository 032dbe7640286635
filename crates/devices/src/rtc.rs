//! The MC146818 real-time clock with 128 bytes of CMOS RAM at ports 0x70 and 0x71
//! (Motorola MC146818A data sheet; the use of the RAM is that of PC firmware).
mod calendar;
mod cmos;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::Board;
use calendar::Calendar;

const SECOND_NS: u64 = 1_000_000_000;
/// The first update ends half a second after the divider chain is released.
const FIRST_UPDATE_NS: u64 = 500_000_000;
/// UIP is set from 244 us before an update begins until it ends, 1984 us later.
const UPDATE_IN_PROGRESS_NS: u64 = 244_000 + 1_984_000;
/// The crystal.
const CRYSTAL_HZ: u64 = 32_768;
const DAY_S: u64 = 86_400;

const REGISTER_A: usize = 0x0a;
const REGISTER_B: usize = 0x0b;
const REGISTER_C: usize = 0x0c;
const REGISTER_D: usize = 0x0d;

const A_UIP: u8 = 1 << 7;
const A_DIVIDER: u8 = 0x70;
const A_DIVIDER_32_KHZ: u8 = 0x20;
/// From this divider setting on the chain is held, in test or in reset.
const A_DIVIDER_HELD: u8 = 0x30;
const A_RATE: u8 = 0x0f;
const A_RATE_1024_HZ: u8 = 0x06;

/// Interrupt causes: enable bits in register B, flags in register C.
const PERIODIC: u8 = 1 << 6;
const ALARM: u8 = 1 << 5;
const UPDATE: u8 = 1 << 4;
const CAUSES: u8 = PERIODIC | ALARM | UPDATE;

const B_SET: u8 = 1 << 7;
const B_SQWE: u8 = 1 << 3;
const B_BINARY: u8 = 1 << 2;
const B_24_HOURS: u8 = 1 << 1;

const C_IRQF: u8 = 1 << 7;

/// The RAM and time are valid: the battery is good.
const D_VALID: u8 = 1 << 7;

/// An alarm byte with both bits set matches any time.
const ALARM_ANY: u8 = 0xc0;

/// The index in port 0x70; the bit above masks NMI.
const INDEX: u8 = 0x7f;

/// What firmware has put into the chip before the first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcConfig {
    /// The date at power-on, in seconds since 1970-01-01 00:00 UTC.
    pub start_unix_s: u64,
    /// Size of the RAM that begins at address 0.
    pub memory_bytes: u64,
}

/// The clock and its RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtc {
    index: u8,
    nmi_masked: bool,
    /// Registers and RAM, 128 bytes. UIP and IRQF are derived when they are read.
    ram: Vec<u8>,
    /// An instant at which the divider chain ended a second, modulo one second.
    phase_ns: u64,
    /// The instant up to which the registers are true.
    at_ns: u64,
}

impl Rtc {
    /// A clock that runs, set to the date of `config`.
    pub fn new(config: &RtcConfig) -> Self {
        let mut rtc =
            Rtc { index: 0, nmi_masked: false, ram: cmos::firmware_ram(config.memory_bytes), phase_ns: 0, at_ns: 0 };
        rtc.ram[REGISTER_A] = A_DIVIDER_32_KHZ | A_RATE_1024_HZ;
        rtc.ram[REGISTER_B] = B_24_HOURS;
        rtc.ram[REGISTER_D] = D_VALID;
        Calendar::from_unix_s(config.start_unix_s).store(&mut rtc.ram);
        rtc
    }

    /// Reads port 0x70 or 0x71 (`offset` 0 or 1). The index cannot be read back.
    pub fn read(&mut self, offset: u16, board: &mut impl Board) -> u8 {
        self.wake(board);
        if offset == 0 {
            return 0xff;
        }
        let index = usize::from(self.index);
        let value = self.ram[index];
        match index {
            REGISTER_A if self.update_in_progress() => value | A_UIP,
            REGISTER_C => {
                let value = value | if self.irq() { C_IRQF } else { 0 };
                self.ram[REGISTER_C] = 0;
                value
            }
            _ => value,
        }
    }

    /// Writes port 0x70 or 0x71.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board) {
        self.wake(board);
        if offset == 0 {
            self.index = value & INDEX;
            self.nmi_masked = value & !INDEX != 0;
            return;
        }
        match usize::from(self.index) {
            REGISTER_A => self.write_a(value),
            REGISTER_B => self.write_b(value),
            REGISTER_C | REGISTER_D => {}
            index => self.ram[index] = value,
        }
    }

    /// Level of IRQ 8: an enabled cause is flagged.
    pub fn irq(&self) -> bool {
        self.ram[REGISTER_B] & self.ram[REGISTER_C] & CAUSES != 0
    }

    /// Whether bit 7 of the index port keeps NMI from the processor.
    pub fn nmi_masked(&self) -> bool {
        self.nmi_masked
    }

    /// When IRQ 8 may rise next.
    pub fn deadline_ns(&self) -> Option<u64> {
        let waited_for = self.ram[REGISTER_B] & CAUSES & !self.ram[REGISTER_C];
        let periodic = self.period_ticks().filter(|_| waited_for & PERIODIC != 0).map(|ticks| {
            let next = self.crystal_ticks(self.at_ns) / ticks * ticks + ticks;
            self.ns_of_crystal_tick(next)
        });
        let second = (waited_for & (ALARM | UPDATE) != 0 && self.updates()).then(|| self.next_second_ns());
        periodic.into_iter().chain(second).min()
    }

    /// Brings time and flags up to now.
    pub fn wake(&mut self, board: &mut impl Board) {
        let now_ns = board.now_ns();
        if now_ns <= self.at_ns {
            return;
        }
        if let Some(ticks) = self.period_ticks()
            && self.crystal_ticks(now_ns) / ticks > self.crystal_ticks(self.at_ns) / ticks
        {
            self.ram[REGISTER_C] |= PERIODIC;
        }
        if self.updates() && now_ns >= self.next_second_ns() {
            self.update((now_ns - self.next_second_ns()) / SECOND_NS + 1);
        }
        self.at_ns = now_ns;
    }

    /// The RESET pin: interrupts are off and flags clear; time goes on and RAM stays.
    pub fn reset(&mut self) {
        self.ram[REGISTER_B] &= !(CAUSES | B_SQWE);
        self.ram[REGISTER_C] = 0;
        self.index = 0;
        self.nmi_masked = false;
    }

    /// Stores a byte as firmware would, without the ports.
    pub fn set_cmos(&mut self, index: u8, value: u8) {
        self.ram[usize::from(index & INDEX)] = value;
    }

    /// Whether a snapshot of `now_ns` could hold this, whatever a file says.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.ram.len() == cmos::RAM_BYTES && self.index <= INDEX && self.phase_ns < SECOND_NS && self.at_ns <= now_ns
    }

    fn write_a(&mut self, value: u8) {
        let was_held = self.held();
        self.ram[REGISTER_A] = value & !A_UIP;
        if was_held && !self.held() {
            self.phase_ns = (self.at_ns + FIRST_UPDATE_NS) % SECOND_NS;
        }
    }

    fn write_b(&mut self, value: u8) {
        // Stopping the updates also stops their interrupt.
        let stopped = if value & B_SET != 0 { UPDATE } else { 0 };
        self.ram[REGISTER_B] = value & !stopped;
    }

    /// `seconds` update cycles end.
    fn update(&mut self, seconds: u64) {
        self.ram[REGISTER_C] |= UPDATE;
        let before = Calendar::load(&self.ram);
        // Every second of at most a day is compared with the alarm; after that it has matched if it ever can.
        let compared = if self.ram[REGISTER_C] & ALARM != 0 { 0 } else { seconds.min(DAY_S) };
        for second in 1..=compared {
            before.after(second).store(&mut self.ram);
            if self.alarm_matches() {
                self.ram[REGISTER_C] |= ALARM;
                break;
            }
        }
        before.after(seconds).store(&mut self.ram);
    }

    fn alarm_matches(&self) -> bool {
        [(0, 1), (2, 3), (4, 5)]
            .iter()
            .all(|&(time, alarm)| self.ram[alarm] & ALARM_ANY == ALARM_ANY || self.ram[alarm] == self.ram[time])
    }

    /// The divider chain is in test or in reset.
    fn held(&self) -> bool {
        self.ram[REGISTER_A] & A_DIVIDER >= A_DIVIDER_HELD
    }

    fn updates(&self) -> bool {
        !self.held() && self.ram[REGISTER_B] & B_SET == 0
    }

    fn update_in_progress(&self) -> bool {
        self.updates() && self.next_second_ns() - self.at_ns <= UPDATE_IN_PROGRESS_NS
    }

    /// The end of the update cycle after `at_ns`.
    fn next_second_ns(&self) -> u64 {
        let into_second = (self.at_ns + SECOND_NS - self.phase_ns) % SECOND_NS;
        self.at_ns + SECOND_NS - into_second
    }

    /// Length of the chosen periodic interrupt in periods of the crystal.
    fn period_ticks(&self) -> Option<u64> {
        if self.held() {
            return None;
        }
        match self.ram[REGISTER_A] & A_RATE {
            0 => None,
            // The two taps that the 32 kHz crystal cannot serve come from further down the chain.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Periods of the crystal, counted from the first second boundary of the chain on.
    fn crystal_ticks(&self, ns: u64) -> u64 {
        let since_phase = ns + SECOND_NS - self.phase_ns;
        since_phase / SECOND_NS * CRYSTAL_HZ + since_phase % SECOND_NS * CRYSTAL_HZ / SECOND_NS
    }

    /// The first nanosecond at which [`Rtc::crystal_ticks`] is `ticks`.
    fn ns_of_crystal_tick(&self, ticks: u64) -> u64 {
        let since_phase = ticks / CRYSTAL_HZ * SECOND_NS + (ticks % CRYSTAL_HZ * SECOND_NS).div_ceil(CRYSTAL_HZ);
        since_phase + self.phase_ns - SECOND_NS
    }
}
