//! Registers, commands and blocks of data (ATA/ATAPI-6, "Command protocol").

use super::{identify::Identity, port::Port};
use crate::{
    arch::io::{inb, insw, outb, outsw},
    block::queue::{Op, Request, Segment},
    mm::highmem::kmap_local,
};

/// Offsets in the command block.
pub mod register {
    #![allow(missing_docs, reason = "the standard's names")]
    pub const DATA: u16 = 0;
    pub const ERROR: u16 = 1;
    pub const COUNT: u16 = 2;
    pub const LBA_LOW: u16 = 3;
    pub const LBA_MID: u16 = 4;
    pub const LBA_HIGH: u16 = 5;
    pub const DEVICE: u16 = 6;
    pub const STATUS: u16 = 7;
    pub const COMMAND: u16 = 7;
}

/// Bits of the status.
pub mod status {
    #![allow(missing_docs, reason = "the standard's names")]
    pub const BSY: u8 = 0x80;
    pub const DRDY: u8 = 0x40;
    pub const DF: u8 = 0x20;
    pub const DRQ: u8 = 0x08;
    pub const ERR: u8 = 0x01;
}

/// Device control: no interrupts.
const NIEN: u8 = 2;
const SRST: u8 = 4;
const DEVICE_LBA: u8 = 0xe0;
const LBA28_SECTORS: u64 = 1 << 28;

const IDENTIFY_DEVICE: u8 = 0xec;
const SET_MULTIPLE_MODE: u8 = 0xc6;

/// Looks at the status before a drive is given up.
const PATIENCE: u32 = 2_000_000;
/// Looks for a drive that is not there: few, since empty channels may read as anything.
const PROBE_PATIENCE: u32 = 200_000;

/// A drive and how it is talked to.
#[derive(Clone, Copy, Debug)]
pub struct Drive {
    /// It takes 48-bit addresses.
    pub lba48: bool,
    /// Sectors in a block of the multiple commands; 0 while they are off.
    pub multiple: u8,
    /// It takes FLUSH CACHE.
    pub flushes: bool,
}

/// The command that a request became.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its code.
    pub code: u8,
    /// 48-bit.
    pub ext: bool,
    /// Sectors in a block.
    pub block: u32,
}

impl Drive {
    /// The command for a request; the multiple commands where there are several sectors.
    pub fn command_for(&self, request: &Request) -> Command {
        let sectors = request.segment.map_or(0, |segment| segment.sectors);
        let ext = self.lba48 && (request.op == Op::Flush || request.sector + u64::from(sectors) > LBA28_SECTORS);
        let multiple = self.multiple > 1 && sectors > 1;
        let code = match (request.op, multiple, ext) {
            (Op::Read, false, false) => 0x20,
            (Op::Read, false, true) => 0x24,
            (Op::Read, true, false) => 0xc4,
            (Op::Read, true, true) => 0x29,
            (Op::Write, false, false) => 0x30,
            (Op::Write, false, true) => 0x34,
            (Op::Write, true, false) => 0xc5,
            (Op::Write, true, true) => 0x39,
            (Op::Flush, _, false) => 0xe7,
            (Op::Flush, _, true) => 0xea,
        };
        Command { code, ext, block: if multiple { self.multiple.into() } else { 1 } }
    }
}

impl Port {
    pub(super) fn get(&self, register: u16) -> u8 {
        inb(self.base + register)
    }

    pub(super) fn put(&self, register: u16, value: u8) {
        outb(value, self.base + register);
    }

    /// The status, without acknowledging an interrupt.
    pub(super) fn alternate_status(&self) -> u8 {
        inb(self.control)
    }

    /// Waits by looking, for as long as `patience`, until the drive is not busy.
    fn wait_idle(&self, patience: u32) -> Option<u8> {
        (0..patience).map(|_| self.alternate_status()).find(|status| status & status::BSY == 0)
    }

    /// Selects a drive; the standard gives it 400 ns, as four looks at its status take.
    fn select(&self, unit: u8) {
        self.put(register::DEVICE, DEVICE_LBA | unit << 4);
        for _ in 0..4 {
            self.alternate_status();
        }
    }

    /// Interrupts of the channel on or off.
    pub(super) fn set_interrupts(&self, on: bool) {
        outb(if on { 0 } else { NIEN }, self.control);
    }

    /// Looks for a drive and asks what it is, without interrupts. Packet devices refuse.
    pub(super) fn identify(&self, unit: u8) -> Option<Identity> {
        self.select(unit);
        // A drive keeps what is written to its registers.
        self.put(register::COUNT, 0x55);
        self.put(register::LBA_LOW, 0xaa);
        if self.get(register::COUNT) != 0x55 || self.get(register::LBA_LOW) != 0xaa {
            return None;
        }
        if self.wait_idle(PROBE_PATIENCE)? & status::DRDY == 0 {
            return None;
        }
        self.put(register::COMMAND, IDENTIFY_DEVICE);
        self.alternate_status();
        let status = self.wait_idle(PATIENCE)?;
        self.get(register::STATUS);
        if status & (status::ERR | status::DF) != 0 || status & status::DRQ == 0 {
            return None;
        }
        let mut bytes = alloc::vec![0; 512];
        insw(self.base + register::DATA, &mut bytes);
        Identity::parse(&bytes)
    }

    /// Sets the block of the multiple commands, without interrupts; 0 if the drive refuses.
    pub(super) fn set_multiple(&self, unit: u8, count: u8) -> u8 {
        self.select(unit);
        self.put(register::COUNT, count);
        self.put(register::COMMAND, SET_MULTIPLE_MODE);
        self.alternate_status();
        let status = self.wait_idle(PATIENCE);
        self.get(register::STATUS);
        if status.is_some_and(|status| status & status::ERR == 0) { count } else { 0 }
    }

    /// Writes a command. `false` if the drive does not become ready for it.
    pub(super) fn issue(&self, request: &Request, command: Command) -> bool {
        self.select(request.unit);
        let ready = self.wait_idle(PATIENCE).is_some_and(|status| status & status::DRDY != 0);
        if !ready {
            return false;
        }
        let count = request.segment.map_or(0, |segment| segment.sectors);
        let [b0, b1, b2, b3, b4, b5, ..] = request.sector.to_le_bytes();
        if command.ext {
            let high = [
                (register::COUNT, (count >> 8) as u8),
                (register::LBA_LOW, b3),
                (register::LBA_MID, b4),
                (register::LBA_HIGH, b5),
            ];
            high.into_iter().for_each(|(register, value)| self.put(register, value));
        }
        let low = [
            (register::COUNT, count as u8),
            (register::LBA_LOW, b0),
            (register::LBA_MID, b1),
            (register::LBA_HIGH, b2),
        ];
        low.into_iter().for_each(|(register, value)| self.put(register, value));
        let top = if command.ext { 0 } else { b3 & 15 };
        self.put(register::DEVICE, DEVICE_LBA | request.unit << 4 | top);
        self.put(register::COMMAND, command.code);
        true
    }

    /// Waits by looking until the drive asks for the first block of a write.
    pub(super) fn wait_for_request(&self) -> Option<u8> {
        self.alternate_status();
        self.wait_idle(PATIENCE)
    }

    /// Takes sectors `done..done + count` of a segment from the drive.
    pub(super) fn read_block(&self, segment: &Segment, done: u32, count: u32) {
        let mut page = kmap_local(segment.page);
        for sector in done..done + count {
            let at = (segment.offset + sector * 512) as usize;
            insw(self.base + register::DATA, &mut page.as_mut_slice()[at..at + 512]);
        }
    }

    /// Gives sectors `done..done + count` of a segment to the drive.
    pub(super) fn write_block(&self, segment: &Segment, done: u32, count: u32) {
        let page = kmap_local(segment.page);
        for sector in done..done + count {
            let at = (segment.offset + sector * 512) as usize;
            outsw(self.base + register::DATA, &page.as_slice()[at..at + 512]);
        }
    }

    /// Resets both drives, and waits for the one that is selected afterwards.
    pub(super) fn soft_reset(&self) {
        outb(SRST, self.control);
        for _ in 0..100 {
            self.alternate_status();
        }
        outb(0, self.control);
        // A drive that stays busy fails the next command.
        let _ = self.wait_idle(PATIENCE);
        self.get(register::STATUS);
    }
}
