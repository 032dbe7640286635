//! A CPU with memory and a recording bus, for tests of what needs no engine.

use memory::{FrameKind, PhysMem};
use x86::PhysAddr;

use crate::{Bus, Cpu, CpuModel, CpuState, IoEffect, IoRead, IoSize, mmu::Projection};

/// What a test lends to its CPU.
pub(crate) struct Fixture {
    pub cpu: Cpu,
    pub mem: PhysMem,
    pub bus: RecordingBus,
    pub projection: Projection,
}

/// A bus that remembers accesses and answers with `answer`.
#[derive(Default)]
pub(crate) struct RecordingBus {
    pub log: Vec<(Access, u64, IoSize, u32)>,
    pub answer: u32,
    pub recompute: bool,
    pub a20_gated: bool,
}

/// The kind of an access to the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    In,
    Out,
    Read,
    Write,
}

impl RecordingBus {
    fn effect(&self) -> IoEffect {
        if self.recompute { IoEffect::Recompute } else { IoEffect::None }
    }

    fn read(&mut self, access: Access, addr: u64, size: IoSize) -> IoRead {
        self.log.push((access, addr, size, 0));
        IoRead { value: self.answer & (u32::MAX >> (32 - 8 * size as u32)), effect: self.effect() }
    }

    fn write(&mut self, access: Access, addr: u64, size: IoSize, value: u32) -> IoEffect {
        self.log.push((access, addr, size, value));
        self.effect()
    }
}

impl Bus for RecordingBus {
    fn port_in(&mut self, _now: u64, port: u16, size: IoSize) -> IoRead {
        self.read(Access::In, port.into(), size)
    }
    fn port_out(&mut self, _now: u64, port: u16, size: IoSize, value: u32) -> IoEffect {
        self.write(Access::Out, port.into(), size, value)
    }
    fn mmio_read(&mut self, _now: u64, addr: PhysAddr, size: IoSize) -> IoRead {
        self.read(Access::Read, addr.0, size)
    }
    fn mmio_write(&mut self, _now: u64, addr: PhysAddr, size: IoSize, value: u32) -> IoEffect {
        self.write(Access::Write, addr.0, size, value)
    }
    fn intr(&self) -> bool {
        false
    }
    fn acknowledge(&mut self, _now: u64) -> u8 {
        0xff
    }
    fn a20_mask(&self) -> u32 {
        if self.a20_gated { 0xffef_ffff } else { !0 }
    }
}

impl Fixture {
    /// Flat 32-bit protected mode without paging; 4 MiB of RAM, a device at 16 MiB.
    pub fn flat() -> Self {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 4 << 20, FrameKind::Ram).unwrap();
        let cpu = Cpu::new(CpuState::multiboot(CpuModel::Max, 0x1000, 0));
        Fixture { cpu, mem, bus: RecordingBus::default(), projection: Projection::default() }
    }

    /// Runs `body` with memory and bus lent to the CPU.
    pub fn run<R>(&mut self, body: impl FnOnce(&mut Cpu) -> R) -> R {
        self.cpu.with_context(&mut self.mem, &mut self.bus, &mut self.projection, &Vec::new(), body)
    }
}
