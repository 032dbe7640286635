//! What CPUID says of the processor, for `/proc/cpuinfo` and the host.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use abi::{Ptr32, books::CpuRecord};

use super::{
    cpu::{self, feature},
    percpu::NR_CPUS,
};

struct Records(UnsafeCell<[CpuRecord; NR_CPUS]>);

// SAFETY: each record is written once, before its CPU is counted.
unsafe impl Sync for Records {}

static CPUS: Records = Records(UnsafeCell::new([CpuRecord::EMPTY; NR_CPUS]));

/// Where the host finds the answers of all CPUs.
pub fn books() -> Ptr32<CpuRecord> {
    Ptr32::new(CPUS.0.get() as u32)
}

/// Asks this CPU, whose TSC has the frequency `khz`.
pub fn identify_cpu(khz: u32) -> CpuRecord {
    CpuRecord { khz, ..identify() }
}

/// Keeps what a CPU answered.
pub fn set(number: u32, record: CpuRecord) {
    // SAFETY: nobody looks at the record before the CPU is counted.
    unsafe { (*CPUS.0.get())[number as usize] = record };
}

/// What a CPU answered.
pub fn get(number: u32) -> CpuRecord {
    // SAFETY: written once, before the CPU is counted.
    unsafe { (*CPUS.0.get())[number as usize] }
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
