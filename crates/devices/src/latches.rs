use serde::{Deserialize, Serialize};

/// Ports 0x80 to 0x8f: the DMA page registers, of which 0x80 takes the POST codes.
/// No DMA controller uses them, so they are what software sees of them: storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageLatches {
    bytes: [u8; 16],
}

impl PageLatches {
    /// The byte last written.
    pub fn read(&self, offset: u16) -> u8 {
        self.bytes[usize::from(offset & 0xf)]
    }

    /// Stores `value`.
    pub fn write(&mut self, offset: u16, value: u8) {
        self.bytes[usize::from(offset & 0xf)] = value;
    }

    /// The POST code last written.
    pub fn post_code(&self) -> u8 {
        self.bytes[0]
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        *self = PageLatches::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_register_reads_back_what_was_written() {
        let mut latches = PageLatches::default();
        latches.write(0, 0xa5);
        latches.write(0xf, 0x12);
        assert_eq!((latches.post_code(), latches.read(0xf), latches.read(1)), (0xa5, 0x12, 0));
    }
}
