//! What PC firmware leaves in the CMOS RAM.

pub(super) const RAM_BYTES: usize = 128;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CONVENTIONAL_KIB: u16 = 640;

/// Equipment byte: an FPU and a keyboard, a display with its own firmware, no diskette drive.
const EQUIPMENT: u8 = 0b0000_0110;

/// The RAM with the sizes of memory and the checksum over the firmware's settings.
pub(super) fn firmware_ram(memory_bytes: u64) -> Vec<u8> {
    let mut ram = vec![0; RAM_BYTES];
    ram[0x14] = EQUIPMENT;
    let above_1_mib = memory_bytes.saturating_sub(MIB) / KIB;
    let above_16_mib = memory_bytes.saturating_sub(16 * MIB) / (64 * KIB);
    let extended_kib = saturate(above_1_mib);
    for (index, value) in
        [(0x15, CONVENTIONAL_KIB), (0x17, extended_kib), (0x30, extended_kib), (0x34, saturate(above_16_mib))]
    {
        ram[index..index + 2].copy_from_slice(&value.to_le_bytes());
    }
    let checksum: u16 = ram[0x10..0x2e].iter().map(|&byte| u16::from(byte)).sum();
    ram[0x2e..0x30].copy_from_slice(&checksum.to_be_bytes());
    ram
}

fn saturate(units: u64) -> u16 {
    u16::try_from(units).unwrap_or(u16::MAX)
}
