//! One channel of an IDE controller, as the PIIX3 has two, with up to two ATA drives that
//! transfer by programmed I/O (ATA/ATAPI-6, "Interface register definitions and descriptions").
//!
//! Data moves between a drive's buffer and the disk when the guest's access begins or ends a
//! block; the drive then stays busy for the time that a disk would take. So waking a channel
//! touches no disk, and the order of what reaches a disk is that of the guest's accesses.
mod command;
mod drive;
mod identify;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{Board, Disks};
use drive::Drive;

/// Offsets from the first port of the command block.
mod register {
    pub const DATA: u16 = 0;
    /// Read.
    pub const ERROR: u16 = 1;
    /// Written.
    pub const FEATURES: u16 = 1;
    pub const COUNT: u16 = 2;
    pub const LOW: u16 = 3;
    pub const MID: u16 = 4;
    pub const HIGH: u16 = 5;
    pub const DEVICE: u16 = 6;
}

/// Bits of the status register.
mod status {
    pub const BSY: u8 = 1 << 7;
    pub const DRDY: u8 = 1 << 6;
    /// Device fault.
    pub const DF: u8 = 1 << 5;
    /// The seek is complete, which it always is.
    pub const DSC: u8 = 1 << 4;
    pub const DRQ: u8 = 1 << 3;
    pub const ERR: u8 = 1 << 0;
}

/// Bits of the error register.
mod error {
    /// The data cannot be corrected.
    pub const UNC: u8 = 1 << 6;
    /// There is no such sector.
    pub const IDNF: u8 = 1 << 4;
    /// The command is not known, or cannot be done.
    pub const ABRT: u8 = 1 << 2;
}

/// Bits of the device control register.
mod control {
    /// The drive's interrupt is off.
    pub const NIEN: u8 = 1 << 1;
    /// Software reset of both drives, while set.
    pub const SRST: u8 = 1 << 2;
    /// Reads give the bytes written before the last, of registers that hold two.
    pub const HOB: u8 = 1 << 7;
}

/// DEV, the bit of the device register that selects.
const DEVICE_SELECT: u8 = 1 << 4;

/// A channel: eight ports of the command block and one of the control block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdeChannel {
    /// Device 0 and device 1, where there is one.
    drives: [Option<Drive>; 2],
    /// Device 1 is selected.
    second: bool,
    control: u8,
}

impl IdeChannel {
    /// A channel with drives of so many sectors. Drive `n` of channel `number` is disk
    /// `2 * number + n` to [`Disks`].
    pub fn new(number: u8, sectors: [Option<u64>; 2]) -> Self {
        let drive = |place: u8| Some(Drive::new(2 * number + place, sectors[usize::from(place)]?));
        IdeChannel { drives: [drive(0), drive(1)], second: false, control: 0 }
    }

    /// Whether there is a drive.
    pub fn has_drives(&self) -> bool {
        self.drives.iter().any(Option::is_some)
    }

    /// Reads a byte of the command block, but for the data register.
    pub fn read(&mut self, offset: u16, board: &mut impl Board) -> u8 {
        self.wake(board);
        let hob = self.control & control::HOB != 0;
        let Some(drive) = self.selected() else { return 0 };
        if drive.is_busy() && offset != register::DATA {
            return drive.read_status();
        }
        let regs = &drive.registers;
        match offset {
            register::DATA => 0,
            register::ERROR => regs.error,
            register::COUNT => regs.count.get(hob),
            register::LOW => regs.low.get(hob),
            register::MID => regs.mid.get(hob),
            register::HIGH => regs.high.get(hob),
            register::DEVICE => regs.device,
            _ => drive.read_status(),
        }
    }

    /// Writes a byte of the command block, but for the data register. Both drives see it;
    /// the selected one does the command.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board, disks: &mut impl Disks) {
        self.wake(board);
        self.control &= !control::HOB;
        if offset > register::DEVICE {
            self.command(value, board, disks);
            return;
        }
        for drive in self.drives.iter_mut().flatten().filter(|drive| drive.is_idle()) {
            let regs = &mut drive.registers;
            match offset {
                register::FEATURES => regs.features = value,
                register::COUNT => regs.count.put(value),
                register::LOW => regs.low.put(value),
                register::MID => regs.mid.put(value),
                register::HIGH => regs.high.put(value),
                register::DEVICE => regs.device = value,
                _ => {}
            }
        }
        if offset == register::DEVICE {
            self.second = value & DEVICE_SELECT != 0;
        }
    }

    /// Reads the data register: the next word of a block that goes to the host.
    pub fn read_data(&mut self, board: &mut impl Board, disks: &mut impl Disks) -> u16 {
        self.wake(board);
        match self.selected() {
            Some(drive) => drive.read_word(board.now_ns(), disks),
            None => 0,
        }
    }

    /// Writes the data register: the next word of a block that comes from the host.
    pub fn write_data(&mut self, value: u16, board: &mut impl Board, disks: &mut impl Disks) {
        self.wake(board);
        if let Some(drive) = self.selected() {
            drive.write_word(value, board.now_ns(), disks);
        }
    }

    /// Reads the data register as often as `bytes` has room for an element of 2 or 4 bytes, or until a read could
    /// be seen in anything but the data: the last of a block is left to [`IdeChannel::read_data`]. Returns how often.
    pub fn read_data_string(&mut self, size: usize, bytes: &mut [u8]) -> u32 {
        self.selected().map_or(0, |drive| drive.read_string(size, bytes))
    }

    /// Writes the data register, as [`IdeChannel::read_data_string`] reads it.
    pub fn write_data_string(&mut self, size: usize, bytes: &[u8]) -> u32 {
        self.selected().map_or(0, |drive| drive.write_string(size, bytes))
    }

    /// Reads the alternate status register, which acknowledges nothing.
    pub fn read_alternate_status(&mut self, board: &mut impl Board) -> u8 {
        self.wake(board);
        self.selected().map_or(0, |drive| drive.status())
    }

    /// Writes the device control register.
    pub fn write_control(&mut self, value: u8, board: &mut impl Board) {
        self.wake(board);
        let (was, is) = (self.control & control::SRST, value & control::SRST);
        self.control = value;
        if was == 0 && is != 0 {
            self.drives.iter_mut().flatten().for_each(Drive::hold_in_reset);
        } else if was != 0 && is == 0 {
            self.second = false;
            self.drives.iter_mut().flatten().for_each(|drive| drive.leave_reset(board.now_ns()));
        }
    }

    /// Level of the channel's interrupt line: the selected drive has something to say.
    pub fn irq(&self) -> bool {
        self.control & control::NIEN == 0
            && self.drives[usize::from(self.second)].as_ref().is_some_and(Drive::interrupts)
    }

    /// Whether the interrupt line may rise by itself.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.drives.iter().flatten().filter_map(Drive::deadline_ns).min()
    }

    /// Ends what has taken its time.
    pub fn wake(&mut self, board: &mut impl Board) {
        let now_ns = board.now_ns();
        self.drives.iter_mut().flatten().for_each(|drive| drive.wake(now_ns));
    }

    /// The RESET pin of the cable.
    pub fn reset(&mut self, board: &mut impl Board) {
        self.control = 0;
        self.second = false;
        self.drives.iter_mut().flatten().for_each(|drive| drive.power_on(board.now_ns()));
    }

    /// Whether a snapshot could hold this as channel `number` with drives of so many sectors, whatever a
    /// file says.
    pub fn fits(&self, number: u8, sectors: [Option<u64>; 2]) -> bool {
        (0..).zip(&self.drives).zip(sectors).all(|((place, drive), sectors)| match (drive, sectors) {
            (Some(drive), Some(sectors)) => drive.fits(2 * number + place, sectors),
            (None, None) => true,
            _ => false,
        })
    }

    fn command(&mut self, opcode: u8, board: &mut impl Board, disks: &mut impl Disks) {
        let now_ns = board.now_ns();
        if opcode == command::EXECUTE_DEVICE_DIAGNOSTIC {
            // The one command that both drives do, and that selects device 0.
            self.second = false;
            let mut first = true;
            for drive in self.drives.iter_mut().flatten() {
                drive.diagnose(now_ns, first);
                first = false;
            }
        } else if let Some(drive) = self.selected() {
            drive.command(opcode, now_ns, disks);
        }
    }

    fn selected(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.second)].as_mut()
    }
}
