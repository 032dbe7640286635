//! ACPI's Multiple APIC Description Table (ACPI specification, "Multiple APIC Description Table
//! (MADT)"), by way of the RSDP and the RSDT.

use super::{MpConfig, read_bytes, read_u8, read_u16, read_u32, scan, sums_to_zero};

const HEADER: u32 = 36;
/// Longer tables are taken for damaged.
const MAX_LENGTH: u32 = 1 << 16;

mod kind {
    pub const LOCAL_APIC: u8 = 0;
    pub const IO_APIC: u8 = 1;
    pub const INTERRUPT_SOURCE_OVERRIDE: u8 = 2;
}

/// Where ACPI's root pointer is.
pub fn find_rsdp() -> Option<u32> {
    scan(b"RSD PTR ", 20)
}

pub(super) fn find() -> Option<MpConfig> {
    let rsdp = find_rsdp()?;
    let rsdt = read_u32(rsdp + 16);
    let entries = check(rsdt, b"RSDT")?.saturating_sub(HEADER) / 4;
    let madt = (0..entries).map(|n| read_u32(rsdt + HEADER + n * 4)).find(|&at| read_bytes(at) == *b"APIC")?;
    let end = madt + check(madt, b"APIC")?;

    let mut config = MpConfig::new(read_u32(madt + HEADER), "ACPI");
    let mut at = madt + HEADER + 8;
    while at + 2 <= end {
        let (kind, len) = (read_u8(at), u32::from(read_u8(at + 1)));
        if len < 2 || at + len > end {
            break;
        }
        match kind {
            // Enabled.
            kind::LOCAL_APIC if len >= 8 && read_u32(at + 4) & 1 != 0 => config.add_cpu(read_u8(at + 3)),
            // The one that the ISA lines come to.
            kind::IO_APIC if len >= 12 && read_u32(at + 8) == 0 => config.ioapic = Some(read_u32(at + 4)),
            kind::INTERRUPT_SOURCE_OVERRIDE if len >= 10 => {
                config.set_route(read_u8(at + 3), read_u32(at + 4), read_u16(at + 8));
            }
            _ => {}
        }
        at += len;
    }
    Some(config)
}

/// The length of a table with a signature and a right checksum.
fn check(table: u32, signature: &[u8; 4]) -> Option<u32> {
    if read_bytes(table) != *signature {
        return None;
    }
    let len = read_u32(table + 4);
    ((HEADER..MAX_LENGTH).contains(&len) && sums_to_zero(table, len)).then_some(len)
}
