//! Which CPUs and interrupt controllers there are, from the firmware's tables: ACPI's MADT, else
//! the MP table.
#![allow(unsafe_code)]

use super::percpu::NR_CPUS;
use crate::{
    mm::{boot::max_low_pfn, highmem::kmap_local_pfn},
    sync::Once,
};

mod madt;
mod mptable;

pub use madt::find_rsdp;

/// How an ISA line reaches the I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its pin.
    pub pin: u32,
    /// By level, not by edge.
    pub level: bool,
    /// Low means a request.
    pub active_low: bool,
}

/// What the tables say.
#[derive(Clone, Copy, Debug)]
pub struct MpConfig {
    /// Physical address of the local APICs.
    pub lapic: u32,
    /// Physical address of the first I/O APIC.
    pub ioapic: Option<u32>,
    /// APIC numbers of the CPUs that may be used, in the tables' order.
    apic_ids: [u8; NR_CPUS],
    nr_cpus: usize,
    /// By ISA line.
    pub routes: [Route; 16],
    /// The 8259 must be cut off from the CPU by the IMCR.
    pub has_imcr: bool,
    /// Which table it was.
    pub source: &'static str,
}

static FOUND: Once<Option<MpConfig>> = Once::new();

/// Looks for the tables. The low memory must be mapped.
pub fn init() {
    FOUND.set(madt::find().or_else(mptable::find).filter(|found| found.nr_cpus > 0));
}

/// What was found.
pub fn get() -> Option<&'static MpConfig> {
    FOUND.try_get()?.as_ref()
}

impl MpConfig {
    fn new(lapic: u32, source: &'static str) -> Self {
        let mut routes = [Route { pin: 0, level: false, active_low: false }; 16];
        for (irq, route) in routes.iter_mut().enumerate() {
            route.pin = irq as u32;
        }
        MpConfig { lapic, ioapic: None, apic_ids: [0; NR_CPUS], nr_cpus: 0, routes, has_imcr: false, source }
    }

    /// APIC numbers of the CPUs.
    pub fn apic_ids(&self) -> &[u8] {
        &self.apic_ids[..self.nr_cpus]
    }

    fn add_cpu(&mut self, apic_id: u8) {
        if self.nr_cpus < NR_CPUS && !self.apic_ids().contains(&apic_id) {
            self.apic_ids[self.nr_cpus] = apic_id;
            self.nr_cpus += 1;
        }
    }

    /// Notes the trigger and polarity that both kinds of tables encode alike.
    fn set_route(&mut self, irq: u8, pin: u32, flags: u16) {
        if let Some(route) = self.routes.get_mut(irq as usize) {
            *route = Route { pin, active_low: flags & 3 == 3, level: flags >> 2 & 3 == 3 };
        }
    }
}

/// A byte of physical memory, wherever it lies.
fn read_u8(phys: u32) -> u8 {
    let pfn = phys >> 12;
    if pfn < max_low_pfn() {
        // SAFETY: in the direct map.
        return unsafe { ((super::PAGE_OFFSET + phys) as *const u8).read_volatile() };
    }
    let map = kmap_local_pfn(pfn);
    // SAFETY: the frame is mapped.
    unsafe { ((map.addr() + (phys & 0xfff)) as *const u8).read_volatile() }
}

fn read_bytes<const N: usize>(phys: u32) -> [u8; N] {
    core::array::from_fn(|n| read_u8(phys.wrapping_add(n as u32)))
}

fn read_u16(phys: u32) -> u16 {
    u16::from_le_bytes(read_bytes(phys))
}

/// A doubleword of physical memory.
pub fn read_u32(phys: u32) -> u32 {
    u32::from_le_bytes(read_bytes(phys))
}

fn sums_to_zero(phys: u32, len: u32) -> bool {
    (0..len).fold(0u8, |sum, n| sum.wrapping_add(read_u8(phys.wrapping_add(n)))) == 0
}

/// The first place on a 16-byte boundary where a structure of `len` bytes with a signature and
/// a right checksum lies: in the first KiB of the extended BIOS data area, in the last of base
/// memory, in the BIOS.
fn scan(signature: &[u8], len: u32) -> Option<u32> {
    let ebda = u32::from(read_u16(0x40e)) << 4;
    let ebda = if (0x8_0000..0xa_0000).contains(&ebda) { ebda } else { 0x9_fc00 };
    let places = [(ebda, 0x400), (0x9_fc00, 0x400), (0xe_0000, 0x2_0000)];
    places.into_iter().find_map(|(start, size)| {
        // SAFETY: the first MiB is in the direct map, and nobody writes there.
        let bytes = unsafe { core::slice::from_raw_parts((super::PAGE_OFFSET + start) as *const u8, size) };
        let found = |(_, chunk): &(usize, &[u8])| chunk.starts_with(signature);
        let places = bytes.chunks_exact(16).enumerate().filter(found);
        places.map(|(n, _)| start + n as u32 * 16).find(|&at| sums_to_zero(at, len))
    })
}
