//! The tables, found and read back from memory as a kernel does.
use std::collections::BTreeMap;

use memory::PhysMem;
use x86::PhysAddr;

use super::{tables::write_tables, *};
use crate::machine::empty_memory;

struct Firmware {
    mem: PhysMem,
    config: MachineConfig,
}

impl Firmware {
    fn new(cpus: u8) -> Self {
        let config = MachineConfig { memory_bytes: 64 * MIB, cpus, ..MachineConfig::default() };
        let mut mem = empty_memory(&config).unwrap();
        write_tables(&mut mem, &config);
        Firmware { mem, config }
    }

    fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read(PhysAddr(address), &mut bytes);
        bytes
    }

    fn u32(&self, address: u64) -> u32 {
        self.mem.read_u32(PhysAddr(address))
    }

    /// The only structure of the BIOS area that begins so, at a multiple of 16, with a good sum.
    fn find(&self, signature: &[u8], len: usize) -> u64 {
        let places: Vec<u64> = (BIOS_START..MIB)
            .step_by(16)
            .filter(|&place| self.bytes(place, signature.len()) == signature && sum(&self.bytes(place, len)) == 0)
            .collect();
        assert_eq!(places.len(), 1, "{places:x?}");
        places[0]
    }

    fn is_reserved(&self, address: u64, len: u64) -> bool {
        memory_map(&self.config).iter().any(|region| {
            let end = region.start + region.len;
            region.kind == RegionKind::Reserved && (region.start..end).contains(&address) && address + len <= end
        })
    }

    /// A whole ACPI table, its header checked.
    fn acpi_table(&self, address: u64, signature: &[u8; 4]) -> Vec<u8> {
        let table = self.bytes(address, self.u32(address + 4) as usize);
        assert_eq!(&table[..4], signature);
        assert_eq!(sum(&table), 0, "checksum");
        assert!(self.is_reserved(address, table.len() as u64));
        table
    }

    /// FADT and MADT, by the root pointer.
    fn acpi_tables(&self) -> [Vec<u8>; 2] {
        let rsdp = self.find(b"RSD PTR ", 20);
        assert_eq!(self.bytes(rsdp + 15, 1), [0], "ACPI 1.0");
        let rsdt = self.acpi_table(u64::from(self.u32(rsdp + 16)), b"RSDT");
        assert_eq!(rsdt.len(), 36 + 2 * 4);
        [(36, b"FACP"), (40, b"APIC")].map(|(at, signature)| self.acpi_table(dword(&rsdt, at).into(), signature))
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

#[test]
fn the_memory_map_leaves_out_the_hole_below_1_mib_and_what_firmware_keeps() {
    let config = MachineConfig { memory_bytes: 64 * MIB, ..MachineConfig::default() };
    let shown: Vec<String> =
        memory_resources(&config).iter().map(|r| format!("{:08x}-{:08x} : {}", r.start, r.end, r.name)).collect();
    assert_eq!(
        shown,
        [
            "00000000-0009fbff : System RAM",
            "0009fc00-0009ffff : Reserved",
            "000b8000-000bffff : Video RAM",
            "000f0000-000fffff : Reserved",
            "00100000-03fdffff : System RAM",
            "03fe0000-03ffffff : Reserved",
            "fec00000-fec00fff : IOAPIC 0",
            "fee00000-fee00fff : Local APIC",
            "fffc0000-ffffffff : Reserved"
        ]
    );
}

#[test]
fn the_fixed_table_has_the_ports_of_the_chip_and_leads_to_facs_and_dsdt() {
    let firmware = Firmware::new(1);
    let [fadt, _] = firmware.acpi_tables();
    assert_eq!((fadt.len(), fadt[8]), (116, 1), "revision 1");
    assert_eq!(word(&fadt, 46), 9, "SCI");
    assert_eq!((dword(&fadt, 48), fadt[52], fadt[53]), (0xb2, 0xf1, 0xf0), "the way into ACPI mode");
    assert_eq!([56, 64, 76].map(|at| dword(&fadt, at)), [0x600, 0x604, 0x608], "PM1a event, control, timer");
    assert_eq!([60, 68, 72, 80, 84].map(|at| dword(&fadt, at)), [0; 5], "no other block");
    assert_eq!(fadt[88..94], [4, 2, 0, 4, 0, 0], "their lengths");
    assert_eq!([word(&fadt, 96), word(&fadt, 98)], [0xfff; 2], "no C2, no C3");
    assert_eq!((fadt[108], dword(&fadt, 112)), (0x32, 0x75));
    let facs = u64::from(dword(&fadt, 36));
    assert_eq!((facs % 64, firmware.bytes(facs, 4), firmware.u32(facs + 4)), (0, b"FACS".to_vec(), 64));
    assert!(firmware.is_reserved(facs, 64));
}

#[test]
fn the_dsdt_has_a_processor_a_cpu_and_the_sleep_type_of_power_off() {
    for cpus in [1, 8] {
        let firmware = Firmware::new(cpus);
        let [fadt, _] = firmware.acpi_tables();
        let dsdt = firmware.acpi_table(dword(&fadt, 40).into(), b"DSDT");
        let count = |pattern: &[u8]| dsdt.windows(pattern.len()).filter(|window| *window == pattern).count();
        assert_eq!(count(b"\x5b\x83\x0bC00"), usize::from(cpus));
        assert_eq!(count(b"\x08_S5_\x12\x06\x04\0\0\0\0"), 1);
    }
}

#[test]
fn the_madt_lists_every_apic_and_how_isa_interrupts_are_wired() {
    for cpus in [1, 3, 8] {
        let [_, madt] = Firmware::new(cpus).acpi_tables();
        assert_eq!((dword(&madt, 36), dword(&madt, 40)), (0xfee0_0000, 1));
        let mut entries = Vec::new();
        let mut rest = &madt[44..];
        while !rest.is_empty() {
            let (entry, behind) = rest.split_at(usize::from(rest[1]));
            entries.push(entry.to_vec());
            rest = behind;
        }
        let of_type = |kind: u8| entries.iter().filter(move |entry| entry[0] == kind);
        let processors: Vec<u8> = of_type(0).map(|entry| entry[3]).collect();
        assert_eq!(processors, (0..cpus).collect::<Vec<_>>());
        assert!(of_type(0).all(|entry| dword(entry, 4) == 1), "enabled");
        let ioapics: Vec<(u8, u32, u32)> = of_type(1).map(|e| (e[2], dword(e, 4), dword(e, 8))).collect();
        assert_eq!(ioapics, [(0, 0xfec0_0000, 0)]);
        let overrides: Vec<(u8, u32, u16)> = of_type(2).map(|e| (e[3], dword(e, 4), word(e, 8))).collect();
        assert_eq!(overrides, [(0, 2, 0), (5, 5, 0xd), (9, 9, 0xd), (10, 10, 0xd), (11, 11, 0xd)]);
        assert_eq!(of_type(4).cloned().collect::<Vec<_>>(), [[4, 6, 0xff, 0, 0, 1]]);
    }
}

#[test]
fn the_mp_table_lists_the_same() {
    for cpus in [1, 2, 8] {
        let firmware = Firmware::new(cpus);
        let pointer = firmware.find(b"_MP_", 16);
        assert_eq!(firmware.bytes(pointer + 8, 2), [1, 4], "16 bytes, specification 1.4");
        assert_eq!(firmware.bytes(pointer + 11, 5), [0; 5], "a configuration table, no IMCR");
        let address = u64::from(firmware.u32(pointer + 4));
        let length = usize::from(word(&firmware.bytes(address, 8), 4));
        let table = firmware.bytes(address, length);
        assert_eq!((&table[..4], sum(&table), table[6]), (&b"PCMP"[..], 0, 4));
        assert!(firmware.is_reserved(address, length as u64));
        assert_eq!(dword(&table, 36), 0xfee0_0000);

        let mut by_type: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
        let mut rest = &table[44..];
        while !rest.is_empty() {
            let (entry, behind) = rest.split_at(if rest[0] == 0 { 20 } else { 8 });
            by_type.entry(entry[0]).or_default().push(entry.to_vec());
            rest = behind;
        }
        assert_eq!(usize::from(word(&table, 34)), by_type.values().map(Vec::len).sum::<usize>());
        let processors: Vec<(u8, u8)> = by_type[&0].iter().map(|entry| (entry[1], entry[3])).collect();
        let expected: Vec<(u8, u8)> = (0..cpus).map(|id| (id, if id == 0 { 3 } else { 1 })).collect();
        assert_eq!(processors, expected);
        assert_ne!(dword(&by_type[&0][0], 8) & 1 << 9, 0, "the processor has an APIC");
        assert_eq!(by_type[&1], [b"\x01\x00ISA   "]);
        assert_eq!(by_type[&2], [[2, 0, 0x11, 1, 0, 0, 0xc0, 0xfe]]);
        let inputs: Vec<(u8, u8)> = by_type[&3].iter().map(|entry| (entry[5], entry[7])).collect();
        let wired: Vec<(u8, u8)> =
            (0..16).filter(|&irq| irq != 2).map(|irq| (irq, if irq == 0 { 2 } else { irq })).collect();
        assert_eq!(inputs, wired);
        assert_eq!(by_type[&4], [[4, 3, 0, 0, 0, 0, 0, 0], [4, 1, 0, 0, 0, 0, 0xff, 1]]);
    }
}
