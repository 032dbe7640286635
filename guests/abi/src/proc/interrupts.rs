//! `/proc/interrupts`.

use crate::{Out, out};

/// The vectors that this kernel knows by name, in Linux's order, and what they are.
pub const VECTORS: [(&str, &str); 5] = [
    ("NMI", "Non-maskable interrupts"),
    ("LOC", "Local timer interrupts"),
    ("RES", "Rescheduling interrupts"),
    ("CAL", "Function call interrupts"),
    ("TLB", "TLB shootdowns"),
];

/// A line that a device uses.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number at the controllers.
    pub irq: u32,
    /// How often it came.
    pub count: u32,
    /// Who handles it.
    pub name: &'a [u8],
}

/// Writes the file of a machine with one CPU and the two 8259.
pub fn write<'a>(out: &mut dyn Out, lines: impl Iterator<Item = Line<'a>>) {
    head(out, 1);
    for line in lines {
        irq_line(out, line.irq, &[line.count], "XT-PIC", line.irq, line.name);
    }
    for (name, words) in VECTORS {
        vector_line(out, name, &[0], words);
    }
}

/// The head: one column a CPU.
pub fn head(out: &mut dyn Out, nr_cpus: u32) {
    out.bytes(b"           ");
    for cpu in 0..nr_cpus {
        out!(out, "{:<11}", CpuName(cpu));
    }
    out.bytes(b"\n");
}

/// The row of a line that a device uses.
pub fn irq_line(out: &mut dyn Out, irq: u32, counts: &[u32], chip: &str, hwirq: u32, action: &[u8]) {
    out!(out, "{irq:3}: ");
    for count in counts {
        out!(out, "{count:10} ");
    }
    out!(out, " {chip:>8}  {hwirq:>2}-edge      ");
    out.bytes(action);
    out.bytes(b"\n");
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
            irq_line(out, 4, &[0, 1440], "IO-APIC", 4, b"ttyS0");
            vector_line(out, "TLB", &[2, 1], "TLB shootdowns");
        };
        let want = "           CPU0       CPU1       \n  4:          0       1440   IO-APIC   4-edge      ttyS0\nTLB:          2          1   TLB shootdowns\n";
        assert_eq!(core::str::from_utf8(&render(show)), Ok(want));
    }
}
