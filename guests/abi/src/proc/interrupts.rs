//! `/proc/interrupts`.

use crate::books::{IrqRecord, NR_CPUS, NR_VECTORS};
use crate::{Out, out};

/// The vectors that every CPU counts by name, in Linux's order, and what they are.
pub const VECTORS: [(&str, &str); NR_VECTORS] = [
    ("NMI", "Non-maskable interrupts"),
    ("LOC", "Local timer interrupts"),
    ("SPU", "Spurious interrupts"),
    ("RES", "Rescheduling interrupts"),
    ("CAL", "Function call interrupts"),
    ("TLB", "TLB shootdowns"),
];

/// Places in [`VECTORS`].
pub mod vector {
    #![allow(missing_docs, reason = "the names of the rows")]
    pub const NMI: usize = 0;
    pub const LOC: usize = 1;
    pub const SPU: usize = 2;
    pub const RES: usize = 3;
    pub const CAL: usize = 4;
    pub const TLB: usize = 5;
}

/// A line that a device uses.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number.
    pub irq: u32,
    /// How often it came to each CPU, and where it is wired.
    pub record: &'a IrqRecord,
    /// Who handles it.
    pub name: &'a [u8],
}

/// Writes the file. `cpus` are the counts of the named vectors, a row a CPU.
pub fn write<'a>(out: &mut dyn Out, lines: impl Iterator<Item = Line<'a>>, cpus: &[[u32; NR_VECTORS]]) {
    head(out, cpus.len() as u32);
    for Line { irq, record, name } in lines {
        irq_line(out, irq, &record.counts[..cpus.len().min(NR_CPUS)], record.chip, record.hwirq, name);
    }
    for (at, (name, words)) in VECTORS.iter().enumerate() {
        out!(out, "{name:>3}: ");
        for vectors in cpus {
            out!(out, "{:10} ", vectors[at]);
        }
        out!(out, "  {words}\n");
    }
    // Errors of the controllers and interrupts that came by the wrong trigger: neither is ever seen.
    out.bytes(b"ERR:          0\nMIS:          0\n");
}

/// The head: one column a CPU.
pub fn head(out: &mut dyn Out, nr_cpus: u32) {
    out.bytes(b"           ");
    for cpu in 0..nr_cpus {
        out!(out, "{:<11}", CpuName(cpu));
    }
    out.bytes(b"\n");
}

/// The row of a line that a device uses; `chip` as in [`IrqRecord::chip`].
fn irq_line(out: &mut dyn Out, irq: u32, counts: &[u32], chip: u32, hwirq: u32, action: &[u8]) {
    let (chip, trigger) = match chip {
        0 => ("XT-PIC", "edge"),
        1 => ("IO-APIC", "edge"),
        _ => ("IO-APIC", "fasteoi"),
    };
    out!(out, "{irq:3}: ");
    for count in counts {
        out!(out, "{count:10} ");
    }
    out!(out, " {chip:>8}  {hwirq:>2}-{trigger:<8}  ");
    out.bytes(action);
    out.bytes(b"\n");
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
        let mut record = IrqRecord { chip: 1, hwirq: 4, ..IrqRecord::default() };
        record.counts[1] = 1440;
        let level = IrqRecord { chip: 2, hwirq: 9, ..IrqRecord::default() };
        let show = |out: &mut dyn Out| {
            let lines =
                [Line { irq: 4, record: &record, name: b"ttyS0" }, Line { irq: 9, record: &level, name: b"acpi" }];
            write(out, lines.into_iter(), &[[0, 0, 0, 0, 2, 1], [0, 0, 0, 0, 1, 1]]);
        };
        let text = alloc::string::String::from_utf8(render(show)).unwrap();
        for want in [
            "           CPU0       CPU1       \n  4:          0       1440   IO-APIC   4-edge      ttyS0\n",
            "  9:          0          0   IO-APIC   9-fasteoi   acpi\nNMI: ",
            "\nCAL:          2          1   Function call interrupts\nTLB:          1          1   TLB shootdowns\nERR:          0\n",
        ] {
            assert!(text.contains(want), "{text}");
        }
    }
}
