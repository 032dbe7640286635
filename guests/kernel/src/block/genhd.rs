//! Disks as drivers announce them, and what is counted of them.

use alloc::{format, string::String, sync::Arc};
use core::sync::atomic::AtomicBool;

use abi::proc::disks::{DiskStats, IoCounts};

use super::{
    BlockDevice, DEVICES, DISK_MINORS, SCSI_DISK0_MAJOR, partitions,
    queue::{Op, Queue},
};
use crate::{
    pr_info,
    sync::{Once, SpinLock},
};

/// Counts of one device.
#[derive(Default)]
pub struct Stats {
    inner: SpinLock<Counts>,
}

#[derive(Default)]
struct Counts {
    stats: DiskStats,
    /// When the device was last found busy or became so.
    busy_since_ns: u64,
}

impl Counts {
    fn note_busy(&mut self, now_ns: u64) {
        if self.stats.in_flight > 0 {
            self.stats.io_nsecs += now_ns.saturating_sub(self.busy_since_ns);
        }
        self.busy_since_ns = now_ns;
    }
}

impl Stats {
    pub(super) fn begin(&self, now_ns: u64) {
        let mut counts = self.inner.lock();
        counts.note_busy(now_ns);
        counts.stats.in_flight += 1;
    }

    pub(super) fn end(&self, op: Op, sectors: u32, began_ns: u64, now_ns: u64) {
        let mut counts = self.inner.lock();
        counts.note_busy(now_ns);
        let stats = &mut counts.stats;
        stats.in_flight -= 1;
        let counts: &mut IoCounts = match op {
            Op::Read => &mut stats.read,
            Op::Write => &mut stats.write,
            Op::Flush => &mut stats.flush,
        };
        counts.ios = counts.ios.wrapping_add(1);
        counts.sectors = counts.sectors.wrapping_add(sectors);
        counts.nsecs += now_ns.saturating_sub(began_ns);
    }

    /// The counts now.
    pub fn read(&self) -> DiskStats {
        self.inner.lock().stats
    }
}

impl BlockDevice {
    /// The counts now.
    pub fn stats(&self) -> DiskStats {
        self.stats.read()
    }
}

/// `sda`, `sdb` and so on; as many as there are minor numbers for.
fn disk_name(number: u32) -> String {
    let letter = char::from(b'a' + number as u8);
    format!("sd{letter}")
}

/// `add_disk`: announces a disk of `sectors` sectors, drive `unit` of `queue`, and looks for
/// its partitions. Sleeps.
pub fn add_disk(queue: &'static Queue, unit: u8, sectors: u64) {
    let number = DEVICES.lock().iter().filter(|device| device.rdev.1 % DISK_MINORS == 0).count() as u32;
    let disk = super::register(BlockDevice {
        name: disk_name(number),
        rdev: (SCSI_DISK0_MAJOR, number * DISK_MINORS),
        start: 0,
        sectors,
        unit,
        queue,
        stats: Arc::default(),
        disk_stats: None,
        claimed: AtomicBool::new(false),
        mapping: Once::new(),
    });
    crate::pr_hw!(
        "sd {number}:0:0:0: [{}] {sectors} 512-byte logical blocks: ({} MB/{} MiB)",
        disk.name,
        sectors * 512 / 1_000_000,
        sectors / 2048
    );
    let found = match partitions::scan(&disk) {
        Ok(found) => found,
        Err(_) => {
            pr_info!(" {}: unable to read partition table", disk.name);
            return;
        }
    };
    let mut line = format!(" {}:", disk.name);
    for partition in found {
        let name = format!("{}{}", disk.name, partition.number);
        line += " ";
        line += &name;
        super::register(BlockDevice {
            name,
            rdev: (SCSI_DISK0_MAJOR, disk.rdev.1 + partition.number),
            start: partition.start,
            sectors: partition.sectors,
            unit,
            queue,
            stats: Arc::default(),
            disk_stats: Some(disk.stats.clone()),
            claimed: AtomicBool::new(false),
            mapping: Once::new(),
        });
    }
    pr_info!("{line}");
}
