use serde::{Deserialize, Serialize};

/// Keys (QEMU, "QEMU Firmware Configuration (fw_cfg) Device").
mod key {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const RAM_SIZE: u16 = 0x03;
    pub const CPUS: u16 = 0x05;
    pub const MAX_CPUS: u16 = 0x0f;
    pub const FILE_DIRECTORY: u16 = 0x19;
}

/// The traditional interface, without DMA.
const ID_TRADITIONAL: u32 = 1;

/// QEMU's firmware configuration device at ports 0x510 and 0x511: what the machine consists of,
/// for software that asks. There are no files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwCfg {
    memory_bytes: u64,
    cpus: u16,
    selected: u16,
    offset: u32,
}

impl FwCfg {
    /// For a machine of this size.
    pub fn new(memory_bytes: u64, cpus: u16) -> Self {
        FwCfg { memory_bytes, cpus, selected: 0, offset: 0 }
    }

    /// Writes the selector, a word: the item's first byte comes next.
    pub fn select(&mut self, key: u16) {
        self.selected = key;
        self.offset = 0;
    }

    /// Reads the next byte of the item; 0 behind its end, and of an item that there is not.
    pub fn read(&mut self) -> u8 {
        let byte = self.item().get(self.offset as usize).copied().unwrap_or(0);
        self.offset = self.offset.saturating_add(1);
        byte
    }

    /// The state after the reset line was pulled.
    pub fn reset(&mut self) {
        self.select(key::SIGNATURE);
    }

    fn item(&self) -> Vec<u8> {
        match self.selected {
            key::SIGNATURE => b"QEMU".to_vec(),
            key::ID => ID_TRADITIONAL.to_le_bytes().to_vec(),
            key::RAM_SIZE => self.memory_bytes.to_le_bytes().to_vec(),
            key::CPUS | key::MAX_CPUS => self.cpus.to_le_bytes().to_vec(),
            // The count of files, which unlike the rest is big endian.
            key::FILE_DIRECTORY => 0_u32.to_be_bytes().to_vec(),
            key => {
                log::debug!("fw_cfg: item {key:#x}, which there is not");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<const N: usize>(device: &mut FwCfg, key: u16) -> [u8; N] {
        device.select(key);
        std::array::from_fn(|_| device.read())
    }

    #[test]
    fn items_are_what_software_for_qemu_expects() {
        let mut device = FwCfg::new(64 << 20, 4);
        assert_eq!(item(&mut device, 0x00), *b"QEMU\0\0");
        assert_eq!(item(&mut device, 0x01), [1, 0, 0, 0]);
        assert_eq!(item(&mut device, 0x03), [0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(item(&mut device, 0x05), [4, 0]);
        assert_eq!(item(&mut device, 0x0f), [4, 0, 0]);
        assert_eq!(item(&mut device, 0x19), [0; 8], "no files");
        assert_eq!(item(&mut device, 0x8003), [0; 4], "no such item");
    }

    #[test]
    fn a_selection_begins_the_item_anew() {
        let mut device = FwCfg::new(64 << 20, 1);
        assert_eq!(item(&mut device, 0), *b"QE");
        assert_eq!(item(&mut device, 0), *b"QEM");
        device.reset();
        assert_eq!(device.read(), b'Q');
    }
}
