/// Bytes in a sector.
pub const SECTOR_BYTES: usize = 512;

/// The sectors behind the drives. A chip that reads or writes them has the outcome at once;
/// how long it takes in the machine's time is for the chip to say.
pub trait Disks {
    /// Copies sector `sector` of disk `disk` to `data`, [`SECTOR_BYTES`] long.
    ///
    /// # Errors
    /// [`DiskFault`] when its contents cannot be had.
    fn read(&mut self, disk: u8, sector: u64, data: &mut [u8]) -> Result<(), DiskFault>;

    /// Copies `data`, [`SECTOR_BYTES`] long, to sector `sector` of disk `disk`.
    ///
    /// # Errors
    /// [`DiskFault`] when it is not stored.
    fn write(&mut self, disk: u8, sector: u64, data: &[u8]) -> Result<(), DiskFault>;

    /// Returns when all that was written to disk `disk` is where it outlasts a loss of power.
    ///
    /// # Errors
    /// [`DiskFault`] when some of it is lost.
    fn flush(&mut self, disk: u8) -> Result<(), DiskFault>;
}

/// A disk cannot do what it was asked for. Why is for its owner to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault;
