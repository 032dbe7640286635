//! The MP configuration table (MultiProcessor Specification, "MP Configuration Table").

use super::{MpConfig, read_bytes, read_u8, read_u16, read_u32, scan, sums_to_zero};

const HEADER: u32 = 44;

mod kind {
    pub const PROCESSOR: u8 = 0;
    pub const BUS: u8 = 1;
    pub const IO_APIC: u8 = 2;
    pub const IO_INTERRUPT: u8 = 3;
    pub const LOCAL_INTERRUPT: u8 = 4;
}

pub(super) fn find() -> Option<MpConfig> {
    let pointer = scan(b"_MP_", 16)?;
    let table = read_u32(pointer + 4);
    // One of the default configurations has no table.
    if table == 0 || read_bytes(table) != *b"PCMP" {
        return None;
    }
    let end = table + u32::from(read_u16(table + 4));
    if !sums_to_zero(table, end - table) {
        return None;
    }
    let mut config = MpConfig::new(read_u32(table + 36), "MP table");
    config.has_imcr = read_u8(pointer + 12) & 0x80 != 0;
    let (mut isa_bus, mut at) = (None, table + HEADER);
    for _ in 0..read_u16(table + 34) {
        let kind = read_u8(at);
        let len = if kind == kind::PROCESSOR { 20 } else { 8 };
        if at + len > end || kind > kind::LOCAL_INTERRUPT {
            break;
        }
        match kind {
            kind::PROCESSOR if read_u8(at + 3) & 1 != 0 => config.add_cpu(read_u8(at + 1)),
            kind::BUS if read_bytes(at + 2) == *b"ISA   " => isa_bus = Some(read_u8(at + 1)),
            kind::IO_APIC if read_u8(at + 3) & 1 != 0 && config.ioapic.is_none() => {
                config.ioapic = Some(read_u32(at + 4));
            }
            // A vectored interrupt of the ISA bus.
            kind::IO_INTERRUPT if read_u8(at + 1) == 0 && Some(read_u8(at + 4)) == isa_bus => {
                config.set_route(read_u8(at + 5), read_u8(at + 7).into(), read_u16(at + 2));
            }
            _ => {}
        }
        at += len;
    }
    Some(config)
}
