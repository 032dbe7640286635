use serde::{Deserialize, Serialize};

/// The PC/AT's coprocessor error latch, ports 0xf0 to 0xff.
///
/// With CR0.NE clear the processor reports x87 errors on its FERR# pin; the board latches
/// it as IRQ 13 until software writes port 0xf0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FpuPort {
    error: bool,
}

impl FpuPort {
    /// The processor asserts FERR#.
    pub fn raise_error(&mut self) {
        self.error = true;
    }

    /// Level of IRQ 13; also the IGNNE# input of the processor is its inverse.
    pub fn irq(&self) -> bool {
        self.error
    }

    /// Port 0xf0 clears the latch, 0xf1 resets it too; the rest of the range does nothing.
    pub fn write(&mut self, offset: u16) {
        if offset <= 1 {
            self.error = false;
        }
    }

    /// Nothing can be read: the bus floats high.
    pub fn read(&self) -> u8 {
        0xff
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = FpuPort::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irq_13_stays_until_port_f0_is_written() {
        let mut port = FpuPort::default();
        port.raise_error();
        port.write(4);
        assert!(port.irq());
        port.write(0);
        assert!(!port.irq());
    }
}
