//! Commands by their codes (ATA/ATAPI-6, "Command descriptions").

use super::{
    drive::{Addressing, Drive, MAX_MULTIPLE},
    error,
    identify::Geometry,
};
use crate::Disks;

const DEVICE_LBA: u8 = 1 << 6;

/// The command that both drives of a channel do.
pub(super) const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

/// What CHECK POWER MODE gives of a drive that is awake.
const ACTIVE_OR_IDLE: u8 = 0xff;

impl Drive {
    /// Begins a command. One that comes while another goes on is lost.
    pub(super) fn command(&mut self, opcode: u8, now_ns: u64, disks: &mut impl Disks) {
        if !self.is_idle() {
            log::debug!("disk {}: command {opcode:#04x} comes in the middle of another", self.disk);
            return;
        }
        self.begin();
        let lba = if self.registers.device & DEVICE_LBA != 0 { Addressing::Lba28 } else { Addressing::Chs };
        match opcode {
            // READ SECTOR(S), with and without retries, and EXT.
            0x20 | 0x21 => self.read(lba, 1, now_ns, disks),
            0x24 => self.read(Addressing::Lba48, 1, now_ns, disks),
            // WRITE SECTOR(S), with and without retries, and EXT.
            0x30 | 0x31 => self.write(lba, 1, now_ns),
            0x34 => self.write(Addressing::Lba48, 1, now_ns),
            // READ MULTIPLE and EXT, WRITE MULTIPLE and EXT.
            0xc4 | 0x29 | 0xc5 | 0x39 if self.multiple == 0 => self.abort(now_ns),
            0xc4 => self.read(lba, self.multiple.into(), now_ns, disks),
            0x29 => self.read(Addressing::Lba48, self.multiple.into(), now_ns, disks),
            0xc5 => self.write(lba, self.multiple.into(), now_ns),
            0x39 => self.write(Addressing::Lba48, self.multiple.into(), now_ns),
            0xc6 => self.set_multiple(now_ns),
            // READ VERIFY SECTOR(S), with and without retries, and EXT.
            0x40 | 0x41 => self.verify(lba, now_ns, disks),
            0x42 => self.verify(Addressing::Lba48, now_ns, disks),
            // SEEK.
            0x70..=0x7f => match self.range(lba) {
                Some(_) => self.complete(now_ns),
                None => self.fail(error::IDNF, now_ns),
            },
            // RECALIBRATE.
            0x10..=0x1f => self.complete(now_ns),
            // FLUSH CACHE and EXT.
            0xe7 | 0xea => self.flush(now_ns, disks),
            // IDENTIFY DEVICE.
            0xec => {
                let block = self.describe();
                self.send(block, now_ns);
            }
            0x91 => self.initialize_device_parameters(now_ns),
            0xef => self.set_features(now_ns),
            // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE: the drive stays awake.
            0xe0..=0xe3 => self.complete(now_ns),
            // CHECK POWER MODE.
            0xe5 => {
                self.registers.count.set(ACTIVE_OR_IDLE);
                self.complete(now_ns);
            }
            _ => {
                log::debug!("disk {}: command {opcode:#04x} is not known", self.disk);
                self.abort(now_ns);
            }
        }
    }

    /// SET MULTIPLE MODE: a power of two up to what IDENTIFY tells, or 0 for off.
    fn set_multiple(&mut self, now_ns: u64) {
        let count = self.registers.count.get(false);
        if count > MAX_MULTIPLE || count != 0 && !count.is_power_of_two() {
            return self.abort(now_ns);
        }
        self.multiple = count;
        self.complete(now_ns);
    }

    /// INITIALIZE DEVICE PARAMETERS: the translation of CHS addresses.
    fn initialize_device_parameters(&mut self, now_ns: u64) {
        let heads = (self.registers.device & 15) + 1;
        match Geometry::new(self.sectors, heads, self.registers.count.get(false)) {
            Some(geometry) => {
                self.geometry = geometry;
                self.complete(now_ns);
            }
            None => self.abort(now_ns),
        }
    }

    fn set_features(&mut self, now_ns: u64) {
        match self.registers.features {
            0x02 => self.write_cache = true,
            0x82 => self.write_cache = false,
            0xaa => self.look_ahead = true,
            0x55 => self.look_ahead = false,
            // Whether a software reset brings back the values of power-on: it changes none here.
            0x66 | 0xcc => {}
            // Transfer mode: PIO with or without flow control; there is no DMA.
            0x03 if matches!(self.registers.count.get(false), 0x00 | 0x01 | 0x08..=0x0c) => {}
            _ => return self.abort(now_ns),
        }
        self.complete(now_ns);
    }
}
