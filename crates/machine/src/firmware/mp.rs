//! The tables of the MultiProcessor Specification 1.4.
use cpu::{CpuModel, cpuid};

use super::{IOAPIC_BASE, IOAPIC_ID, LAPIC_BASE, LEVEL_IRQS, checksum::seal};

const REVISION_1_4: u8 = 4;
const HEADER_BYTES: usize = 44;
const CHECKSUM_AT: usize = 7;
const POINTER_CHECKSUM_AT: usize = 10;

/// Versions of the chips.
const LAPIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;

const PROCESSOR_ENABLED: u8 = 1;
const BOOTSTRAP_PROCESSOR: u8 = 2;

/// Types of an interrupt entry.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// Flags of an interrupt: as its bus has them; level triggered, active high.
const CONFORMS: u16 = 0;
const LEVEL_HIGH: u16 = 0xd;

const ISA_BUS: u8 = 0;
const CASCADE: u8 = 2;
const ALL_LAPICS: u8 = 0xff;

/// The floating pointer, which kernels look for in the BIOS area. No IMCR: the 8259A pair reaches
/// the processors through LINT0 (virtual wire mode).
pub(super) fn floating_pointer(configuration: u32) -> Vec<u8> {
    let mut pointer = [&b"_MP_"[..], &configuration.to_le_bytes(), &[1, REVISION_1_4, 0], &[0; 5]].concat();
    seal(&mut pointer, POINTER_CHECKSUM_AT);
    pointer
}

/// The configuration table.
pub(super) fn configuration(model: CpuModel, cpus: u8) -> Vec<u8> {
    let entries = entries(model, cpus);
    let length = (HEADER_BYTES + entries.iter().map(Vec::len).sum::<usize>()) as u16;
    let mut table = [
        &b"PCMP"[..],
        &length.to_le_bytes(),
        &[REVISION_1_4, 0],
        b"PAGEWALK",
        b"PC          ",
        // No table of the maker.
        &[0; 6],
        &(entries.len() as u16).to_le_bytes(),
        &(LAPIC_BASE as u32).to_le_bytes(),
        // No extended table.
        &[0; 4],
        &entries.concat(),
    ]
    .concat();
    seal(&mut table, CHECKSUM_AT);
    table
}

fn entries(model: CpuModel, cpus: u8) -> Vec<Vec<u8>> {
    let [signature, _, _, features] = cpuid(model, 1, 0);
    let mut entries: Vec<Vec<u8>> = (0..cpus)
        .map(|id| {
            let bootstrap = if id == 0 { BOOTSTRAP_PROCESSOR } else { 0 };
            let head = [0, id, LAPIC_VERSION, PROCESSOR_ENABLED | bootstrap];
            [&head[..], &signature.to_le_bytes(), &features.to_le_bytes(), &[0; 8]].concat()
        })
        .collect();
    entries.push([&[1, ISA_BUS][..], b"ISA   "].concat());
    entries.push([&[2, IOAPIC_ID, IOAPIC_VERSION, 1][..], &(IOAPIC_BASE as u32).to_le_bytes()].concat());
    for irq in (0..16).filter(|&irq| irq != CASCADE) {
        let flags = if LEVEL_IRQS.contains(&irq) { LEVEL_HIGH } else { CONFORMS };
        let input = if irq == 0 { 2 } else { irq };
        entries.push(interrupt(3, INT, flags, irq, IOAPIC_ID, input));
    }
    entries.push(interrupt(4, EXT_INT, CONFORMS, 0, 0, 0));
    entries.push(interrupt(4, NMI, CONFORMS, 0, ALL_LAPICS, 1));
    entries
}

/// An interrupt of the ISA bus at input `input` of an I/O APIC (`kind` 3) or a local APIC (4).
fn interrupt(kind: u8, interrupt: u8, flags: u16, irq: u8, apic: u8, input: u8) -> Vec<u8> {
    let [low, high] = flags.to_le_bytes();
    vec![kind, interrupt, low, high, ISA_BUS, irq, apic, input]
}
