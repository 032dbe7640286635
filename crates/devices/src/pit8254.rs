//! The 8254 programmable interval timer (Intel 8254 data sheet), evaluated lazily: each
//! counter knows the tick at which its state was last true and jumps from there.
mod counter;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::Board;
use counter::Counter;

/// Frequency of the timer's clock input on a PC.
pub const PIT_HZ: u64 = 1_193_182;

const NS_PER_S: u64 = 1_000_000_000;
const COUNTERS: usize = 3;
const CONTROL_PORT: u16 = 3;

/// The timer: counter 0 drives IRQ 0, counter 1 was memory refresh, counter 2 the speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pit8254 {
    counters: [Counter; COUNTERS],
}

impl Default for Pit8254 {
    fn default() -> Self {
        Pit8254::new()
    }
}

impl Pit8254 {
    /// Powered on; nothing counts until it is programmed. The gates are open, as the board
    /// ties those of counters 0 and 1; [`Pit8254::set_gate`] moves that of counter 2.
    pub fn new() -> Self {
        Pit8254 { counters: [const { Counter::new() }; COUNTERS] }
    }

    /// How many clock ticks have passed at `now_ns`.
    pub fn ticks_at(now_ns: u64) -> u64 {
        // Whole seconds apart, so that nothing overflows.
        now_ns / NS_PER_S * PIT_HZ + now_ns % NS_PER_S * PIT_HZ / NS_PER_S
    }

    /// The first nanosecond at which `ticks` ticks have passed.
    fn ns_of(ticks: u64) -> u64 {
        ticks / PIT_HZ * NS_PER_S + (ticks % PIT_HZ * NS_PER_S).div_ceil(PIT_HZ)
    }

    /// Reads port 0x40 + `offset`. The control port cannot be read.
    pub fn read(&mut self, offset: u16, board: &mut impl Board) -> u8 {
        self.wake(board);
        match self.counters.get_mut(usize::from(offset)) {
            Some(counter) => counter.read(),
            None => 0xff,
        }
    }

    /// Writes port 0x40 + `offset`.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board) {
        self.wake(board);
        if offset == CONTROL_PORT {
            self.write_control(value);
        } else if let Some(counter) = self.counters.get_mut(usize::from(offset)) {
            counter.write(value);
        }
    }

    /// Drives the gate input of `counter`.
    pub fn set_gate(&mut self, counter: usize, level: bool, board: &mut impl Board) {
        self.wake(board);
        self.counters[counter].set_gate(level);
    }

    /// The OUT pin of `counter` now.
    pub fn output(&mut self, counter: usize, board: &mut impl Board) -> bool {
        self.wake(board);
        self.counters[counter].output()
    }

    /// Brings every counter up to now.
    pub fn wake(&mut self, board: &mut impl Board) {
        let tick = Pit8254::ticks_at(board.now_ns());
        for counter in &mut self.counters {
            counter.advance_to(tick);
        }
    }

    /// Level of IRQ 0: OUT of counter 0 as of the last `wake`.
    pub fn irq(&self) -> bool {
        self.counters[0].output()
    }

    /// When IRQ 0 changes next, by itself.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.counters[0].next_change().map(Pit8254::ns_of)
    }

    /// Whether a snapshot of `now_ns` could hold this, whatever a file says.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.counters.iter().all(|counter| counter.fits(Pit8254::ticks_at(now_ns)))
    }

    fn write_control(&mut self, value: u8) {
        let select = usize::from(value >> 6);
        if let Some(counter) = self.counters.get_mut(select) {
            counter.write_control(value);
            return;
        }
        // Read-back: bits 3:1 choose counters, a clear bit 5 latches counts, a clear bit 4 status.
        for (number, counter) in self.counters.iter_mut().enumerate() {
            if value & (2 << number) == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                counter.latch_count();
            }
            if value & 0x10 == 0 {
                counter.latch_status();
            }
        }
    }
}
