//! `/proc/partitions` and `/proc/diskstats`.

use crate::out::Out;

/// A disk or a partition.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Major and minor number.
    pub rdev: (u32, u32),
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// `sda`, `sda1`.
    pub name: &'a str,
}

/// What one kind of transfer came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Requests that ended.
    pub ios: u32,
    /// Requests that joined another.
    pub merges: u32,
    /// Sectors that were moved.
    pub sectors: u32,
    /// Time that requests took, waiting included.
    pub nsecs: u64,
}

/// The row of a device in `/proc/diskstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Reads.
    pub read: IoCounts,
    /// Writes.
    pub write: IoCounts,
    /// Discards, which these disks do not know.
    pub discard: IoCounts,
    /// Requests under way.
    pub in_flight: u32,
    /// Time with a request under way.
    pub io_nsecs: u64,
    /// Flushes.
    pub flush: IoCounts,
}

/// The head of `/proc/partitions`, which is absent without disks.
pub fn partitions_head(out: &mut dyn Out) {
    crate::out!(out, "major minor  #blocks  name\n\n");
}

/// A row of `/proc/partitions`.
pub fn partition(out: &mut dyn Out, device: &Device<'_>) {
    let (major, minor) = device.rdev;
    crate::out!(out, "{major:4}  {minor:7} {:10} {}\n", device.sectors / 2, device.name);
}

fn ms(nsecs: u64) -> u32 {
    (nsecs / 1_000_000) as u32
}

/// A row of `/proc/diskstats`.
pub fn diskstats(out: &mut dyn Out, device: &Device<'_>, stats: &DiskStats) {
    let (major, minor) = device.rdev;
    crate::out!(out, "{major:4} {minor:7} {}", device.name);
    let counts = |out: &mut dyn Out, c: &IoCounts| {
        crate::out!(out, " {} {} {} {}", c.ios, c.merges, c.sectors, ms(c.nsecs));
    };
    counts(out, &stats.read);
    counts(out, &stats.write);
    let all = stats.read.nsecs + stats.write.nsecs + stats.discard.nsecs + stats.flush.nsecs;
    crate::out!(out, " {} {} {}", stats.in_flight, ms(stats.io_nsecs), ms(all));
    counts(out, &stats.discard);
    crate::out!(out, " {} {}\n", stats.flush.ios, ms(stats.flush.nsecs));
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{string::String, vec::Vec};

    use super::*;

    fn text(show: impl Fn(&mut dyn Out)) -> String {
        let bytes: Vec<u8> = crate::out::render(show);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_are_those_of_linux() {
        let device = Device { rdev: (8, 1), sectors: 20_480, name: "sda1" };
        let shown = text(|out| {
            partitions_head(out);
            partition(out, &device);
        });
        assert_eq!(shown, "major minor  #blocks  name\n\n   8        1      10240 sda1\n");
        let stats = DiskStats {
            read: IoCounts { ios: 87, merges: 0, sectors: 4792, nsecs: 23_000_000 },
            write: IoCounts { ios: 2, merges: 1, sectors: 16, nsecs: 999_999 },
            in_flight: 1,
            io_nsecs: 40_000_000,
            flush: IoCounts { ios: 3, nsecs: 5_000_000, ..IoCounts::default() },
            ..DiskStats::default()
        };
        assert_eq!(
            text(|out| diskstats(out, &device, &stats)),
            "   8       1 sda1 87 0 4792 23 2 1 16 0 1 40 28 0 0 0 0 3 5\n"
        );
    }
}
