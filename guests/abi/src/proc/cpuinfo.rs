//! `/proc/cpuinfo`.

use crate::{Out, out};

/// A CPU, as CPUID describes it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of the file's rows")]
pub struct CpuInfo<'a> {
    pub processor: u32,
    pub vendor: &'a str,
    pub family: u32,
    pub model: u32,
    pub model_name: &'a str,
    pub stepping: u32,
    /// Frequency of the TSC; 0 without one.
    pub khz: u32,
    pub cpuid_level: u32,
    /// Whether it has CPUID at all.
    pub has_cpuid: bool,
    /// EDX and ECX of CPUID leaf 1.
    pub features: [u32; 2],
    pub physical_bits: u32,
}

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

/// Writes the block of one CPU.
pub fn block(out: &mut dyn Out, cpu: &CpuInfo<'_>) {
    let yes = |bit: u32| if cpu.features[0] >> bit & 1 != 0 { "yes" } else { "no" };
    out!(out, "processor\t: {}\nvendor_id\t: {}\n", cpu.processor, cpu.vendor);
    out!(out, "cpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\n", cpu.family, cpu.model, cpu.model_name);
    out!(out, "stepping\t: {}\n", cpu.stepping);
    if cpu.khz != 0 {
        out!(out, "cpu MHz\t\t: {}.{:03}\n", cpu.khz / 1000, cpu.khz % 1000);
    }
    out!(out, "fdiv_bug\t: no\nf00f_bug\t: no\ncoma_bug\t: no\n");
    out!(
        out,
        "fpu\t\t: {0}\nfpu_exception\t: {0}\ncpuid level\t: {1}\nwp\t\t: yes\nflags\t\t:",
        yes(0),
        cpu.cpuid_level
    );
    flags(out, cpu.features[0], &EDX);
    if cpu.has_cpuid {
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
        let cpu = CpuInfo {
            vendor: "GenuineIntel",
            family: 6,
            model: 6,
            model_name: "QEMU Virtual CPU version 2.5+",
            stepping: 3,
            khz: 2_591_066,
            cpuid_level: 4,
            has_cpuid: true,
            features: [1 | 1 << 3 | 1 << 4 | 1 << 26, 1],
            physical_bits: 36,
            ..CpuInfo::default()
        };
        let text = String::from_utf8(render(|out| block(out, &cpu))).unwrap();
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
