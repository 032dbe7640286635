//! `/proc/interrupts`.

use crate::{Out, out};

/// The head: one column a CPU.
pub fn head(out: &mut dyn Out, nr_cpus: u32) {
    out.bytes(b"           ");
    for cpu in 0..nr_cpus {
        out!(out, "{:<11}", CpuName(cpu));
    }
    out.bytes(b"\n");
}

/// The row of a line that a device uses.
pub fn irq_line(out: &mut dyn Out, irq: u32, counts: &[u32], chip: &str, hwirq: u32, action: &str) {
    out!(out, "{irq:3}: ");
    for count in counts {
        out!(out, "{count:10} ");
    }
    out!(out, " {chip:>8}  {:>2}-edge      {action}\n", hwirq);
}

/// The row of a named vector: `LOC`, `RES`, `CAL`, `TLB` …
pub fn vector_line(out: &mut dyn Out, name: &str, counts: &[u32], words: &str) {
    out!(out, "{name:>3}: ");
    for count in counts {
        out!(out, "{count:10} ");
    }
    out!(out, "  {words}\n");
}

/// `CPU0`, padded as text.
struct CpuName(u32);

impl core::fmt::Display for CpuName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let digits = self.0.checked_ilog10().unwrap_or(0) as usize + 1;
        write!(f, "CPU{}", self.0)?;
        for _ in 3 + digits..f.width().unwrap_or(0) {
            f.write_str(" ")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn rows_have_the_columns_of_a_real_kernel() {
        let show = |out: &mut dyn Out| {
            head(out, 2);
            irq_line(out, 4, &[0, 1440], "IO-APIC", 4, "ttyS0");
            vector_line(out, "TLB", &[2, 1], "TLB shootdowns");
        };
        let want = "           CPU0       CPU1       \n  4:          0       1440   IO-APIC   4-edge      ttyS0\nTLB:          2          1   TLB shootdowns\n";
        assert_eq!(core::str::from_utf8(&render(show)), Ok(want));
    }
}
