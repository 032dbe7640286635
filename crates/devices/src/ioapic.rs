//! The I/O APIC (82093AA data sheet): 24 inputs, each with a redirection entry that says which
//! message its interrupt becomes.
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::apic::{ApicMessage, DeliveryMode, Destination};

/// Inputs.
const PINS: usize = 24;
/// Version 0x11, and the number of the last redirection entry.
const VERSION: u32 = (PINS as u32 - 1) << 16 | 0x11;

/// Offsets of the two registers that the bus sees: which register, and its value.
const REGISTER_SELECT: u32 = 0x00;
const WINDOW: u32 = 0x10;

/// Numbers of the registers behind the window.
const ID: u8 = 0x00;
const VERSION_REGISTER: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
const REDIRECTION_FIRST: u8 = 0x10;
const REDIRECTION_LAST: u8 = 0x3f;

const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const ACTIVE_LOW: u64 = 1 << 13;
const LOGICAL: u64 = 1 << 11;
/// Destination, mask, trigger mode, polarity, destination mode, delivery mode, vector; not
/// delivery status, which is always idle here, and remote IRR.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// An I/O APIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApic {
    /// The ID that the board's firmware expects after RESET.
    first_id: u8,
    id: u8,
    /// Takes the ID when that is written.
    arbitration: u8,
    selected: u8,
    redirections: [u64; PINS],
    /// Levels at the inputs.
    levels: u32,
    /// Inputs with an edge that has become no message yet.
    edges: u32,
}

impl IoApic {
    /// The I/O APIC with this ID (four bits) after RESET, which masks every input.
    pub fn new(id: u8) -> Self {
        let id = id & 0xf;
        IoApic { first_id: id, id, arbitration: id, selected: 0, redirections: [MASKED; PINS], levels: 0, edges: 0 }
    }

    /// RESET. The levels at the inputs are what they are.
    pub fn reset(&mut self) {
        *self = IoApic { levels: self.levels, ..IoApic::new(self.first_id) };
    }

    /// Reads the register at `offset`. What there is not reads 0.
    pub fn read(&mut self, offset: u32) -> u32 {
        match offset {
            REGISTER_SELECT => self.selected.into(),
            WINDOW => self.read_selected(),
            _ => 0,
        }
    }

    /// Writes the register at `offset`.
    pub fn write(&mut self, offset: u32, value: u32) {
        match offset {
            REGISTER_SELECT => self.selected = value as u8,
            WINDOW => self.write_selected(value),
            _ => log::debug!("I/O APIC: write at {offset:#x}, where nothing is"),
        }
    }

    /// Drives input `pin` to `level`. An edge at a masked input is lost.
    pub fn set_irq(&mut self, pin: u8, level: bool) {
        debug_assert!(usize::from(pin) < PINS, "no such input of the I/O APIC: {pin}");
        let pin = usize::from(pin) % PINS;
        let was = self.is_active(pin);
        self.levels = self.levels & !(1 << pin) | u32::from(level) << pin;
        let rose = !was && self.is_active(pin);
        if rose && !self.is_level_triggered(pin) && !self.is_masked(pin) {
            self.edges |= 1 << pin;
        }
    }

    /// A local APIC broadcasts that the level-triggered interrupt `vector` was served.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in 0..PINS {
            if self.is_level_triggered(pin) && self.redirections[pin] as u8 == vector {
                self.redirections[pin] &= !REMOTE_IRR;
            }
        }
    }

    /// The messages that are due now with their inputs, in the order of these. A level-triggered
    /// input gives one as long as it is active, not before its last one was served.
    pub fn take_messages(&mut self) -> Vec<(u8, ApicMessage)> {
        let mut messages = Vec::new();
        for pin in 0..PINS {
            let edge = self.edges >> pin & 1 != 0;
            let level = self.is_level_triggered(pin) && self.is_active(pin) && self.may_send(pin);
            if !edge && !level {
                continue;
            }
            if level {
                self.redirections[pin] |= REMOTE_IRR;
            }
            messages.extend(self.message(pin, level).map(|message| (pin as u8, message)));
        }
        self.edges = 0;
        messages
    }

    /// No local APIC has taken the level-triggered message of input `pin`: its remote IRR, which
    /// says that one has, stays clear, and the message is due again.
    pub fn not_accepted(&mut self, pin: u8) {
        self.redirections[usize::from(pin) % PINS] &= !REMOTE_IRR;
    }

    /// Whether input `pin`, when it becomes active, gives a message as things are.
    pub fn would_interrupt(&self, pin: u8) -> bool {
        let pin = usize::from(pin) % PINS;
        self.may_send(pin) && self.message(pin, false).is_some()
    }

    /// Whether the table holds input `pin` back.
    pub fn holds_back(&self, pin: u8) -> bool {
        self.is_masked(usize::from(pin) % PINS)
    }

    fn read_selected(&self) -> u32 {
        match self.selected {
            ID => u32::from(self.id) << 24,
            VERSION_REGISTER => VERSION,
            ARBITRATION => u32::from(self.arbitration) << 24,
            REDIRECTION_FIRST..=REDIRECTION_LAST => {
                let entry = self.redirections[self.selected_pin()];
                (if self.selected & 1 == 0 { entry } else { entry >> 32 }) as u32
            }
            _ => 0,
        }
    }

    fn write_selected(&mut self, value: u32) {
        match self.selected {
            ID => {
                self.id = (value >> 24) as u8 & 0xf;
                self.arbitration = self.id;
            }
            VERSION_REGISTER | ARBITRATION => {}
            REDIRECTION_FIRST..=REDIRECTION_LAST => {
                let pin = self.selected_pin();
                let shift = if self.selected & 1 == 0 { 0 } else { 32 };
                let writable = WRITABLE & 0xffff_ffff << shift;
                let entry = &mut self.redirections[pin];
                *entry = *entry & !writable | u64::from(value) << shift & writable;
                if !self.is_level_triggered(pin) {
                    // Software without an EOI register switches to edges to end an interrupt.
                    self.redirections[pin] &= !REMOTE_IRR;
                }
            }
            _ => log::debug!("I/O APIC: write of register {:#x}, which there is not", self.selected),
        }
    }

    fn selected_pin(&self) -> usize {
        usize::from(self.selected - REDIRECTION_FIRST) / 2
    }

    /// What an interrupt at `pin` becomes; `None` for a reserved delivery mode.
    fn message(&self, pin: usize, level: bool) -> Option<ApicMessage> {
        let entry = self.redirections[pin];
        let mode = DeliveryMode::from_bits((entry >> 8) as u32).filter(|&mode| mode != DeliveryMode::Startup)?;
        let address = (entry >> 56) as u8;
        let destination =
            if entry & LOGICAL != 0 { Destination::Logical(address) } else { Destination::Physical(address) };
        Some(ApicMessage { mode, vector: entry as u8, level, assert: true, destination })
    }

    /// Not masked, and nothing of it unserved.
    fn may_send(&self, pin: usize) -> bool {
        !self.is_masked(pin) && self.redirections[pin] & REMOTE_IRR == 0
    }

    /// SMI, NMI, INIT and ExtINT are edges whatever the entry says.
    fn is_level_triggered(&self, pin: usize) -> bool {
        let entry = self.redirections[pin];
        entry & LEVEL != 0 && DeliveryMode::from_bits((entry >> 8) as u32).is_some_and(DeliveryMode::has_vector)
    }

    fn is_active(&self, pin: usize) -> bool {
        (self.levels >> pin & 1 != 0) != (self.redirections[pin] & ACTIVE_LOW != 0)
    }

    fn is_masked(&self, pin: usize) -> bool {
        self.redirections[pin] & MASKED != 0
    }
}
