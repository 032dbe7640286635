use serde::{Deserialize, Serialize};

/// The timer of a local APIC, evaluated lazily (SDM Vol. 3A, "APIC Timer"). Its clock ticks
/// once a nanosecond of virtual time, before the divider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    /// What the count begins with.
    pub initial: u32,
    /// Bits 3, 1 and 0 of the divide configuration register.
    divide: u32,
    /// The count at `at_ns`; 0 while nothing counts.
    count: u32,
    at_ns: u64,
}

const DIVIDE_BITS: u32 = 0b1011;

impl Timer {
    /// Writes the initial count, which starts the count; 0 stops it.
    pub fn start(&mut self, initial: u32, now_ns: u64) {
        self.initial = initial;
        self.count = initial;
        self.at_ns = now_ns;
    }

    pub fn divide_configuration(&self) -> u32 {
        self.divide
    }

    /// Writes the divide configuration; a running count goes on from where it is. The timer was
    /// brought up to `now_ns` before.
    pub fn set_divide_configuration(&mut self, value: u32, now_ns: u64) {
        if self.count != 0 {
            self.count = self.current(now_ns);
            self.at_ns = now_ns;
        }
        self.divide = value & DIVIDE_BITS;
    }

    /// The current count, of a timer that was brought up to `now_ns`.
    pub fn current(&self, now_ns: u64) -> u32 {
        let ticks = now_ns.saturating_sub(self.at_ns) / self.tick_ns();
        u64::from(self.count).saturating_sub(ticks) as u32
    }

    /// When the count reaches zero next.
    pub fn expiry_ns(&self) -> Option<u64> {
        (self.count != 0).then(|| self.at_ns + u64::from(self.count) * self.tick_ns())
    }

    /// Goes on to `now_ns`; says whether the count has reached zero on the way.
    pub fn advance(&mut self, now_ns: u64, periodic: bool) -> bool {
        let Some(expiry) = self.expiry_ns().filter(|&expiry| expiry <= now_ns) else { return false };
        if periodic {
            let period = u64::from(self.initial) * self.tick_ns();
            self.at_ns = expiry + (now_ns - expiry) / period * period;
            self.count = self.initial;
        } else {
            self.count = 0;
        }
        true
    }

    /// Whether a timer could be like this at `now_ns`: what counts began with a count.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.at_ns <= now_ns && (self.count == 0 || self.initial != 0)
    }

    /// Bits 3, 1, 0 of 0b111 divide by 1; otherwise by 2 to the power of one more.
    fn tick_ns(&self) -> u64 {
        let code = (self.divide >> 1 & 0b100) | (self.divide & 0b11);
        1 << ((code + 1) & 7)
    }
}
