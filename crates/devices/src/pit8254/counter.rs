use serde::{Deserialize, Serialize};

/// Counts go round modulo this in binary and modulo the other in BCD.
const BINARY_MODULUS: u32 = 0x1_0000;
const BCD_MODULUS: u32 = 10_000;

/// Which bytes of the 16-bit registers the data port moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Width {
    Low,
    High,
    Both,
}

/// The six modes of the data sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    InterruptOnTerminalCount,
    OneShot,
    RateGenerator,
    SquareWave,
    SoftwareStrobe,
    HardwareStrobe,
}

impl Mode {
    fn from_bits(bits: u8) -> Mode {
        match bits & 7 {
            0 => Mode::InterruptOnTerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::RateGenerator,
            3 | 7 => Mode::SquareWave,
            4 => Mode::SoftwareStrobe,
            _ => Mode::HardwareStrobe,
        }
    }

    fn is_periodic(self) -> bool {
        matches!(self, Mode::RateGenerator | Mode::SquareWave)
    }

    /// Started by a rising gate, not by the count.
    fn is_triggered(self) -> bool {
        matches!(self, Mode::OneShot | Mode::HardwareStrobe)
    }
}

/// What the counting element is on its way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// No count since the control word: nothing counts.
    Empty,
    /// The count register goes to the counting element at the next tick.
    Load,
    /// Counting towards the event of the mode.
    Armed,
    /// The event is past; the element goes on round and round.
    Expired,
    /// In the one low tick of a strobe.
    Strobe,
}

/// One of the three counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    /// The tick at which everything below is true.
    at: u64,
    /// Bits 5:0 of the control word, as the status byte repeats them.
    control: u8,
    width: Width,
    mode: Mode,
    bcd: bool,
    gate: bool,
    out: bool,
    phase: Phase,
    /// The count register, 1 to the modulus.
    count: u32,
    /// The count of the running period.
    period: u32,
    /// The counting element, below the modulus. In the square wave it is derived from `left`.
    element: u32,
    /// Ticks left in this half of the square wave.
    left: u32,
    /// The count register holds what the element has not taken yet.
    null_count: bool,
    /// Mode 0 stands still between the two bytes of a count.
    between_bytes: bool,
    low_byte: Option<u8>,
    read_high_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Counter {
    pub const fn new() -> Self {
        Counter {
            at: 0,
            control: 0x30,
            width: Width::Both,
            mode: Mode::InterruptOnTerminalCount,
            bcd: false,
            gate: true,
            out: true,
            phase: Phase::Empty,
            count: BINARY_MODULUS,
            period: BINARY_MODULUS,
            element: 0,
            left: 0,
            null_count: true,
            between_bytes: false,
            low_byte: None,
            read_high_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    pub fn output(&self) -> bool {
        self.out
    }

    /// A control word for this counter; a width of 0 is the counter latch command.
    pub fn write_control(&mut self, value: u8) {
        let width = match (value >> 4) & 3 {
            0 => return self.latch_count(),
            1 => Width::Low,
            2 => Width::High,
            _ => Width::Both,
        };
        let mode = Mode::from_bits(value >> 1);
        *self = Counter {
            at: self.at,
            gate: self.gate,
            element: self.element,
            control: value & 0x3f,
            width,
            mode,
            bcd: value & 1 != 0,
            out: mode != Mode::InterruptOnTerminalCount,
            ..Counter::new()
        };
    }

    pub fn latch_count(&mut self) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.readout());
        }
    }

    pub fn latch_status(&mut self) {
        if self.latched_status.is_none() {
            self.latched_status = Some(u8::from(self.out) << 7 | u8::from(self.null_count) << 6 | self.control);
        }
    }

    pub fn read(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.readout()).to_le_bytes();
        let (byte, last) = match self.width {
            Width::Low => (low, true),
            Width::High => (high, true),
            Width::Both if self.read_high_next => (high, true),
            Width::Both => (low, false),
        };
        self.read_high_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    pub fn write(&mut self, value: u8) {
        let count = match (self.width, self.low_byte.take()) {
            (Width::Low, _) => u16::from(value),
            (Width::High, _) => u16::from(value) << 8,
            (Width::Both, Some(low)) => u16::from_le_bytes([low, value]),
            (Width::Both, None) => {
                self.low_byte = Some(value);
                if self.mode == Mode::InterruptOnTerminalCount {
                    self.between_bytes = true;
                    self.out = false;
                }
                return;
            }
        };
        self.between_bytes = false;
        self.count = match self.value_of(count) {
            0 => self.modulus(),
            count => count,
        };
        self.null_count = true;
        let running = self.phase != Phase::Empty;
        match self.mode {
            Mode::InterruptOnTerminalCount => {
                self.out = false;
                self.phase = Phase::Load;
            }
            Mode::SoftwareStrobe => {
                self.out = true;
                self.phase = Phase::Load;
            }
            // A running period or half period ends first.
            mode if mode.is_periodic() && !running => self.phase = Phase::Load,
            // The others wait for a trigger.
            _ => {}
        }
    }

    pub fn set_gate(&mut self, level: bool) {
        let rising = level && !self.gate;
        let falling = !level && self.gate;
        self.gate = level;
        if rising && (self.mode.is_triggered() || (self.mode.is_periodic() && self.phase != Phase::Empty)) {
            self.phase = Phase::Load;
        }
        if falling && self.mode.is_periodic() {
            self.out = true;
        }
    }

    /// Lets the clock run until `tick`.
    pub fn advance_to(&mut self, tick: u64) {
        while self.at < tick {
            if self.stands_still() {
                break;
            }
            self.run(tick - self.at);
        }
        self.at = self.at.max(tick);
    }

    /// The tick at which OUT may change next, or the element is loaded; `None` if never.
    pub fn next_change(&self) -> Option<u64> {
        if self.stands_still() {
            return None;
        }
        let ticks = match self.phase {
            Phase::Empty | Phase::Expired => return None,
            Phase::Load | Phase::Strobe => 1,
            Phase::Armed => u64::from(self.ticks_to_event()),
        };
        Some(self.at + ticks)
    }

    /// Whether a counter could be like this at `tick`.
    pub fn fits(&self, tick: u64) -> bool {
        self.at <= tick
            && [self.count, self.period, self.element, self.left].iter().all(|&count| count <= BINARY_MODULUS)
    }

    fn stands_still(&self) -> bool {
        match self.phase {
            Phase::Empty => true,
            // Loading and the end of a strobe need the clock alone.
            Phase::Load | Phase::Strobe => false,
            Phase::Armed | Phase::Expired => self.between_bytes || (!self.gate && !self.mode.is_triggered()),
        }
    }

    /// Goes on by at least one tick and at most `ticks`, not beyond one event.
    fn run(&mut self, ticks: u64) {
        match self.phase {
            Phase::Empty => {}
            Phase::Load => {
                self.load();
                self.at += 1;
            }
            Phase::Strobe => {
                self.out = true;
                self.phase = Phase::Expired;
                self.count_down(1);
            }
            Phase::Expired => self.count_down(ticks),
            Phase::Armed => {
                let ticks = self.skip_whole_periods(ticks);
                let to_event = u64::from(self.ticks_to_event());
                if ticks < to_event {
                    self.count_down(ticks);
                } else {
                    self.count_down(to_event);
                    self.event();
                }
            }
        }
    }

    /// Periods that end as they began need not be run through.
    fn skip_whole_periods(&mut self, ticks: u64) -> u64 {
        let period = u64::from(self.cycle());
        if !self.mode.is_periodic() || self.null_count || ticks < period {
            return ticks;
        }
        self.at += ticks / period * period;
        ticks % period
    }

    fn count_down(&mut self, ticks: u64) {
        self.at += ticks;
        if self.mode == Mode::SquareWave {
            self.left -= ticks as u32;
            return;
        }
        let modulus = u64::from(self.modulus());
        self.element = ((u64::from(self.element) + modulus - ticks % modulus) % modulus) as u32;
    }

    /// Ticks until the next change of OUT while armed; 0 only where a skip ended on the event.
    fn ticks_to_event(&self) -> u32 {
        let element = if self.element == 0 { self.modulus() } else { self.element };
        match self.mode {
            Mode::SquareWave => self.left,
            // Low when the element reaches 1, high again one tick later.
            Mode::RateGenerator if self.out && element > 1 => element - 1,
            Mode::RateGenerator => 1,
            _ => element,
        }
    }

    /// What happens when the element arrives.
    fn event(&mut self) {
        match self.mode {
            Mode::InterruptOnTerminalCount | Mode::OneShot => {
                self.out = true;
                self.phase = Phase::Expired;
            }
            Mode::SoftwareStrobe | Mode::HardwareStrobe => {
                self.out = false;
                self.phase = Phase::Strobe;
            }
            Mode::RateGenerator if self.element == 1 => self.out = false,
            Mode::RateGenerator => self.load(),
            Mode::SquareWave => {
                let out = !self.out;
                self.take_count();
                self.begin_half(out);
            }
        }
    }

    fn load(&mut self) {
        self.take_count();
        self.phase = Phase::Armed;
        match self.mode {
            Mode::OneShot => self.out = false,
            Mode::InterruptOnTerminalCount => {}
            Mode::SquareWave => self.begin_half(true),
            Mode::RateGenerator | Mode::SoftwareStrobe | Mode::HardwareStrobe => self.out = true,
        }
    }

    fn take_count(&mut self) {
        self.period = self.count;
        self.element = self.cycle() % self.modulus();
        self.null_count = false;
    }

    /// Odd counts are one tick longer high than low.
    fn begin_half(&mut self, out: bool) {
        self.out = out;
        self.left = (self.cycle() + u32::from(out)) / 2;
    }

    /// The ticks of a whole period. UNDEFINED: a count of 1, which the data sheet forbids in
    /// the periodic modes, acts as 2.
    fn cycle(&self) -> u32 {
        if self.mode.is_periodic() { self.period.max(2) } else { self.period }
    }

    fn modulus(&self) -> u32 {
        if self.bcd { BCD_MODULUS } else { BINARY_MODULUS }
    }

    /// The counting element as software reads it.
    fn readout(&self) -> u16 {
        let element = match (self.mode, self.phase) {
            (Mode::SquareWave, Phase::Armed) => {
                // It goes down by two from the even part of the count; an odd count rests at 0
                // for one tick at the end of its high half.
                let rest = u32::from(self.cycle() % 2 == 1 && self.out);
                (2 * self.left.saturating_sub(rest)) % self.modulus()
            }
            _ => self.element,
        };
        self.to_register(element)
    }

    /// The value of a count as written. UNDEFINED: digits above 9 count as what they are.
    fn value_of(&self, count: u16) -> u32 {
        if !self.bcd {
            return u32::from(count);
        }
        (0..4).rev().fold(0, |value, digit| value * 10 + u32::from(count >> (4 * digit) & 0xf)) % BCD_MODULUS
    }

    fn to_register(&self, element: u32) -> u16 {
        if !self.bcd {
            return element as u16;
        }
        [1000, 100, 10, 1].iter().fold(0, |bcd, place| bcd << 4 | (element / place % 10) as u16)
    }
}
