//! The board's wires, as the processor sees them.

#[cfg(test)]
mod tests;

use cpu::{Bus, IoEffect, IoRead, IoSize, coherence::Flush};
use devices::{Board, IdeChannel, Outlet, TestDevice};
use x86::PhysAddr;

use crate::{
    board::{BoardView, Signals},
    chipset::{Chipset, Taken},
    config::MachineConfig,
    disk::DiskBank,
    interrupts::IOAPIC_BASE,
    resource::{DeviceId, PortMap},
    stats::MachineStats,
    timeline::{Fact, Timeline},
};

/// What a port without a device reads: nothing drives the wires.
const FLOATING: u8 = 0xff;
const A20_OPEN: u32 = !0;
const A20_GATED: u32 = !(1 << 20);

/// The offset of `addr` in the I/O APIC's page.
fn ioapic_offset(addr: PhysAddr) -> Option<u32> {
    (addr.0 & !0xfff == IOAPIC_BASE).then_some(addr.0 as u32 & 0xfff)
}

/// Whether a read changes more than what the next read gives: interrupt lines or deadlines.
fn reading_moves_outputs(device: DeviceId) -> bool {
    matches!(
        device,
        DeviceId::Pic1
            | DeviceId::Pic2
            | DeviceId::KeyboardData
            | DeviceId::Rtc
            | DeviceId::Serial(_)
            | DeviceId::Ide(_)
            | DeviceId::IdeControl(_)
    )
}

/// The bus of one entry into the engine, built from disjoint parts of the machine.
pub(crate) struct MachineBus<'a> {
    /// The CPU that runs.
    pub cpu: usize,
    /// The level of its INTR line.
    pub intr: bool,
    pub chipset: &'a mut Chipset,
    pub disks: &'a mut DiskBank,
    pub signals: &'a mut Signals,
    pub ports: &'a PortMap,
    pub config: &'a MachineConfig,
    pub stats: &'a mut MachineStats,
    pub timeline: &'a mut Timeline,
    /// When the run loop looks at the chips at the latest.
    pub scheduled_ns: u64,
    /// Set by whatever may move the deadline of a chip other than the local APICs, or its interrupt line.
    pub stirred: bool,
}

impl Bus for MachineBus<'_> {
    fn port_in(&mut self, now: u64, port: u16, size: IoSize) -> IoRead {
        self.stats.port_reads += 1;
        self.stirred = true;
        if let Some((DeviceId::Ide(number), 0)) = self.ports.find(port) {
            return self.read_disk_data(now, number, size);
        }
        let before = self.outputs();
        let mut value = 0;
        let mut moved = false;
        for byte in (0..size as u16).rev() {
            let port = port.wrapping_add(byte);
            value = value << 8 | u32::from(self.read_byte(now, port, size));
            moved |= self.ports.find(port).is_some_and(|(device, _)| reading_moves_outputs(device));
        }
        IoRead { value, effect: if moved { self.effect(before) } else { IoEffect::None } }
    }

    fn port_out(&mut self, now: u64, port: u16, size: IoSize, value: u32) -> IoEffect {
        self.stats.port_writes += 1;
        self.stirred = true;
        if let Some((DeviceId::Ide(number), 0)) = self.ports.find(port) {
            return self.write_disk_data(now, number, size, value);
        }
        let before = self.outputs();
        if let Some((DeviceId::DebugExit, 0)) = self.ports.find(port) {
            // Takes the access whole, whatever its width.
            let bits = 8 * size as u32;
            let value = value & (u32::MAX >> (32 - bits));
            self.chipset.debug_exit.write(value, &mut BoardView { now_ns: now, signals: self.signals });
        } else if let (Some((DeviceId::FwCfg, 0)), IoSize::Word) = (self.ports.find(port), size) {
            self.chipset.fw_cfg.select(value as u16);
        } else {
            for (byte, value) in (0..size as u16).zip(value.to_le_bytes()) {
                self.write_byte(now, port.wrapping_add(byte), size, value);
            }
        }
        self.effect(before)
    }

    fn port_in_string(&mut self, port: u16, size: IoSize, bytes: &mut [u8]) -> u32 {
        let Some(channel) = self.disk_data(port) else { return 0 };
        let done = channel.read_data_string(size as usize, bytes);
        self.stats.port_reads += u64::from(done);
        done
    }

    fn port_out_string(&mut self, port: u16, size: IoSize, bytes: &[u8]) -> u32 {
        let Some(channel) = self.disk_data(port) else { return 0 };
        let done = channel.write_data_string(size as usize, bytes);
        self.stats.port_writes += u64::from(done);
        done
    }

    fn mmio_read(&mut self, now: u64, addr: PhysAddr, size: IoSize) -> IoRead {
        self.stats.mmio_accesses += 1;
        let mask = u32::MAX >> (32 - 8 * size as u32);
        let apics = &mut self.chipset.apics;
        let value = if let Some(offset) = apics.lapic_offset(self.cpu, addr.0) {
            apics.lapics[self.cpu].read(offset & !3, &BoardView { now_ns: now, signals: self.signals })
        } else if let Some(offset) = ioapic_offset(addr) {
            apics.ioapic.read(offset & !3)
        } else {
            log::debug!("read of {size:?} at {addr:?}: nothing is there");
            u32::MAX
        };
        IoRead { value: value >> (8 * (addr.0 & 3)) & mask, effect: IoEffect::None }
    }

    fn mmio_write(&mut self, now: u64, addr: PhysAddr, size: IoSize, value: u32) -> IoEffect {
        self.stats.mmio_accesses += 1;
        let before = self.outputs();
        let apics = &mut self.chipset.apics;
        let lapic = apics.lapic_offset(self.cpu, addr.0);
        if size != IoSize::Dword && (lapic.is_some() || ioapic_offset(addr).is_some()) {
            // UNDEFINED: their registers are written whole (SDM Vol. 3A, "The Local APIC Block Diagram").
            log::debug!("write of {value:#x} ({size:?}) at {addr:?}: an APIC's register takes 32 bits");
            return IoEffect::None;
        }
        if let Some(offset) = lapic {
            let fact =
                apics.write_lapic(self.cpu, offset, value, &mut BoardView { now_ns: now, signals: self.signals });
            if let Some(fact) = fact {
                self.timeline.note(now, self.cpu, fact);
            }
            return self.effect_on_apics();
        } else if let Some(offset) = ioapic_offset(addr) {
            apics.write_ioapic(offset, value);
            self.stirred = true;
        } else {
            log::debug!("write of {value:#x} ({size:?}) at {addr:?}: nothing is there");
            return IoEffect::None;
        }
        self.effect(before)
    }

    fn intr(&self) -> bool {
        self.intr
    }

    fn acknowledge(&mut self, now: u64) -> u8 {
        let Taken { vector, is_local } = self.chipset.acknowledge(self.cpu);
        self.stirred |= !is_local;
        self.timeline.note(now, self.cpu, Fact::Taken { vector, is_local });
        self.stats.note_interrupt(self.cpu, vector);
        self.look_at_intr();
        vector
    }

    fn flushed(&mut self, now: u64, flush: Flush) {
        self.timeline.note(now, self.cpu, Fact::Flushed(flush));
    }

    fn numeric_error(&mut self, asserted: bool) -> bool {
        self.stirred = true;
        let ignored = self.chipset.fpu_port.set_error(asserted);
        self.chipset.drive_irqs();
        self.look_at_intr();
        ignored
    }

    fn a20_mask(&self) -> u32 {
        if self.chipset.a20() { A20_OPEN } else { A20_GATED }
    }
}

impl MachineBus<'_> {
    /// What the processor and the run loop see of the chips without an access.
    fn outputs(&self) -> (bool, bool) {
        (self.intr, self.chipset.a20())
    }

    fn look_at_intr(&mut self) {
        self.intr = self.chipset.apics.intr(self.cpu);
    }

    /// As [`MachineBus::effect`], of a write to the CPU's local APIC: other chips hear of nothing but the end of
    /// a level-triggered interrupt.
    fn effect_on_apics(&mut self) -> IoEffect {
        let before = self.intr;
        let apics = &mut self.chipset.apics;
        apics.drive(self.chipset.pic.intr());
        self.intr = apics.intr(self.cpu);
        let sooner = apics.deadline_ns().is_some_and(|deadline| deadline < self.scheduled_ns);
        let recompute = self.intr != before || sooner || apics.has_signals();
        if recompute { IoEffect::Recompute } else { IoEffect::None }
    }

    /// Lets the interrupt lines follow the access, and says whether the run loop must look.
    fn effect(&mut self, before: (bool, bool)) -> IoEffect {
        self.chipset.drive_irqs();
        self.look_at_intr();
        let sooner = self.chipset.deadline_ns().is_some_and(|deadline| deadline < self.scheduled_ns);
        let demanded = self.chipset.demanded_input(self.config).is_some();
        let driven = self.chipset.apics.has_signals();
        if self.outputs() != before || sooner || demanded || driven || self.signals.pressing() {
            IoEffect::Recompute
        } else {
            IoEffect::None
        }
    }

    /// The channel whose data register is at `port`.
    fn disk_data(&mut self, port: u16) -> Option<&mut IdeChannel> {
        match self.ports.find(port)? {
            (DeviceId::Ide(number), 0) => self.chipset.ide[usize::from(number)].as_mut(),
            _ => None,
        }
    }

    /// The data register is read in words, whatever the width of the access: a byte is the low
    /// half of one, four bytes are two.
    fn read_disk_data(&mut self, now_ns: u64, number: u8, size: IoSize) -> IoRead {
        let before = self.outputs();
        let board = &mut BoardView { now_ns, signals: self.signals };
        let Some(channel) = &mut self.chipset.ide[usize::from(number)] else {
            return IoRead { value: u32::MAX >> (32 - 8 * size as u32), effect: IoEffect::None };
        };
        let was_due = channel.deadline_ns();
        let mut word = || u32::from(channel.read_data(board, self.disks));
        let value = match size {
            IoSize::Byte => word() & 0xff,
            IoSize::Word => word(),
            IoSize::Dword => word() | word() << 16,
        };
        let moved = channel.deadline_ns() != was_due;
        IoRead { value, effect: if moved { self.effect(before) } else { IoEffect::None } }
    }

    fn write_disk_data(&mut self, now_ns: u64, number: u8, size: IoSize, value: u32) -> IoEffect {
        let before = self.outputs();
        let board = &mut BoardView { now_ns, signals: self.signals };
        let Some(channel) = &mut self.chipset.ide[usize::from(number)] else { return IoEffect::None };
        let was_due = channel.deadline_ns();
        channel.write_data(value as u16, board, self.disks);
        if size == IoSize::Dword {
            channel.write_data((value >> 16) as u16, board, self.disks);
        }
        if channel.deadline_ns() != was_due { self.effect(before) } else { IoEffect::None }
    }

    fn read_byte(&mut self, now_ns: u64, port: u16, size: IoSize) -> u8 {
        let Some((device, offset)) = self.ports.find(port) else {
            log::debug!("read of port {port:#06x}: nothing is there");
            return FLOATING;
        };
        let board = &mut BoardView { now_ns, signals: self.signals };
        let chips = &mut *self.chipset;
        match device {
            DeviceId::Pic1 => chips.pic.read_master(offset),
            DeviceId::Pic2 => chips.pic.read_slave(offset),
            DeviceId::EdgeLevel => chips.pic.read_elcr(offset),
            DeviceId::Pit => chips.pit.read(offset, board),
            DeviceId::KeyboardData => chips.i8042.read(0),
            DeviceId::KeyboardStatus => chips.i8042.read(4),
            DeviceId::Port61 => chips.port61.read(&mut chips.pit, board),
            DeviceId::Rtc => chips.rtc.read(offset, board),
            DeviceId::PageRegisters => chips.page_latches.read(offset),
            DeviceId::Port92 => chips.port92.read(),
            DeviceId::DebugPort => chips.debug_port.read(),
            DeviceId::Fpu => chips.fpu_port.read(),
            DeviceId::DebugExit => chips.debug_exit.read(),
            DeviceId::ResetControl if size == IoSize::Byte => chips.reset_control.read(),
            DeviceId::ResetControl => FLOATING,
            DeviceId::Serial(number) => match &mut chips.serial[usize::from(number)] {
                Some(uart) => uart.read(offset, board),
                None => FLOATING,
            },
            DeviceId::Ide(number) => match &mut chips.ide[usize::from(number)] {
                Some(channel) => channel.read(offset, board),
                None => FLOATING,
            },
            DeviceId::IdeControl(number) => match &mut chips.ide[usize::from(number)] {
                Some(channel) => channel.read_alternate_status(board),
                None => FLOATING,
            },
            DeviceId::AcpiPm => chips.acpi_pm.read(offset, board),
            DeviceId::AcpiCommand => chips.acpi_pm.read_command(offset),
            DeviceId::FwCfg => chips.fw_cfg.read(),
            DeviceId::Vga => chips.vga.read(offset, board),
            DeviceId::TestLatch => chips.test_device.as_ref().map_or(FLOATING, |device| device.read(offset)),
            DeviceId::TestByte => chips.test_device.as_ref().map_or(FLOATING, TestDevice::read_byte),
            DeviceId::TestFlush | DeviceId::TestLines => FLOATING,
        }
    }

    fn write_byte(&mut self, now_ns: u64, port: u16, size: IoSize, value: u8) {
        let board = &mut BoardView { now_ns, signals: self.signals };
        if self.config.post_port == Some(port) {
            board.emit(Outlet::Post, value);
        }
        let Some((device, offset)) = self.ports.find(port) else {
            log::debug!("write of {value:#04x} to port {port:#06x}: nothing is there");
            return;
        };
        let chips = &mut *self.chipset;
        match device {
            DeviceId::Pic1 => chips.pic.write_master(offset, value),
            DeviceId::Pic2 => chips.pic.write_slave(offset, value),
            DeviceId::EdgeLevel => chips.pic.write_elcr(offset, value),
            DeviceId::Pit => chips.pit.write(offset, value, board),
            DeviceId::KeyboardData => chips.i8042.write(0, value, board),
            DeviceId::KeyboardStatus => chips.i8042.write(4, value, board),
            DeviceId::Port61 => chips.port61.write(value, &mut chips.pit, board),
            DeviceId::Rtc => chips.rtc.write(offset, value, board),
            DeviceId::PageRegisters => chips.page_latches.write(offset, value),
            DeviceId::Port92 => chips.port92.write(value, board),
            DeviceId::DebugPort => chips.debug_port.write(value, board),
            DeviceId::Fpu => chips.fpu_port.write(offset),
            // A wider access that only ends here: the bytes before it were for another device.
            DeviceId::DebugExit => {}
            DeviceId::ResetControl => {
                if size == IoSize::Byte {
                    chips.reset_control.write(value, board);
                }
            }
            DeviceId::Serial(number) => {
                if let Some(uart) = &mut chips.serial[usize::from(number)] {
                    uart.write(offset, value, board);
                }
            }
            DeviceId::Ide(number) => {
                if let Some(channel) = &mut chips.ide[usize::from(number)] {
                    channel.write(offset, value, board, self.disks);
                }
            }
            DeviceId::IdeControl(number) => {
                if let Some(channel) = &mut chips.ide[usize::from(number)] {
                    channel.write_control(value, board);
                }
            }
            DeviceId::AcpiPm => chips.acpi_pm.write(offset, value, board),
            DeviceId::AcpiCommand => chips.acpi_pm.write_command(offset, value),
            // Only a word selects, which `port_out` takes whole.
            DeviceId::FwCfg => {}
            DeviceId::Vga => chips.vga.write(offset, value),
            DeviceId::TestLatch | DeviceId::TestByte | DeviceId::TestLines => {
                let Some(test) = &mut chips.test_device else { return };
                match device {
                    DeviceId::TestLatch => test.write(offset, value),
                    DeviceId::TestByte => test.write_byte(value),
                    _ => test.write_line(offset, value),
                }
            }
            // QEMU drops what it has translated of a page; here that follows memory by itself.
            DeviceId::TestFlush => {}
        }
    }
}
