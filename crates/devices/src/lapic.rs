//! The local APIC of a CPU, in xAPIC mode (SDM Vol. 3A, "Advanced Programmable Interrupt
//! Controller (APIC)"). The interrupt bus, the I/O APIC and the CPU are the machine's.
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

use serde::{Deserialize, Serialize};

use crate::{
    Board,
    apic::{ApicMessage, CpuSignal, DeliveryMode, Destination, LOWEST_VECTOR},
};
use timer::Timer;
use vectors::Vectors;

/// Offsets of the registers in the page.
mod register {
    pub const ID: u32 = 0x020;
    pub const VERSION: u32 = 0x030;
    pub const TPR: u32 = 0x080;
    pub const APR: u32 = 0x090;
    pub const PPR: u32 = 0x0a0;
    pub const EOI: u32 = 0x0b0;
    pub const REMOTE_READ: u32 = 0x0c0;
    pub const LDR: u32 = 0x0d0;
    pub const DFR: u32 = 0x0e0;
    pub const SVR: u32 = 0x0f0;
    pub const ISR: u32 = 0x100;
    pub const ISR_LAST: u32 = 0x170;
    pub const TMR: u32 = 0x180;
    pub const TMR_LAST: u32 = 0x1f0;
    pub const IRR: u32 = 0x200;
    pub const IRR_LAST: u32 = 0x270;
    pub const ESR: u32 = 0x280;
    pub const ICR_LOW: u32 = 0x300;
    pub const ICR_HIGH: u32 = 0x310;
    pub const LVT_FIRST: u32 = 0x320;
    pub const LVT_LAST: u32 = 0x370;
    pub const INITIAL_COUNT: u32 = 0x380;
    pub const CURRENT_COUNT: u32 = 0x390;
    pub const DIVIDE: u32 = 0x3e0;
}

/// Version 0x14, and six LVT entries.
const VERSION: u32 = 5 << 16 | 0x14;

/// The LVT entries in the order of their registers.
const LVT_TIMER: usize = 0;
const LVT_LINT: [usize; 2] = [3, 4];
const LVT_ERROR: usize = 5;
const LVT_ENTRIES: usize = 6;
/// Writable bits of each LVT entry: timer, thermal monitor, performance counters, LINT0, LINT1,
/// error.
const LVT_WRITABLE: [u32; LVT_ENTRIES] = [0x3_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
const LVT_LEVEL: u32 = 1 << 15;
const LVT_REMOTE_IRR: u32 = 1 << 14;
const LVT_ACTIVE_LOW: u32 = 1 << 13;
/// Not masked, delivery mode ExtINT.
const LVT_EXTINT: u32 = 7 << 8;

/// Spurious vector, software enable, focus checking.
const SVR_WRITABLE: u32 = 0x3ff;
const SVR_ENABLED: u32 = 1 << 8;
const SVR_RESET: u32 = 0xff;

const ICR_WRITABLE: u32 = 0xc_cfff;
const ICR_LOGICAL: u32 = 1 << 11;
const ICR_ASSERT: u32 = 1 << 14;
const ICR_LEVEL: u32 = 1 << 15;

/// Bits below the model are always set.
const DFR_ONES: u32 = 0x0fff_ffff;
const DFR_FLAT: u32 = 0xf;
const DFR_CLUSTER: u32 = 0;
/// Every logical destination and every physical ID.
const BROADCAST: u8 = 0xff;

/// A vector below 16 in the ICR.
const ERROR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
/// A vector below 16 in a message or in the LVT.
const ERROR_RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
/// An access to a register that there is not.
const ERROR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// What a write asks of the interrupt bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LapicOutput {
    /// A message for other local APICs, or for the sender too.
    Message(ApicMessage),
    /// A level-triggered interrupt was served: the I/O APIC gets to know.
    EndOfInterrupt {
        /// Its vector.
        vector: u8,
    },
}

/// What an acknowledge cycle gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The interrupt to serve.
    Vector(u8),
    /// An ExtINT: the 8259A pair gives the vector.
    External,
}

/// A local APIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapic {
    /// The ID that the board gives at RESET.
    strapped_id: u8,
    id: u8,
    task_priority: u8,
    logical_id: u8,
    /// Bits 31:28 of the destination format register.
    destination_format: u32,
    spurious: u32,
    in_service: Vectors,
    trigger_mode: Vectors,
    requested: Vectors,
    /// Errors since the last write of ESR, and what that write made readable.
    errors: u32,
    error_status: u32,
    icr_low: u32,
    icr_high: u32,
    lvt: [u32; LVT_ENTRIES],
    timer: Timer,
    /// Levels at LINT0 and LINT1.
    lint: [bool; 2],
    /// An ExtINT message that was not acknowledged yet.
    external: bool,
}

impl Lapic {
    /// The local APIC with this ID after RESET.
    pub fn new(id: u8) -> Self {
        let mut lapic = Lapic {
            strapped_id: id,
            id,
            task_priority: 0,
            logical_id: 0,
            destination_format: DFR_FLAT,
            spurious: SVR_RESET,
            in_service: Vectors::default(),
            trigger_mode: Vectors::default(),
            requested: Vectors::default(),
            errors: 0,
            error_status: 0,
            icr_low: 0,
            icr_high: 0,
            lvt: [LVT_MASKED; LVT_ENTRIES],
            timer: Timer::default(),
            lint: [false; 2],
            external: false,
        };
        if id == 0 {
            // DEVIATION: the manual has every entry masked. Software that knows no APIC would then
            // get no interrupt from the 8259A pair without firmware that opens this way for it.
            lapic.lvt[LVT_LINT[0]] = LVT_EXTINT;
        }
        lapic
    }

    /// RESET. The levels at the pins are what they are.
    pub fn reset(&mut self) {
        *self = Lapic { lint: self.lint, ..Lapic::new(self.strapped_id) };
    }

    /// INIT: as RESET, but the ID stays (SDM Vol. 3A, "Local APIC State After It Receives an
    /// INIT Reset").
    pub fn init(&mut self) {
        *self = Lapic { id: self.id, lint: self.lint, ..Lapic::new(self.strapped_id) };
    }

    /// The ID as software sees it.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Whether software has enabled it (SVR bit 8): only then it takes vectors from outside.
    pub fn is_enabled(&self) -> bool {
        self.spurious & SVR_ENABLED != 0
    }

    /// Reads the register at `offset` of the page.
    ///
    /// UNDEFINED: only 32-bit accesses at multiples of 16 are defined; between them reads give 0.
    pub fn read(&mut self, offset: u32, board: &impl Board) -> u32 {
        self.wake(board);
        if offset & 0xf != 0 {
            return 0;
        }
        match offset {
            register::ID => u32::from(self.id) << 24,
            register::VERSION => VERSION,
            register::TPR => u32::from(self.task_priority),
            register::PPR => u32::from(self.processor_priority()),
            // xAPICs have neither, yet reading them is no error.
            register::APR | register::REMOTE_READ => 0,
            register::EOI => 0,
            register::LDR => u32::from(self.logical_id) << 24,
            register::DFR => self.destination_format << 28 | DFR_ONES,
            register::SVR => self.spurious,
            register::ISR..=register::ISR_LAST => self.in_service.word(offset >> 4),
            register::TMR..=register::TMR_LAST => self.trigger_mode.word(offset >> 4),
            register::IRR..=register::IRR_LAST => self.requested.word(offset >> 4),
            register::ESR => self.error_status,
            register::ICR_LOW => self.icr_low,
            register::ICR_HIGH => self.icr_high,
            register::LVT_FIRST..=register::LVT_LAST => self.lvt[lvt_index(offset)],
            register::INITIAL_COUNT => self.timer.initial,
            register::CURRENT_COUNT => self.timer.current(board.now_ns()),
            register::DIVIDE => self.timer.divide_configuration(),
            _ => {
                log::debug!("local APIC {}: read of register {offset:#05x}, which there is not", self.id);
                self.flag_error(ERROR_ILLEGAL_REGISTER);
                0
            }
        }
    }

    /// Writes the register at `offset` of the page; those that are read-only keep their value.
    pub fn write(&mut self, offset: u32, value: u32, board: &mut impl Board) -> Option<LapicOutput> {
        self.wake(board);
        if offset & 0xf != 0 {
            return None;
        }
        match offset {
            register::ID => self.id = (value >> 24) as u8,
            register::TPR => self.task_priority = value as u8,
            register::EOI => return self.end_of_interrupt(),
            register::LDR => self.logical_id = (value >> 24) as u8,
            register::DFR => self.destination_format = value >> 28,
            register::SVR => self.write_spurious(value),
            register::ESR => self.error_status = std::mem::take(&mut self.errors),
            register::ICR_LOW => {
                self.icr_low = value & ICR_WRITABLE;
                return self.send();
            }
            register::ICR_HIGH => self.icr_high = value & 0xff00_0000,
            register::LVT_FIRST..=register::LVT_LAST => self.write_lvt(lvt_index(offset), value),
            register::INITIAL_COUNT => self.timer.start(value, board.now_ns()),
            register::DIVIDE => self.timer.set_divide_configuration(value, board.now_ns()),
            register::VERSION | register::APR | register::PPR | register::REMOTE_READ | register::CURRENT_COUNT => {}
            register::ISR..=register::IRR_LAST => {}
            _ => {
                log::debug!("local APIC {}: write of register {offset:#05x}, which there is not", self.id);
                self.flag_error(ERROR_ILLEGAL_REGISTER);
            }
        }
        None
    }

    /// Brings the timer up to now.
    pub fn wake(&mut self, board: &impl Board) {
        let periodic = self.lvt[LVT_TIMER] & LVT_PERIODIC != 0;
        if self.timer.advance(board.now_ns(), periodic) {
            self.raise_local(LVT_TIMER);
        }
    }

    /// When the timer interrupts next. A masked timer counts, but nobody needs to be woken.
    pub fn deadline_ns(&self) -> Option<u64> {
        if self.is_masked(LVT_TIMER) { None } else { self.timer.expiry_ns() }
    }

    /// Whether a message is for this one. `sender` is the ID that the board gave to the local APIC
    /// that sent it, whatever software has made of it since, or `None` for the I/O APIC.
    /// (SDM Vol. 3A, "Determining IPI Destination".)
    pub fn is_addressed(&self, destination: Destination, sender: Option<u8>) -> bool {
        match destination {
            Destination::Physical(id) => id == BROADCAST || id == self.id,
            Destination::Logical(BROADCAST) => true,
            Destination::Logical(address) => match self.destination_format {
                DFR_FLAT => address & self.logical_id != 0,
                DFR_CLUSTER => address >> 4 == self.logical_id >> 4 && address & self.logical_id & 0xf != 0,
                // UNDEFINED: no model; only a broadcast reaches it.
                _ => false,
            },
            Destination::Myself => sender == Some(self.strapped_id),
            Destination::All => true,
            Destination::Others => sender != Some(self.strapped_id),
        }
    }

    /// Takes a message that is for this one: sets IRR and TMR, or gives what it does to the CPU.
    pub fn accept(&mut self, message: &ApicMessage) -> Option<CpuSignal> {
        match message.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                if self.is_enabled() {
                    self.request(message.vector, message.level);
                }
                None
            }
            DeliveryMode::ExtInt => {
                self.external |= self.is_enabled();
                None
            }
            DeliveryMode::Smi => Some(CpuSignal::Smi),
            DeliveryMode::Nmi => Some(CpuSignal::Nmi),
            // De-asserting INIT only set arbitration IDs, which an xAPIC does not have.
            DeliveryMode::Init => message.assert.then_some(CpuSignal::Init),
            DeliveryMode::Startup => Some(CpuSignal::Startup { vector: message.vector }),
        }
    }

    /// PPR: the higher of the task's priority and that of what is in service.
    pub fn processor_priority(&self) -> u8 {
        let in_service = self.in_service.highest().unwrap_or(0) & 0xf0;
        if self.task_priority & 0xf0 >= in_service { self.task_priority } else { in_service }
    }

    /// Drives LINT0 (`pin` 0, the 8259A pair's INTR) or LINT1 (1, NMI). Gives what the LVT makes
    /// of it beside an interrupt.
    pub fn set_lint(&mut self, pin: u8, level: bool) -> Option<CpuSignal> {
        let pin = usize::from(pin & 1);
        let was = self.lint_is_active(pin);
        self.lint[pin] = level;
        let entry = LVT_LINT[pin];
        if self.lint_is_level_triggered(pin) {
            self.follow_level(pin);
            return None;
        }
        if was || !self.lint_is_active(pin) || self.is_masked(entry) {
            return None;
        }
        match DeliveryMode::from_bits(self.lvt[entry] >> 8) {
            Some(DeliveryMode::Fixed) => {
                self.raise_local(entry);
                None
            }
            Some(DeliveryMode::Smi) => Some(CpuSignal::Smi),
            Some(DeliveryMode::Nmi) => Some(CpuSignal::Nmi),
            Some(DeliveryMode::Init) => Some(CpuSignal::Init),
            // ExtINT is a level, asked for in `intr`; the rest is reserved in the LVT.
            _ => None,
        }
    }

    /// Whether the CPU is to be interrupted: a request above its priority, or an ExtINT.
    pub fn intr(&self) -> bool {
        self.deliverable().is_some() || self.external_interrupt()
    }

    /// The CPU takes an interrupt. Where none is left above its priority, that is the spurious
    /// one, which is not in service afterwards (SDM Vol. 3A, "Spurious Interrupt").
    pub fn acknowledge(&mut self) -> Acknowledged {
        if let Some(vector) = self.deliverable() {
            self.requested.set(vector, false);
            self.in_service.set(vector, true);
            return Acknowledged::Vector(vector);
        }
        if self.external_interrupt() {
            self.external = false;
            return Acknowledged::External;
        }
        Acknowledged::Vector(self.spurious as u8)
    }

    /// Whether the timer, when it ends, could reach the CPU as things are.
    pub fn would_interrupt_timer(&self) -> bool {
        let vector = self.lvt[LVT_TIMER] as u8;
        self.deadline_ns().is_some() && vector >= LOWEST_VECTOR && self.is_above_priority(vector)
    }

    /// Whether a snapshot of `now_ns` could hold this, whatever a file says.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.timer.fits(now_ns)
    }

    fn write_spurious(&mut self, value: u32) {
        self.spurious = value & SVR_WRITABLE;
        if !self.is_enabled() {
            self.lvt.iter_mut().for_each(|entry| *entry |= LVT_MASKED);
        }
    }

    fn write_lvt(&mut self, entry: usize, value: u32) {
        let kept = self.lvt[entry] & LVT_REMOTE_IRR;
        // While it is disabled by software its entries stay masked.
        let masked = if self.is_enabled() { 0 } else { LVT_MASKED };
        self.lvt[entry] = value & LVT_WRITABLE[entry] | kept | masked;
        if let Some(pin) = LVT_LINT.iter().position(|&lint| lint == entry) {
            if self.lint_is_level_triggered(pin) {
                self.follow_level(pin);
            } else {
                self.lvt[entry] &= !LVT_REMOTE_IRR;
            }
        }
    }

    /// The ICR was written: what goes out.
    fn send(&mut self) -> Option<LapicOutput> {
        let vector = self.icr_low as u8;
        let mode = match DeliveryMode::from_bits(self.icr_low >> 8) {
            Some(mode) if mode != DeliveryMode::ExtInt => mode,
            _ => {
                log::debug!("local APIC {}: reserved delivery mode in ICR {:#x}", self.id, self.icr_low);
                return None;
            }
        };
        if mode.has_vector() && vector < LOWEST_VECTOR {
            self.flag_error(ERROR_SEND_ILLEGAL_VECTOR);
            return None;
        }
        let address = (self.icr_high >> 24) as u8;
        let destination = match self.icr_low >> 18 & 3 {
            0 if self.icr_low & ICR_LOGICAL != 0 => Destination::Logical(address),
            0 => Destination::Physical(address),
            1 => Destination::Myself,
            2 => Destination::All,
            _ => Destination::Others,
        };
        // Only INIT knows a level that is let go; every other IPI is an edge whatever is written.
        let assert = mode != DeliveryMode::Init || self.icr_low & ICR_ASSERT != 0 || self.icr_low & ICR_LEVEL == 0;
        Some(LapicOutput::Message(ApicMessage { mode, vector, level: false, assert, destination }))
    }

    fn end_of_interrupt(&mut self) -> Option<LapicOutput> {
        let vector = self.in_service.highest()?;
        self.in_service.set(vector, false);
        if !self.trigger_mode.has(vector) {
            return None;
        }
        for (pin, entry) in LVT_LINT.into_iter().enumerate() {
            if self.lvt[entry] & LVT_REMOTE_IRR != 0 && self.lvt[entry] as u8 == vector {
                self.lvt[entry] &= !LVT_REMOTE_IRR;
                self.follow_level(pin);
            }
        }
        Some(LapicOutput::EndOfInterrupt { vector })
    }

    /// An interrupt of this local APIC's own, of an edge: timer, error or a pin.
    fn raise_local(&mut self, entry: usize) {
        if !self.is_masked(entry) {
            self.request(self.lvt[entry] as u8, false);
        }
    }

    fn request(&mut self, vector: u8, level: bool) {
        if vector < LOWEST_VECTOR {
            log::debug!("local APIC {}: interrupt with vector {vector}", self.id);
            return self.flag_error(ERROR_RECEIVED_ILLEGAL_VECTOR);
        }
        self.requested.set(vector, true);
        self.trigger_mode.set(vector, level);
    }

    /// The first error since ESR was written interrupts; the write arms that again.
    fn flag_error(&mut self, error: u32) {
        let first = self.errors == 0;
        self.errors |= error;
        let vector = self.lvt[LVT_ERROR] as u8;
        if first && !self.is_masked(LVT_ERROR) {
            if vector < LOWEST_VECTOR {
                self.errors |= ERROR_RECEIVED_ILLEGAL_VECTOR;
            } else {
                self.request(vector, false);
            }
        }
    }

    /// A level-triggered pin asks as long as it is active and its last request was served.
    fn follow_level(&mut self, pin: usize) {
        let entry = LVT_LINT[pin];
        let asks = self.lint_is_active(pin) && !self.is_masked(entry) && self.lvt[entry] & LVT_REMOTE_IRR == 0;
        if asks && self.lint_is_level_triggered(pin) {
            self.lvt[entry] |= LVT_REMOTE_IRR;
            self.request(self.lvt[entry] as u8, true);
        }
    }

    /// LINT1 is an edge whatever the entry says, and so is all but a fixed interrupt.
    fn lint_is_level_triggered(&self, pin: usize) -> bool {
        let entry = self.lvt[LVT_LINT[pin]];
        pin == 0 && entry & LVT_LEVEL != 0 && DeliveryMode::from_bits(entry >> 8) == Some(DeliveryMode::Fixed)
    }

    fn lint_is_active(&self, pin: usize) -> bool {
        self.lint[pin] != (self.lvt[LVT_LINT[pin]] & LVT_ACTIVE_LOW != 0)
    }

    /// An ExtINT that waits: a message, or the level of a pin that is wired through.
    fn external_interrupt(&self) -> bool {
        let through = |pin: usize| {
            let entry = self.lvt[LVT_LINT[pin]];
            entry & LVT_MASKED == 0
                && DeliveryMode::from_bits(entry >> 8) == Some(DeliveryMode::ExtInt)
                && self.lint_is_active(pin)
        };
        self.external || through(0) || through(1)
    }

    fn deliverable(&self) -> Option<u8> {
        self.requested.highest().filter(|&vector| self.is_above_priority(vector))
    }

    fn is_above_priority(&self, vector: u8) -> bool {
        vector >> 4 > self.processor_priority() >> 4
    }

    fn is_masked(&self, entry: usize) -> bool {
        self.lvt[entry] & LVT_MASKED != 0
    }
}

fn lvt_index(offset: u32) -> usize {
    ((offset - register::LVT_FIRST) >> 4) as usize
}
