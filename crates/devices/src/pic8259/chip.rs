use serde::{Deserialize, Serialize};

const LINES: u8 = 8;
/// The input that a spurious interrupt pretends to be.
const SPURIOUS_LINE: u8 = 7;

// Initialization command word 1.
const ICW1: u8 = 1 << 4;
const ICW1_ICW4_FOLLOWS: u8 = 1 << 0;
const ICW1_SINGLE: u8 = 1 << 1;

// Initialization command word 4.
const ICW4_AUTO_EOI: u8 = 1 << 1;
const ICW4_MASTER: u8 = 1 << 2;
const ICW4_BUFFERED: u8 = 1 << 3;
const ICW4_SPECIAL_FULLY_NESTED: u8 = 1 << 4;

// Operation command words.
const OCW3: u8 = 1 << 3;
const OCW3_READ_ISR: u8 = 1 << 0;
const OCW3_READ_REGISTER: u8 = 1 << 1;
const OCW3_POLL: u8 = 1 << 2;
const OCW3_SPECIAL_MASK: u8 = 1 << 5;
const OCW3_SET_SPECIAL_MASK: u8 = 1 << 6;

/// A poll's answer has this bit set when there was a request.
const POLL_REQUEST: u8 = 1 << 7;

/// Which initialization command word the data port takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expect {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A in 8086 mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pic8259 {
    /// Levels on the inputs.
    lines: u8,
    /// Edge-sense latches: inputs that rose, are still high and were not acknowledged.
    edges: u8,
    imr: u8,
    isr: u8,
    /// Level-triggered inputs.
    elcr: u8,
    /// Bits 7:3 of the vectors.
    vector_base: u8,
    icw3: u8,
    expect: Expect,
    single: bool,
    icw4_follows: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_fully_nested: bool,
    special_mask: bool,
    poll: bool,
    read_isr: bool,
    /// The input of lowest priority; the one above it, modulo 8, has the highest.
    lowest: u8,
}

impl Pic8259 {
    /// Powered on and not yet initialized. UNDEFINED: everything is masked, as firmware leaves
    /// it, so that a guest without firmware gets no interrupt that it has not asked for.
    pub fn new() -> Self {
        Pic8259 {
            lines: 0,
            edges: 0,
            imr: !0,
            isr: 0,
            elcr: 0,
            vector_base: 0,
            icw3: 0,
            expect: Expect::Mask,
            single: false,
            icw4_follows: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            poll: false,
            read_isr: false,
            lowest: LINES - 1,
        }
    }

    /// Back to the state of power-on, but for what others drive.
    pub fn reset(&mut self) {
        *self = Pic8259 { lines: self.lines, ..Pic8259::new() };
    }

    pub fn set_line(&mut self, line: u8, level: bool) {
        let bit = 1 << line;
        if !level {
            // A request that goes away before its acknowledge is gone.
            self.lines &= !bit;
            self.edges &= !bit;
        } else if self.lines & bit == 0 {
            self.lines |= bit;
            self.edges |= bit;
        }
    }

    pub fn irr(&self) -> u8 {
        (self.lines & self.elcr) | (self.edges & !self.elcr)
    }

    pub fn isr(&self) -> u8 {
        self.isr
    }

    pub fn imr(&self) -> u8 {
        self.imr
    }

    pub fn elcr(&self) -> u8 {
        self.elcr
    }

    pub fn set_elcr(&mut self, value: u8) {
        self.elcr = value;
    }

    /// Whether the request on `line` is answered by a slave.
    pub fn has_slave_on(&self, line: u8) -> bool {
        !self.single && self.icw3 & (1 << line) != 0
    }

    /// Whether this chip, as a slave, answers to `number` on the cascade lines.
    pub fn is_slave_number(&self, number: u8) -> bool {
        self.icw3 & 7 == number
    }

    /// The INT output. It is quiet from ICW1 until the last initialization word.
    pub fn int(&self) -> bool {
        self.expect == Expect::Mask && self.best_request().is_some()
    }

    /// Both acknowledge cycles: the line served and its vector.
    pub fn acknowledge(&mut self) -> (u8, u8) {
        match self.best_request() {
            Some(line) => {
                self.begin_service(line);
                (line, self.vector_base | line)
            }
            None => (SPURIOUS_LINE, self.vector_base | SPURIOUS_LINE),
        }
    }

    pub fn read(&mut self, offset: u16) -> u8 {
        if self.poll {
            self.poll = false;
            return match self.best_request() {
                Some(line) => {
                    self.begin_service(line);
                    POLL_REQUEST | line
                }
                None => SPURIOUS_LINE,
            };
        }
        match (offset, self.read_isr) {
            (0, false) => self.irr(),
            (0, true) => self.isr,
            _ => self.imr,
        }
    }

    pub fn write(&mut self, offset: u16, value: u8) {
        if offset != 0 {
            self.write_data(value);
        } else if value & ICW1 != 0 {
            self.begin_initialization(value);
        } else if value & OCW3 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value);
        }
    }

    /// Whether a chip could be like this.
    pub fn fits(&self) -> bool {
        self.lowest < LINES
    }

    fn begin_initialization(&mut self, icw1: u8) {
        // The edge latches are cleared: a line that is already high asks for nothing until it
        // rises again. LTIM (bit 3) is ignored, since the ELCR took its place.
        *self = Pic8259 {
            lines: self.lines,
            elcr: self.elcr,
            imr: 0,
            vector_base: self.vector_base,
            expect: Expect::Icw2,
            single: icw1 & ICW1_SINGLE != 0,
            icw4_follows: icw1 & ICW1_ICW4_FOLLOWS != 0,
            ..Pic8259::new()
        };
    }

    fn write_data(&mut self, value: u8) {
        match self.expect {
            Expect::Mask => self.imr = value,
            Expect::Icw2 => {
                self.vector_base = value & 0xf8;
                self.expect = if !self.single { Expect::Icw3 } else { self.after_icw3() };
            }
            Expect::Icw3 => {
                self.icw3 = value;
                self.expect = self.after_icw3();
            }
            Expect::Icw4 => {
                // DEVIATION: the 8080 mode (bit 0 clear) is not there; vectors are always 8086 ones.
                log::debug!("8259A: ICW4 {value:#04x}, buffered {}", value & (ICW4_BUFFERED | ICW4_MASTER) != 0);
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                self.special_fully_nested = value & ICW4_SPECIAL_FULLY_NESTED != 0;
                self.expect = Expect::Mask;
            }
        }
    }

    fn after_icw3(&self) -> Expect {
        if self.icw4_follows { Expect::Icw4 } else { Expect::Mask }
    }

    fn write_ocw2(&mut self, value: u8) {
        let line = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b001 => {
                self.end_highest();
            }
            0b010 => {}
            0b011 => self.isr &= !(1 << line),
            0b100 => self.rotate_on_auto_eoi = true,
            0b101 => {
                if let Some(ended) = self.end_highest() {
                    self.lowest = ended;
                }
            }
            0b110 => self.lowest = line,
            _ => {
                self.isr &= !(1 << line);
                self.lowest = line;
            }
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        self.poll = value & OCW3_POLL != 0;
        if value & OCW3_READ_REGISTER != 0 {
            self.read_isr = value & OCW3_READ_ISR != 0;
        }
        if value & OCW3_SET_SPECIAL_MASK != 0 {
            self.special_mask = value & OCW3_SPECIAL_MASK != 0;
        }
    }

    /// The non-specific end of interrupt. In special mask mode it spares masked levels.
    fn end_highest(&mut self) -> Option<u8> {
        let line = self.highest(self.isr_in_force())?;
        self.isr &= !(1 << line);
        Some(line)
    }

    fn begin_service(&mut self, line: u8) {
        self.edges &= !(1 << line);
        if !self.auto_eoi {
            self.isr |= 1 << line;
        } else if self.rotate_on_auto_eoi {
            self.lowest = line;
        }
    }

    /// The line that would be served now: unmasked and above everything in service.
    fn best_request(&self) -> Option<u8> {
        let line = self.highest(self.irr() & !self.imr)?;
        match self.highest(self.isr_in_force()) {
            None => Some(line),
            Some(served) if self.rank(line) < self.rank(served) => Some(line),
            // A slave's higher requests pass while it is in service.
            Some(served) if served == line && self.special_fully_nested && self.has_slave_on(line) => Some(line),
            Some(_) => None,
        }
    }

    /// The in-service bits that hold requests back.
    fn isr_in_force(&self) -> u8 {
        if self.special_mask { self.isr & !self.imr } else { self.isr }
    }

    fn highest(&self, lines: u8) -> Option<u8> {
        let first = (self.lowest + 1) % LINES;
        let rank = lines.rotate_right(u32::from(first)).trailing_zeros() as u8;
        (rank < LINES).then_some((first + rank) % LINES)
    }

    /// 0 for the highest priority.
    fn rank(&self, line: u8) -> u8 {
        (line + LINES - 1 - self.lowest) % LINES
    }
}
