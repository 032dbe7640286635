//! A drive: its registers, its buffer, and the protocol by which blocks pass through it
//! (ATA/ATAPI-6, "Command protocol").

use serde::{Deserialize, Serialize};

use super::{
    error,
    identify::{self, Geometry},
    status,
};
use crate::{DiskFault, Disks, disks::SECTOR_BYTES};

/// A drive's own time for any command.
const COMMAND_NS: u64 = 10_000;
/// Time for a sector on its way to or from the medium.
const SECTOR_NS: u64 = 2_000;
/// Time for the drive's cache to reach the medium.
const FLUSH_NS: u64 = 100_000;
/// Time until a drive has come out of a reset.
const RESET_NS: u64 = 500_000;

/// Most sectors in a block of READ MULTIPLE and WRITE MULTIPLE.
pub(super) const MAX_MULTIPLE: u8 = 16;

/// The drive has passed its diagnostics.
const DIAGNOSTICS_PASSED: u8 = 1;

/// A register that remembers the byte written before the last, for 48-bit commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    current: u8,
    previous: u8,
}

impl Pair {
    pub fn get(self, previous: bool) -> u8 {
        if previous { self.previous } else { self.current }
    }

    pub fn put(&mut self, value: u8) {
        self.previous = self.current;
        self.current = value;
    }

    /// Sets the byte that reads give, and leaves the one before.
    pub fn set(&mut self, value: u8) {
        self.current = value;
    }

    pub fn set_both(&mut self, current: u8, previous: u8) {
        (self.current, self.previous) = (current, previous);
    }
}

/// The command block of one drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub features: u8,
    pub error: u8,
    pub count: Pair,
    pub low: Pair,
    pub mid: Pair,
    pub high: Pair,
    pub device: u8,
}

/// Which way the blocks of the command go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Direction {
    ToHost,
    FromHost,
}

/// How a command names its sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Addressing {
    /// Cylinder, head and sector.
    Chs,
    Lba28,
    Lba48,
}

/// The rest of a command that moves data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    direction: Direction,
    addressing: Addressing,
    /// First sector of the block in the buffer.
    sector: u64,
    /// Sectors left, those in the buffer among them.
    left: u32,
    /// Sectors in a whole block.
    block: u32,
}

/// What a drive does once it is no longer busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Busy {
    /// `None` while SRST holds the drive.
    until_ns: Option<u64>,
    interrupts: bool,
}

/// An ATA drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drive {
    pub registers: Registers,
    /// Number of the disk.
    pub disk: u8,
    pub sectors: u64,
    /// The translation that CHS addresses go by.
    pub geometry: Geometry,
    /// Sectors in a block of the multiple commands; 0 while they are off.
    pub multiple: u8,
    pub write_cache: bool,
    pub look_ahead: bool,
    /// Status without BSY.
    status: u8,
    busy: Option<Busy>,
    interrupt: bool,
    transfer: Option<Transfer>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that have passed.
    at: usize,
}

impl Drive {
    /// A drive that has come up.
    pub fn new(disk: u8, sectors: u64) -> Self {
        let mut drive = Drive {
            registers: Registers::default(),
            disk,
            sectors,
            geometry: Geometry::default_of(sectors),
            multiple: 0,
            write_cache: true,
            look_ahead: true,
            status: status::DRDY | status::DSC,
            busy: None,
            interrupt: false,
            transfer: None,
            buffer: Vec::new(),
            at: 0,
        };
        drive.put_signature();
        drive
    }

    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Takes a command: neither busy nor in the middle of a block.
    pub fn is_idle(&self) -> bool {
        !self.is_busy() && self.status & status::DRQ == 0
    }

    pub fn status(&self) -> u8 {
        if self.is_busy() { status::BSY } else { self.status }
    }

    /// The status, whose reading acknowledges the interrupt.
    pub fn read_status(&mut self) -> u8 {
        self.interrupt = false;
        self.status()
    }

    pub fn interrupts(&self) -> bool {
        self.interrupt
    }

    pub fn deadline_ns(&self) -> Option<u64> {
        self.busy?.until_ns
    }

    pub fn wake(&mut self, now_ns: u64) {
        if let Some(busy) = self.busy
            && busy.until_ns.is_some_and(|until_ns| now_ns >= until_ns)
        {
            self.busy = None;
            self.interrupt |= busy.interrupts;
        }
    }

    /// A new command begins: what the last one left is gone.
    pub fn begin(&mut self) {
        self.registers.error = 0;
        self.status = status::DRDY | status::DSC;
        self.interrupt = false;
        self.transfer = None;
        self.buffer.clear();
        self.at = 0;
    }

    /// The command takes `ns` from now on and then ends with an interrupt.
    fn stay_busy(&mut self, now_ns: u64, ns: u64) {
        self.busy = Some(Busy { until_ns: Some(now_ns + ns), interrupts: true });
    }

    /// The command is done.
    pub fn complete(&mut self, now_ns: u64) {
        self.stay_busy(now_ns, COMMAND_NS);
    }

    /// The command ends with `error`.
    pub fn fail(&mut self, error: u8, now_ns: u64) {
        self.transfer = None;
        self.status = status::DRDY | status::DSC | status::ERR;
        self.registers.error = error;
        self.complete(now_ns);
    }

    /// The command is refused.
    pub fn abort(&mut self, now_ns: u64) {
        self.fail(error::ABRT, now_ns);
    }

    fn device_fault(&mut self, now_ns: u64) {
        self.fail(error::ABRT, now_ns);
        self.status |= status::DF;
    }

    /// A block that is not of the medium: the drive's description.
    pub fn send(&mut self, block: Vec<u8>, now_ns: u64) {
        self.buffer = block;
        self.status |= status::DRQ;
        self.complete(now_ns);
    }

    pub fn flush(&mut self, now_ns: u64, disks: &mut impl Disks) {
        match disks.flush(self.disk) {
            Ok(()) => self.stay_busy(now_ns, FLUSH_NS),
            Err(DiskFault) => self.device_fault(now_ns),
        }
    }

    /// Looks whether sectors can be read, without giving them out.
    pub fn verify(&mut self, addressing: Addressing, now_ns: u64, disks: &mut impl Disks) {
        let Some((first, count)) = self.range(addressing) else { return self.fail(error::IDNF, now_ns) };
        let mut data = [0; SECTOR_BYTES];
        for sector in first..first + u64::from(count) {
            if disks.read(self.disk, sector, &mut data).is_err() {
                self.set_address(sector, addressing);
                return self.fail(error::UNC, now_ns);
            }
        }
        self.stay_busy(now_ns, COMMAND_NS + SECTOR_NS * u64::from(count));
    }

    /// READ SECTORS and READ MULTIPLE, with blocks of `block` sectors.
    pub fn read(&mut self, addressing: Addressing, block: u32, now_ns: u64, disks: &mut impl Disks) {
        let Some((sector, left)) = self.range(addressing) else { return self.fail(error::IDNF, now_ns) };
        self.transfer = Some(Transfer { direction: Direction::ToHost, addressing, sector, left, block });
        self.load_block(COMMAND_NS, now_ns, disks);
    }

    /// WRITE SECTORS and WRITE MULTIPLE. The first block is asked for without an interrupt.
    pub fn write(&mut self, addressing: Addressing, block: u32, now_ns: u64) {
        let Some((sector, left)) = self.range(addressing) else { return self.fail(error::IDNF, now_ns) };
        self.transfer = Some(Transfer { direction: Direction::FromHost, addressing, sector, left, block });
        self.ask_for_block();
    }

    /// The next word for the host. Outside a block there is none.
    pub fn read_word(&mut self, now_ns: u64, disks: &mut impl Disks) -> u16 {
        let from_host = self.transfer.as_ref().is_some_and(|transfer| transfer.direction == Direction::FromHost);
        let Some(&[low, high]) = self.buffer.get(self.at..self.at + 2).filter(|_| self.asks() && !from_host) else {
            log::debug!("disk {}: the data register is read without a block", self.disk);
            return 0;
        };
        self.at += 2;
        if self.at == self.buffer.len() {
            self.status &= !status::DRQ;
            self.block_read(now_ns, disks);
        }
        u16::from_le_bytes([low, high])
    }

    /// The next word from the host.
    pub fn write_word(&mut self, value: u16, now_ns: u64, disks: &mut impl Disks) {
        let from_host = self.transfer.as_ref().is_some_and(|transfer| transfer.direction == Direction::FromHost);
        let asks = self.asks();
        let Some(place) = self.buffer.get_mut(self.at..self.at + 2).filter(|_| asks && from_host) else {
            log::debug!("disk {}: the data register is written without a block", self.disk);
            return;
        };
        place.copy_from_slice(&value.to_le_bytes());
        self.at += 2;
        if self.at == self.buffer.len() {
            self.status &= !status::DRQ;
            self.store_block(now_ns, disks);
        }
    }

    /// As many elements of `size` bytes of a block as `bytes` takes, but for its last.
    pub fn read_string(&mut self, size: usize, bytes: &mut [u8]) -> u32 {
        let elements = self.elements_before_last(size, bytes.len(), Direction::ToHost);
        let len = elements * size;
        if let Some(block) = self.buffer.get(self.at..self.at + len) {
            bytes[..len].copy_from_slice(block);
            self.at += len;
        }
        elements as u32
    }

    /// As many elements of `size` bytes of a block as `bytes` has, but for its last.
    pub fn write_string(&mut self, size: usize, bytes: &[u8]) -> u32 {
        let elements = self.elements_before_last(size, bytes.len(), Direction::FromHost);
        let len = elements * size;
        if let Some(block) = self.buffer.get_mut(self.at..self.at + len) {
            block.copy_from_slice(&bytes[..len]);
            self.at += len;
        }
        elements as u32
    }

    /// Elements that can move in that direction before the last of the block, of `room` bytes at most.
    fn elements_before_last(&self, size: usize, room: usize, wanted: Direction) -> usize {
        let from_host = self.transfer.as_ref().is_some_and(|transfer| transfer.direction == Direction::FromHost);
        if !self.asks() || from_host != (wanted == Direction::FromHost) {
            return 0;
        }
        let left = self.buffer.len().saturating_sub(self.at);
        (left.saturating_sub(1) / size).min(room / size)
    }

    fn asks(&self) -> bool {
        !self.is_busy() && self.status & status::DRQ != 0
    }

    /// The host has taken a block: the next, or the end, for which no interrupt comes.
    fn block_read(&mut self, now_ns: u64, disks: &mut impl Disks) {
        let Some(transfer) = &mut self.transfer else { return };
        let done = transfer.left.min(transfer.block);
        transfer.left -= done;
        transfer.sector += u64::from(done);
        if transfer.left > 0 {
            self.load_block(0, now_ns, disks);
        } else {
            self.transfer = None;
        }
    }

    /// Reads a block of the medium into the buffer.
    fn load_block(&mut self, extra_ns: u64, now_ns: u64, disks: &mut impl Disks) {
        let Some(Transfer { sector, left, block, addressing, .. }) = self.transfer.clone() else { return };
        let count = left.min(block);
        self.buffer.clear();
        self.buffer.resize(count as usize * SECTOR_BYTES, 0);
        self.at = 0;
        for (n, data) in (0..).zip(self.buffer.chunks_exact_mut(SECTOR_BYTES)) {
            if disks.read(self.disk, sector + n, data).is_err() {
                self.set_address(sector + n, addressing);
                self.fail(error::UNC, now_ns);
                return;
            }
        }
        self.status |= status::DRQ;
        self.set_progress(sector + u64::from(count) - 1, left - count, addressing);
        self.stay_busy(now_ns, extra_ns + SECTOR_NS * u64::from(count));
    }

    fn ask_for_block(&mut self) {
        let Some(Transfer { left, block, .. }) = self.transfer else { return };
        self.buffer.clear();
        self.buffer.resize(left.min(block) as usize * SECTOR_BYTES, 0);
        self.at = 0;
        self.status |= status::DRQ;
    }

    /// Writes the buffer to the medium.
    fn store_block(&mut self, now_ns: u64, disks: &mut impl Disks) {
        let Some(Transfer { sector, left, addressing, .. }) = self.transfer.clone() else { return };
        let mut count = 0;
        for data in self.buffer.chunks_exact(SECTOR_BYTES) {
            if disks.write(self.disk, sector + u64::from(count), data).is_err() {
                self.set_address(sector + u64::from(count), addressing);
                self.device_fault(now_ns);
                return;
            }
            count += 1;
        }
        let left = left.saturating_sub(count);
        self.set_progress(sector + u64::from(count) - 1, left, addressing);
        match &mut self.transfer {
            Some(transfer) if left > 0 => {
                (transfer.sector, transfer.left) = (sector + u64::from(count), left);
                self.ask_for_block();
            }
            transfer => *transfer = None,
        }
        self.stay_busy(now_ns, COMMAND_NS + SECTOR_NS * u64::from(count));
    }

    /// First sector and count that the registers name; `None` if the disk has not all of them.
    pub fn range(&self, addressing: Addressing) -> Option<(u64, u32)> {
        let regs = &self.registers;
        let bytes = |previous| [regs.low, regs.mid, regs.high].map(|pair| u64::from(pair.get(previous)));
        let [low, mid, high] = bytes(false);
        let lba24 = low | mid << 8 | high << 16;
        let first = match addressing {
            Addressing::Chs => self.geometry.sector(mid | high << 8, u64::from(regs.device & 15), low)?,
            Addressing::Lba28 => lba24 | u64::from(regs.device & 15) << 24,
            Addressing::Lba48 => {
                let [low, mid, high] = bytes(true);
                lba24 | low << 24 | mid << 32 | high << 40
            }
        };
        let count = u32::from(regs.count.get(false));
        let count = match addressing {
            Addressing::Lba48 => match count | u32::from(regs.count.get(true)) << 8 {
                0 => 1 << 16,
                count => count,
            },
            _ if count == 0 => 1 << 8,
            _ => count,
        };
        (first + u64::from(count) <= self.sectors).then_some((first, count))
    }

    /// The registers name `sector` and the count of what is left.
    fn set_progress(&mut self, sector: u64, left: u32, addressing: Addressing) {
        let [low, high, ..] = left.to_le_bytes();
        match addressing {
            Addressing::Lba48 => self.registers.count.set_both(low, high),
            _ => self.registers.count.set(low),
        }
        self.set_address(sector, addressing);
    }

    fn set_address(&mut self, sector: u64, addressing: Addressing) {
        let regs = &mut self.registers;
        let [b0, b1, b2, b3, b4, b5, ..] = sector.to_le_bytes();
        match addressing {
            Addressing::Chs => {
                let (cylinder, head, number) = self.geometry.place(sector);
                let [low, high] = cylinder.to_le_bytes();
                regs.low.set(number);
                regs.mid.set(low);
                regs.high.set(high);
                regs.device = regs.device & 0xf0 | head;
            }
            Addressing::Lba28 => {
                regs.low.set(b0);
                regs.mid.set(b1);
                regs.high.set(b2);
                regs.device = regs.device & 0xf0 | b3 & 15;
            }
            Addressing::Lba48 => {
                regs.low.set_both(b0, b3);
                regs.mid.set_both(b1, b4);
                regs.high.set_both(b2, b5);
            }
        }
    }

    /// Whether a drive of so many sectors could be like this as disk number `disk`.
    pub fn fits(&self, disk: u8, sectors: u64) -> bool {
        let transfer_fits = self.transfer.as_ref().is_none_or(|transfer| {
            let within = transfer.sector.checked_add(transfer.left.into()).is_some_and(|end| end <= sectors);
            within && transfer.left > 0 && (1..=u32::from(MAX_MULTIPLE)).contains(&transfer.block)
        });
        let block_fits = self.at <= self.buffer.len() && self.buffer.len().is_multiple_of(SECTOR_BYTES);
        self.disk == disk && self.sectors == sectors && self.multiple <= MAX_MULTIPLE && transfer_fits && block_fits
    }

    /// SRST is set: busy for as long as it is.
    pub fn hold_in_reset(&mut self) {
        self.begin();
        self.busy = Some(Busy { until_ns: None, interrupts: false });
    }

    /// SRST is clear again.
    pub fn leave_reset(&mut self, now_ns: u64) {
        self.put_signature();
        self.busy = Some(Busy { until_ns: Some(now_ns + RESET_NS), interrupts: false });
    }

    /// The reset line: as after power-on.
    pub fn power_on(&mut self, now_ns: u64) {
        *self = Drive::new(self.disk, self.sectors);
        self.leave_reset(now_ns);
    }

    /// EXECUTE DEVICE DIAGNOSTIC; the interrupt is device 0's.
    pub fn diagnose(&mut self, now_ns: u64, interrupts: bool) {
        self.begin();
        self.put_signature();
        self.busy = Some(Busy { until_ns: Some(now_ns + RESET_NS), interrupts });
    }

    /// What the registers hold after a reset: passed, and a disk.
    fn put_signature(&mut self) {
        let regs = &mut self.registers;
        regs.error = DIAGNOSTICS_PASSED;
        for (register, value) in [(&mut regs.count, 1), (&mut regs.low, 1), (&mut regs.mid, 0), (&mut regs.high, 0)] {
            register.set_both(value, 0);
        }
        regs.device = 0;
    }

    /// The 512 bytes that IDENTIFY DEVICE gives.
    pub fn describe(&self) -> Vec<u8> {
        identify::block(self)
    }
}
