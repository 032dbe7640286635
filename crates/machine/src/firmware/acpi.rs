//! The tables of ACPI 1.0: from the RSDP in the BIOS area to the DSDT at the end of memory.
use super::{IOAPIC_BASE, IOAPIC_ID, LAPIC_BASE, LEVEL_IRQS, SCI_IRQ, aml, checksum::seal};

const OEM: &[u8; 6] = b"PAGEWK";
const OEM_TABLE: &[u8; 8] = b"PAGEWALK";
const CREATOR: &[u8; 4] = b"PGWK";

const HEADER_BYTES: usize = 36;
const CHECKSUM_AT: usize = 9;
const RSDP_CHECKSUM_AT: usize = 8;
const FACS_BYTES: usize = 64;
/// Tables begin at multiples of this, as the FACS must.
const ALIGNMENT: usize = 64;

/// What the fixed table tells: the ports of the power-management chip.
const SMI_COMMAND: u32 = 0xb2;
const ACPI_ENABLE: u8 = 0xf1;
const ACPI_DISABLE: u8 = 0xf0;
const PM1_EVENTS: u32 = 0x600;
const PM1_CONTROL: u32 = 0x604;
const PM_TIMER: u32 = 0x608;
/// The CMOS byte of the century.
const CENTURY: u8 = 0x32;
/// WBINVD works; every processor has C1; power and sleep button are no fixed hardware; the RTC
/// does not wake the machine by fixed hardware.
const FIXED_FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6;
/// Latencies that say: there is no C2, no C3.
const NO_C2_NO_C3: u32 = 0x0fff_0fff;

/// There is a pair of 8259A beside the APICs.
const PCAT_COMPATIBLE: u32 = 1;
/// Flags of an interrupt: level triggered, active high.
const LEVEL_HIGH: u16 = 0xd;
const ALL_PROCESSORS: u8 = 0xff;

/// The tables but the RSDP, laid out from `base`, and the address of the RSDT.
pub(super) fn tables(base: u32, cpus: u8) -> (Vec<u8>, u32) {
    let mut image = Vec::new();
    let mut put = |table: Vec<u8>| {
        image.resize(image.len().next_multiple_of(ALIGNMENT), 0);
        let address = base + image.len() as u32;
        image.extend(table);
        address
    };
    let facs = put(facs());
    let dsdt = put(dsdt(cpus));
    let fadt = put(fadt(facs, dsdt));
    let madt = put(madt(cpus));
    let pointers: Vec<u8> = [fadt, madt].iter().flat_map(|address: &u32| address.to_le_bytes()).collect();
    let rsdt = put(table(b"RSDT", 1, &pointers));
    (image, rsdt)
}

/// The root pointer, which kernels look for in the BIOS area.
pub(super) fn root_pointer(rsdt: u32) -> Vec<u8> {
    let mut rsdp = [&b"RSD PTR "[..], &[0], OEM, &[0], &rsdt.to_le_bytes()].concat();
    seal(&mut rsdp, RSDP_CHECKSUM_AT);
    rsdp
}

/// A table with its header.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + body.len()) as u32;
    let revision_1 = 1_u32.to_le_bytes();
    let mut table = [
        &signature[..],
        &length.to_le_bytes(),
        &[revision, 0],
        OEM,
        OEM_TABLE,
        &revision_1,
        CREATOR,
        &revision_1,
        body,
    ]
    .concat();
    seal(&mut table, CHECKSUM_AT);
    table
}

/// Firmware control structure: the global lock, and where to wake, which never happens here.
fn facs() -> Vec<u8> {
    let mut facs = [&b"FACS"[..], &(FACS_BYTES as u32).to_le_bytes()].concat();
    facs.resize(FACS_BYTES, 0);
    facs
}

/// The processors and the sleep type of power off.
fn dsdt(cpus: u8) -> Vec<u8> {
    let processors: Vec<u8> =
        (0..cpus).flat_map(|number| aml::processor([b'C', b'0', b'0', b'0' + number], number)).collect();
    // SLP_TYP of PM1a and PM1b, and two that are reserved.
    let soft_off = aml::package(&[0, 0, 0, 0].map(aml::integer));
    table(b"DSDT", 1, &[aml::root_scope(*b"_PR_", &processors), aml::name(*b"_S5_", &soft_off)].concat())
}

/// Fixed ACPI description table.
fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    let sci = u16::from(SCI_IRQ).to_le_bytes();
    let dwords = |values: &[u32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let body = [
        dwords(&[facs, dsdt]),
        // Interrupt model: APICs; then a reserved byte.
        vec![1, 0, sci[0], sci[1]],
        dwords(&[SMI_COMMAND]),
        vec![ACPI_ENABLE, ACPI_DISABLE, 0, 0],
        // PM1a and PM1b events, PM1a and PM1b control, PM2 control, timer, GPE0, GPE1.
        dwords(&[PM1_EVENTS, 0, PM1_CONTROL, 0, 0, PM_TIMER, 0, 0]),
        // Their lengths, the base of GPE1, and a reserved byte.
        vec![4, 2, 0, 4, 0, 0, 0, 0],
        dwords(&[NO_C2_NO_C3]),
        // Cache flush size and stride, duty cycle, alarm bytes, century.
        vec![0, 0, 0, 0, 0, 0, 0, 0, CENTURY],
        vec![0; 3],
        dwords(&[FIXED_FLAGS]),
    ]
    .concat();
    table(b"FACP", 1, &body)
}

/// Multiple APIC description table.
fn madt(cpus: u8) -> Vec<u8> {
    let mut body = [(LAPIC_BASE as u32).to_le_bytes(), PCAT_COMPATIBLE.to_le_bytes()].concat();
    for id in 0..cpus {
        // A processor with its local APIC, enabled.
        body.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    body.extend([1, 12, IOAPIC_ID, 0]);
    body.extend((IOAPIC_BASE as u32).to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    let overrides = std::iter::once((0, 2, 0)).chain(LEVEL_IRQS.map(|irq| (irq, irq, LEVEL_HIGH)));
    for (irq, input, flags) in overrides {
        body.extend([2, 10, 0, irq]);
        body.extend(u32::from(input).to_le_bytes());
        body.extend(flags.to_le_bytes());
    }
    // NMI is at LINT1 of every processor.
    body.extend([4, 6, ALL_PROCESSORS, 0, 0, 1]);
    table(b"APIC", 1, &body)
}
