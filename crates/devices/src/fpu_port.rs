use serde::{Deserialize, Serialize};

/// The PC/AT's coprocessor error latch, ports 0xf0 to 0xff.
///
/// With CR0.NE clear the processor reports x87 errors on its FERR# pin; the board latches
/// it as IRQ 13 until software writes port 0xf0. From then on IGNNE# lets the handler use the
/// x87, until it has cleared the exceptions and FERR# with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FpuPort {
    error: bool,
    ignored: bool,
}

impl FpuPort {
    /// The level of the processor's FERR#. Gives that of IGNNE#.
    pub fn set_error(&mut self, asserted: bool) -> bool {
        if asserted {
            self.error |= !self.ignored;
        } else {
            self.ignored = false;
        }
        self.ignored
    }

    /// Level of IRQ 13.
    pub fn irq(&self) -> bool {
        self.error
    }

    /// Port 0xf0 clears the latch, 0xf1 too; the rest of the range does nothing.
    pub fn write(&mut self, offset: u16) {
        if offset <= 1 {
            self.ignored |= self.error;
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
    fn irq_13_stays_until_port_f0_is_written_and_errors_are_ignored_until_they_are_cleared() {
        let mut port = FpuPort::default();
        assert!(!port.set_error(true));
        port.write(4);
        assert!(port.irq());
        port.write(0);
        assert!(!port.irq());
        assert!(port.set_error(true), "the handler may use the x87");
        assert!(!port.irq());
        assert!(!port.set_error(false));
        assert!(!port.set_error(true), "the next error is another");
        assert!(port.irq());
    }
}
