//! What CPUID says of the processor, for `/proc/cpuinfo` and the host.

use abi::{Ptr32, books::CpuRecord};

use super::cpu::{self, feature};
use crate::sync::Once;

static CPU: Once<CpuRecord> = Once::new();

/// Asks the processor; `khz` is the measured frequency of its TSC. Returns where the host
/// finds the answers.
pub fn init(khz: u32) -> Ptr32<CpuRecord> {
    let record = CPU.set(CpuRecord { khz, ..identify() });
    Ptr32::new(&raw const *record as u32)
}

/// What was found.
pub fn get() -> &'static CpuRecord {
    CPU.get()
}

fn identify() -> CpuRecord {
    let mut record = CpuRecord::default();
    if !cpu::has_cpuid() {
        record.vendor[..7].copy_from_slice(b"unknown");
        record.model_name[..3].copy_from_slice(b"486");
        record.family = 4;
        record.physical_bits = 32;
        return record;
    }
    let (id, one) = (cpu::cpuid(0, 0), cpu::cpuid(1, 0));
    put(&mut record.vendor, &[id.ebx, id.edx, id.ecx]);
    let extended = cpu::cpuid(0x8000_0000, 0).eax;
    record.model_name[..7].copy_from_slice(b"unknown");
    if (0x8000_0004..=0x8000_ffff).contains(&extended) {
        let brand = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(|leaf| cpu::cpuid(leaf, 0));
        let mut bytes = [0; 48];
        for (at, r) in brand.into_iter().enumerate() {
            put(&mut bytes[at * 16..], &[r.eax, r.ebx, r.ecx, r.edx]);
        }
        let name = bytes.split(|&byte| byte == 0).next().unwrap_or(&[]).trim_ascii();
        if !name.is_empty() {
            record.model_name = [0; 48];
            record.model_name[..name.len()].copy_from_slice(name);
        }
    }
    let signature = one.eax;
    let family = signature >> 8 & 15;
    record.family = if family == 15 { family + (signature >> 20 & 0xff) } else { family };
    record.model = signature >> 4 & 15 | if family >= 6 { signature >> 12 & 0xf0 } else { 0 };
    record.stepping = signature & 15;
    record.cpuid_level = id.eax;
    record.has_cpuid = 1;
    record.features = [one.edx, one.ecx];
    record.physical_bits = match extended {
        // A leaf of its own says how many.
        0x8000_0008..=0x8000_ffff => cpu::cpuid(0x8000_0008, 0).eax & 0xff,
        _ if one.edx & (feature::PAE | feature::PSE36) != 0 => 36,
        _ => 32,
    };
    record
}

/// The bytes of registers.
fn put(bytes: &mut [u8], registers: &[u32]) {
    for (bytes, register) in bytes.chunks_exact_mut(4).zip(registers) {
        bytes.copy_from_slice(&register.to_le_bytes());
    }
}
