//! `/proc/partitions` and `/proc/diskstats`.

use abi::{
    out::Out,
    proc::disks::{self, Device},
};

use super::{BlockDevice, DEVICES};

fn row(device: &BlockDevice) -> Device<'_> {
    Device { rdev: device.rdev, sectors: device.capacity(), name: &device.name }
}

/// `/proc/partitions`
pub fn partitions(out: &mut dyn Out) {
    let devices = DEVICES.lock();
    if !devices.is_empty() {
        disks::partitions_head(out);
    }
    devices.iter().for_each(|device| disks::partition(out, &row(device)));
}

/// `/proc/diskstats`
pub fn diskstats(out: &mut dyn Out) {
    DEVICES.lock().iter().for_each(|device| disks::diskstats(out, &row(device), &device.stats()));
}
