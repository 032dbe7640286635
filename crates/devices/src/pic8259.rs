//! The two cascaded 8259A interrupt controllers of a PC, with their edge/level registers
//! (Intel 8259A data sheet; PIIX data sheet for ELCR1 and ELCR2).
mod chip;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use chip::Pic8259;

/// The master's input that the slave drives.
const CASCADE: u8 = 2;
/// Lines whose trigger mode software can choose: not the timer, keyboard, cascade, RTC and FPU.
const ELCR_MASKS: [u8; 2] = [0xf8, 0xde];
/// What the data bus floats to when no chip answers the second acknowledge cycle.
const FLOATING_BUS: u8 = 0xff;

/// The master at 0x20 and the slave at 0xa0, cascaded on IRQ 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PicPair {
    master: Pic8259,
    slave: Pic8259,
}

impl Default for PicPair {
    fn default() -> Self {
        PicPair { master: Pic8259::new(), slave: Pic8259::new() }
    }
}

impl PicPair {
    /// Drives input `irq` (0 to 15) to `level`. Input 2 is the cascade and belongs to the slave.
    pub fn set_irq(&mut self, irq: u8, level: bool) {
        debug_assert!(irq < 16 && irq != CASCADE, "no such interrupt input: {irq}");
        if irq < 8 {
            self.master.set_line(irq, level);
        } else {
            self.slave.set_line(irq - 8, level);
            self.cascade();
        }
    }

    /// The master's INT output, which is the processor's INTR input.
    pub fn intr(&self) -> bool {
        self.master.int()
    }

    /// Whether an edge on `irq` would reach the processor as things are: it is unmasked all the
    /// way, and nothing in service holds it back.
    pub fn would_interrupt(&self, irq: u8) -> bool {
        let mut trial = self.clone();
        trial.set_irq(irq, false);
        trial.set_irq(irq, true);
        trial.intr()
    }

    /// The processor's acknowledge cycles: the vector of the interrupt to serve. Without a
    /// request left it is the spurious interrupt, IRQ 7 of the chip that was asked.
    pub fn acknowledge(&mut self) -> u8 {
        let (line, vector) = self.master.acknowledge();
        if !self.master.has_slave_on(line) {
            return vector;
        }
        if line != CASCADE || !self.slave.is_slave_number(CASCADE) {
            return FLOATING_BUS;
        }
        let (_, vector) = self.slave.acknowledge();
        // INT falls during the acknowledge, so that a further request is a new edge.
        self.master.set_line(CASCADE, false);
        self.cascade();
        vector
    }

    /// Reads port 0x20 or 0x21 (`offset` 0 or 1) of the master.
    pub fn read_master(&mut self, offset: u16) -> u8 {
        self.master.read(offset)
    }

    /// Writes port 0x20 or 0x21 of the master.
    pub fn write_master(&mut self, offset: u16, value: u8) {
        self.master.write(offset, value);
    }

    /// Reads port 0xa0 or 0xa1 of the slave.
    pub fn read_slave(&mut self, offset: u16) -> u8 {
        let value = self.slave.read(offset);
        self.cascade();
        value
    }

    /// Writes port 0xa0 or 0xa1 of the slave.
    pub fn write_slave(&mut self, offset: u16, value: u8) {
        self.slave.write(offset, value);
        self.cascade();
    }

    /// Reads edge/level register 0 (port 0x4d0) or 1 (0x4d1).
    pub fn read_elcr(&self, offset: u16) -> u8 {
        if offset == 0 { self.master.elcr() } else { self.slave.elcr() }
    }

    /// Writes an edge/level register: a set bit makes the line level triggered.
    pub fn write_elcr(&mut self, offset: u16, value: u8) {
        let value = value & ELCR_MASKS[usize::from(offset & 1)];
        if offset == 0 {
            self.master.set_elcr(value);
        } else {
            self.slave.set_elcr(value);
            self.cascade();
        }
    }

    /// The state after the reset line was pulled; input levels stay what they are.
    pub fn reset(&mut self) {
        self.master.reset();
        self.slave.reset();
        self.cascade();
    }

    /// The interrupt requests, IRQ 0 in bit 0.
    pub fn irr(&self) -> u16 {
        u16::from(self.master.irr()) | u16::from(self.slave.irr()) << 8
    }

    /// The interrupts in service.
    pub fn isr(&self) -> u16 {
        u16::from(self.master.isr()) | u16::from(self.slave.isr()) << 8
    }

    /// The masks.
    pub fn imr(&self) -> u16 {
        u16::from(self.master.imr()) | u16::from(self.slave.imr()) << 8
    }

    /// Whether a snapshot could hold this, whatever a file says.
    pub fn fits(&self) -> bool {
        self.master.fits() && self.slave.fits()
    }

    fn cascade(&mut self) {
        self.master.set_line(CASCADE, self.slave.int());
    }
}
