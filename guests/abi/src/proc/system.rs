//! The small files about the whole system: `version`, `uptime`, `loadavg`, `stat`,
//! `filesystems`, `mounts`, `swaps`, `devices`.

use super::clock_ticks;
use crate::{Out, books::SwapRecord, out};

/// `uname`'s fields.
pub mod uts {
    /// System name.
    pub const SYSNAME: &str = "Linux";
    /// Release.
    pub const RELEASE: &str = "6.1.0-pagewalk";
    /// Version.
    pub const VERSION: &str = "#1 Pagewalk";
    /// Machine.
    pub const MACHINE: &str = "i686";
}

/// `/proc/version`, which is the boot log's first line too.
pub fn version(out: &mut dyn Out) {
    out!(out, "{} version {} (pagewalk@pagewalk) (rustc, LLD) {}\n", uts::SYSNAME, uts::RELEASE, uts::VERSION);
}

/// `/proc/uptime`.
pub fn uptime(out: &mut dyn Out, up_ns: u64, idle_ns: u64) {
    let hundredths = |ns: u64| (ns / 1_000_000_000, ns / 10_000_000 % 100);
    let ((a, b), (c, d)) = (hundredths(up_ns), hundredths(idle_ns));
    out!(out, "{a}.{b:02} {c}.{d:02}\n");
}

/// `/proc/loadavg`; the averages are fixed-point with 11 fraction bits, as in `sysinfo`.
pub fn loadavg(out: &mut dyn Out, averages: [u32; 3], running: u32, total: u32, last_pid: u32) {
    for average in averages {
        // Rounded to a hundredth, as Linux does by adding 1/200.
        let rounded = average + 2048 / 200;
        out!(out, "{}.{:02} ", rounded >> 11, ((rounded & 2047) * 100) >> 11);
    }
    out!(out, "{running}/{total} {last_pid}\n");
}

/// Times of one CPU, or of all together.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of proc(5)")]
pub struct CpuTimes {
    pub user_ns: u64,
    pub system_ns: u64,
    pub idle_ns: u64,
    pub irq_ns: u64,
}

/// What `/proc/stat` counts besides the CPUs' times.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of the file's rows")]
pub struct Stat<'a> {
    pub cpus: &'a [CpuTimes],
    /// Interrupts by line, 0 to 15.
    pub irqs: [u32; 16],
    pub ctxt: u64,
    pub btime: u32,
    pub processes: u32,
    pub procs_running: u32,
    pub procs_blocked: u32,
}

/// `/proc/stat`.
pub fn stat(out: &mut dyn Out, s: &Stat<'_>) {
    let sum = s.cpus.iter().fold(CpuTimes::default(), |a, b| CpuTimes {
        user_ns: a.user_ns + b.user_ns,
        system_ns: a.system_ns + b.system_ns,
        idle_ns: a.idle_ns + b.idle_ns,
        irq_ns: a.irq_ns + b.irq_ns,
    });
    out.bytes(b"cpu  ");
    cpu_times(out, &sum);
    for (number, times) in s.cpus.iter().enumerate() {
        out!(out, "cpu{number} ");
        cpu_times(out, times);
    }
    out!(out, "intr {}", s.irqs.iter().map(|&n| u64::from(n)).sum::<u64>());
    for count in s.irqs {
        out!(out, " {count}");
    }
    out!(out, "\nctxt {}\nbtime {}\nprocesses {}\n", s.ctxt, s.btime, s.processes);
    out!(out, "procs_running {}\nprocs_blocked {}\n", s.procs_running, s.procs_blocked);
    out!(out, "softirq 0 0 0 0 0 0 0 0 0 0 0\n");
}

fn cpu_times(out: &mut dyn Out, t: &CpuTimes) {
    let [user, system, idle, irq] = [t.user_ns, t.system_ns, t.idle_ns, t.irq_ns].map(clock_ticks);
    out!(out, "{user} 0 {system} {idle} 0 {irq} 0 0 0 0\n");
}

/// The line of `/proc/tty/drivers` for a driver with one device.
pub fn tty_driver(out: &mut dyn Out, driver: &str, name: &str, (major, minor): (u32, u32), kind: &str) {
    out!(out, "{driver:<20} /dev/{name:<8} {major:3} {minor:7} {kind}\n");
}

/// The beginning of a line of `/proc/mounts`: what is mounted.
pub fn mount_head(out: &mut dyn Out, device: &str) {
    out!(out, "{device} ");
}

/// The end of a line of `/proc/mounts`, after the path in the form of [`Escaped`].
pub fn mount_tail(out: &mut dyn Out, fs_type: &str, options: &str) {
    out!(out, " {fs_type} {options} 0 0\n");
}

/// Writes a path with the escapes of `/proc/mounts`, whose columns are parted by blanks.
pub struct Escaped<'a>(pub &'a mut dyn Out);

impl core::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl Out for Escaped<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' => out!(self.0, "\\{byte:03o}"),
                _ => self.0.bytes(&[byte]),
            }
        }
    }
}

/// One line of `/proc/filesystems` for a file system without a device.
pub fn filesystem_line(out: &mut dyn Out, name: &str) {
    out!(out, "nodev\t{name}\n");
}

/// The head of `/proc/swaps`.
pub fn swaps_head(out: &mut dyn Out) {
    out.bytes(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

/// The line of `/proc/swaps` for an area, whose name `path` writes.
pub fn swaps_line(out: &mut dyn Out, area: &SwapRecord, path: &[u8]) {
    let kb = |pages: u32| u64::from(pages) * 4;
    let (size, used) = (kb(area.pages), kb(area.in_use));
    out.bytes(path);
    for _ in 0..40usize.saturating_sub(path.len()).max(1) {
        out.bytes(b" ");
    }
    let kind = if area.is_block != 0 { "partition" } else { "file\t" };
    let tab = |number: u64| if number < 10_000_000 { "\t" } else { "" };
    out!(out, "{kind}\t{size}\t{}{used}\t{}{}\n", tab(size), tab(used), area.prio as i32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn a_swap_area_stands_in_its_line_as_on_a_real_kernel() {
        let area = SwapRecord { is_block: 1, pages: 16383, in_use: 12, prio: -2i32 as u32, ..SwapRecord::NONE };
        let text = render(|out| swaps_line(out, &area, b"/dev/sda"));
        let want = "/dev/sda                                partition\t65532\t\t48\t\t-2\n";
        assert_eq!(core::str::from_utf8(&text), Ok(want));
    }

    #[test]
    fn files_have_the_form_of_a_real_kernel() {
        assert_eq!(render(|out| uptime(out, 19_860_000_000, 17_750_000_000)), b"19.86 17.75\n");
        assert_eq!(render(|out| loadavg(out, [1208, 266, 81], 2, 65, 144)), b"0.59 0.13 0.04 2/65 144\n");
        let mount = |out: &mut dyn Out| {
            mount_head(out, "proc");
            Escaped(out).bytes(b"/my proc");
            mount_tail(out, "proc", "rw");
        };
        assert_eq!(render(mount), b"proc /my\\040proc proc rw 0 0\n");
        assert_eq!(render(|out| filesystem_line(out, "tmpfs")), b"nodev\ttmpfs\n");
        let cpus = [CpuTimes { user_ns: 460_000_000, idle_ns: 11_820_000_000, ..CpuTimes::default() }];
        let text = render(|out| stat(out, &Stat { cpus: &cpus, ctxt: 4454, ..Stat::default() }));
        assert!(text.starts_with(b"cpu  46 0 0 1182 0 0 0 0 0 0\ncpu0 46 0 0 1182 0 0 0 0 0 0\nintr 0 0"));
        assert!(text.windows(11).any(|w| w == b"\nctxt 4454\n"));
    }
}
