//! `/proc/cpuinfo`.

use crate::books::CpuRecord;
use crate::{Out, out};

/// Linux's words for the bits of CPUID.1:EDX.
const EDX: [&str; 32] = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca", "cmov",
    "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe",
];

/// Linux's words for the bits of CPUID.1:ECX.
const ECX: [&str; 32] = [
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "osxsave",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];

/// A name without its padding.
pub fn unpadded(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or(name)
}

/// Where a CPU stands among several: each is a package of its own.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number.
    pub processor: u32,
    /// The number of its local APIC.
    pub apic_id: u32,
    /// How many there are.
    pub nr_cpus: u32,
}

/// Writes the block of a CPU.
pub fn block(out: &mut dyn Out, place: Place, cpu: &CpuRecord) {
    let Place { processor, apic_id, nr_cpus } = place;
    let yes = |bit: u32| if cpu.features[0] >> bit & 1 != 0 { "yes" } else { "no" };
    out!(out, "processor\t: {processor}\nvendor_id\t: ");
    out.bytes(unpadded(&cpu.vendor));
    out!(out, "\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: ", cpu.family, cpu.model);
    out.bytes(unpadded(&cpu.model_name));
    out.bytes(b"\n");
    out!(out, "stepping\t: {}\n", cpu.stepping);
    if cpu.khz != 0 {
        out!(out, "cpu MHz\t\t: {}.{:03}\n", cpu.khz / 1000, cpu.khz % 1000);
    }
    if nr_cpus > 1 {
        out!(out, "physical id\t: {apic_id}\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\n");
        out!(out, "apicid\t\t: {apic_id}\ninitial apicid\t: {apic_id}\n");
    }
    out!(out, "fdiv_bug\t: no\nf00f_bug\t: no\ncoma_bug\t: no\n");
    out!(
        out,
        "fpu\t\t: {0}\nfpu_exception\t: {0}\ncpuid level\t: {1}\nwp\t\t: yes\nflags\t\t:",
        yes(0),
        cpu.cpuid_level
    );
    flags(out, cpu.features[0], &EDX);
    if cpu.has_cpuid != 0 {
        out.bytes(b" cpuid");
    }
    flags(out, cpu.features[1], &ECX);
    // A turn of the delay loop is a cycle of the TSC, and a "bogomips" half a million of them.
    out!(out, "\nbugs\t\t:\nbogomips\t: {}.{:02}\n", cpu.khz / 500, cpu.khz / 5 % 100);
    out!(out, "clflush size\t: 32\ncache_alignment\t: 32\n");
    out!(out, "address sizes\t: {} bits physical, 32 bits virtual\npower management:\n\n", cpu.physical_bits);
}

fn flags(out: &mut dyn Out, set: u32, words: &[&str; 32]) {
    for (bit, word) in words.iter().enumerate() {
        if set >> bit & 1 != 0 && !word.is_empty() {
            out!(out, " {word}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    #[test]
    fn rows_have_the_form_of_a_real_kernel() {
        let mut cpu = CpuRecord {
            family: 6,
            model: 6,
            stepping: 3,
            khz: 2_591_066,
            cpuid_level: 4,
            has_cpuid: 1,
            features: [1 | 1 << 3 | 1 << 4 | 1 << 26, 1],
            physical_bits: 36,
            ..CpuRecord::default()
        };
        cpu.vendor[..12].copy_from_slice(b"GenuineIntel");
        cpu.model_name[..29].copy_from_slice(b"QEMU Virtual CPU version 2.5+");
        let text =
            String::from_utf8(render(|out| block(out, Place { processor: 0, apic_id: 0, nr_cpus: 1 }, &cpu))).unwrap();
        for want in [
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 6\n",
            "cpu MHz\t\t: 2591.066\n",
            "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 4\nwp\t\t: yes\nflags\t\t: fpu pse tsc sse2 cpuid pni\n",
            "bogomips\t: 5182.13\n",
            "address sizes\t: 36 bits physical, 32 bits virtual\npower management:\n\n",
        ] {
            assert!(text.contains(want), "{text}");
        }
    }
}
