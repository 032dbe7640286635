use x86::PhysAddr;

use crate::coherence::Flush;

/// Width of an access to a port or to a device's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum IoSize {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Dword = 4,
}

/// Whether an access may have changed what the machine must look at before the next
/// instruction: interrupt lines, deadlines, the end of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum IoEffect {
    /// Nothing that matters: the block goes on.
    None,
    /// The engine returns [`crate::Exit::Bus`] after this instruction.
    Recompute,
}

/// A value read, zero-extended, and its effect.
#[derive(Clone, Copy, Debug)]
pub struct IoRead {
    /// The value; bits above the size are 0.
    pub value: u32,
    /// See [`IoEffect`].
    pub effect: IoEffect,
}

/// What a CPU sees of the machine around it. `now` is the virtual time in nanoseconds,
/// which is the count of retired instructions plus skipped time, at the instruction.
pub trait Bus {
    /// IN. A port without a device reads all ones.
    fn port_in(&mut self, now: u64, port: u16, size: IoSize) -> IoRead;
    /// OUT.
    fn port_out(&mut self, now: u64, port: u16, size: IoSize, value: u32) -> IoEffect;
    /// As many IN of `size` into `bytes`, one behind the other, as the device can do at once: no more than would
    /// each have given [`IoEffect::None`], whatever the time. Returns how many; 0 where each must be done by itself.
    fn port_in_string(&mut self, _port: u16, _size: IoSize, _bytes: &mut [u8]) -> u32 {
        0
    }
    /// As many OUT of `size` from `bytes`, as [`Bus::port_in_string`].
    fn port_out_string(&mut self, _port: u16, _size: IoSize, _bytes: &[u8]) -> u32 {
        0
    }
    /// A read of a frame of kind [`memory::FrameKind::Bus`]; never crosses a doubleword.
    fn mmio_read(&mut self, now: u64, addr: PhysAddr, size: IoSize) -> IoRead;
    /// A write to a frame of kind [`memory::FrameKind::Bus`]; never crosses a doubleword.
    fn mmio_write(&mut self, now: u64, addr: PhysAddr, size: IoSize, value: u32) -> IoEffect;
    /// The level of this CPU's INTR line.
    fn intr(&self) -> bool;
    /// The interrupt-acknowledge cycle: the vector. Called only when [`Bus::intr`] is high and
    /// the CPU takes the interrupt.
    fn acknowledge(&mut self, now: u64) -> u8;
    /// FERR#, the pin by which the CPU tells of an x87 exception while CR0.NE is clear: whether it is
    /// asserted now. Returns whether the board asserts IGNNE#, so that the CPU goes on regardless
    /// (SDM Vol. 1, "MS-DOS Compatibility Sub-mode").
    fn numeric_error(&mut self, _asserted: bool) -> bool {
        false
    }
    /// Translations of this CPU were removed by an act of the guest's: for whoever follows them. Nothing in the
    /// machine may depend on it.
    fn flushed(&mut self, _now: u64, _flush: Flush) {}
    /// Address line 20 as the board drives it: `0xffff_ffff`, or `0xffef_ffff` when gated.
    fn a20_mask(&self) -> u32 {
        !0
    }
}

/// The bus of a machine without devices: reads give all ones, and nothing ever interrupts.
impl Bus for () {
    fn port_in(&mut self, _: u64, _: u16, size: IoSize) -> IoRead {
        IoRead { value: !0 >> (32 - 8 * size as u32), effect: IoEffect::None }
    }
    fn port_out(&mut self, _: u64, _: u16, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn mmio_read(&mut self, _: u64, _: PhysAddr, size: IoSize) -> IoRead {
        IoRead { value: !0 >> (32 - 8 * size as u32), effect: IoEffect::None }
    }
    fn mmio_write(&mut self, _: u64, _: PhysAddr, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn intr(&self) -> bool {
        false
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        0xff
    }
}
