//! `--disk-error`: which sectors of which disk fail.

use machine::{DiskOperation, FaultySectors, MAX_DISKS};

/// Sectors that fail, and of which disk: 0 is `sda`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// Number of the disk.
    pub disk: usize,
    /// What fails there.
    pub sectors: FaultySectors,
}

/// `DISK:SECTOR[-LAST][:read|write]`, with a disk named `sda` to `sdd`, `hda` to `hdd`, or 0 to 3.
pub fn parse(text: &str) -> Result<DiskFault, String> {
    let bad = || format!("`{text}` is not DISK:SECTOR[-LAST][:read|write], such as sda:2048-2055:read");
    let mut parts = text.split(':');
    let disk = parts.next().and_then(disk_number).ok_or_else(bad)?;
    let range = parts.next().ok_or_else(bad)?;
    let operation = match parts.next() {
        None => DiskOperation::Both,
        Some("read") => DiskOperation::Read,
        Some("write") => DiskOperation::Write,
        Some(_) => return Err(bad()),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if parts.next().is_some() || first > last {
        return Err(bad());
    }
    Ok(DiskFault { disk, sectors: FaultySectors { first, last, operation } })
}

fn disk_number(name: &str) -> Option<usize> {
    let number = match name.strip_prefix("sd").or_else(|| name.strip_prefix("hd")).map(str::as_bytes) {
        Some(&[letter]) => usize::from(letter.checked_sub(b'a')?),
        Some(_) => return None,
        None => name.parse().ok()?,
    };
    (number < MAX_DISKS).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_a_disk_a_range_and_an_operation() {
        use DiskOperation::*;
        for (text, disk, first, last, operation) in
            [("sda:5", 0, 5, 5, Both), ("hdb:5-9:read", 1, 5, 9, Read), ("3:0:write", 3, 0, 0, Write)]
        {
            let sectors = FaultySectors { first, last, operation };
            assert_eq!(parse(text), Ok(DiskFault { disk, sectors }), "{text}");
        }
        for bad in
            ["", "sda", "sda:", "sde:1", "4:1", "sda1:1", "sda:9-5", "sda:x", "sda:1:erase", "sda:1:read:2", "sd:1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
