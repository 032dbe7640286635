//! What the tests of this crate share: a CPU in flat protected mode, 1 MiB of RAM, a bus with
//! nothing on it, and an assembler.

use iced_x86::code_asm::CodeAssembler;
use memory::{FrameKind, PhysMem};
use x86::PhysAddr;

use crate::{Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, IoEffect, IoRead, IoSize, RunRequest};

/// Xorshift: the same numbers on every host.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below `n`.
    pub(crate) fn pick(&mut self, n: u64) -> u64 {
        (self.next() >> 20) % n
    }
}

/// Where code is put and begins.
pub(crate) const CODE: u32 = 0x1000;
/// Where ESP begins.
pub(crate) const STACK: u32 = 0x8_0000;
/// Bytes of RAM.
pub(crate) const RAM: u32 = 1 << 20;

/// A bus whose interrupt line is set by hand and whose ports remember what was written.
#[derive(Default)]
pub(crate) struct TestBus {
    /// Level of INTR; acknowledging clears it.
    pub intr: Option<u8>,
    /// Port, value and time of every OUT.
    pub out: Vec<(u16, u32, u64)>,
    /// Address, value and time of every write to a device's memory.
    pub mmio: Vec<(u64, u32, u64)>,
    /// What accesses report.
    pub recompute: bool,
    /// Elements that a string instruction moves at once.
    pub at_once: u32,
    /// The interrupt that an OUT raises at once.
    pub raised_by_out: Option<u8>,
}

impl TestBus {
    fn effect(&self) -> IoEffect {
        if self.recompute { IoEffect::Recompute } else { IoEffect::None }
    }
}

impl Bus for TestBus {
    fn port_in(&mut self, _: u64, port: u16, _: IoSize) -> IoRead {
        IoRead { value: port.into(), effect: self.effect() }
    }
    fn port_out(&mut self, now: u64, port: u16, _: IoSize, value: u32) -> IoEffect {
        self.out.push((port, value, now));
        self.intr = self.intr.or(self.raised_by_out);
        if self.raised_by_out.is_some() { IoEffect::Recompute } else { self.effect() }
    }
    fn port_in_string(&mut self, port: u16, size: IoSize, bytes: &mut [u8]) -> u32 {
        let size = size as usize;
        let elements = bytes.chunks_exact_mut(size).take(self.at_once as usize);
        elements.map(|element| element.copy_from_slice(&u32::from(port).to_le_bytes()[..size])).count() as u32
    }
    fn port_out_string(&mut self, port: u16, size: IoSize, bytes: &[u8]) -> u32 {
        let elements = bytes.chunks_exact(size as usize).take(self.at_once as usize);
        let values = elements.map(|bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)));
        let before = self.out.len();
        self.out.extend(values.map(|value| (port, value, 0)));
        (self.out.len() - before) as u32
    }
    fn mmio_read(&mut self, _: u64, addr: PhysAddr, size: IoSize) -> IoRead {
        let value = addr.0 as u32 & (!0 >> (32 - 8 * size as u32));
        IoRead { value, effect: self.effect() }
    }
    fn mmio_write(&mut self, now: u64, addr: PhysAddr, _: IoSize, value: u32) -> IoEffect {
        self.mmio.push((addr.0, value, now));
        self.effect()
    }
    fn intr(&self) -> bool {
        self.intr.is_some()
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        self.intr.take().unwrap_or(0xff)
    }
}

/// CPU, memory, bus and engine.
pub(crate) struct Lab {
    pub cpu: Cpu,
    pub mem: PhysMem,
    pub bus: TestBus,
    pub engine: Engine,
}

impl Lab {
    /// With `code` at [`CODE`].
    pub(crate) fn new(code: &[u8]) -> Self {
        Self::with_config(code, EngineConfig::default())
    }

    /// With an engine that keeps what runs for the first time.
    pub(crate) fn eager(code: &[u8]) -> Self {
        Self::with_config(code, EngineConfig { eager: true, ..EngineConfig::default() })
    }

    /// With an engine that runs by slow functions alone.
    pub(crate) fn single_step(code: &[u8]) -> Self {
        Self::with_config(code, EngineConfig { single_step: true, ..EngineConfig::default() })
    }

    /// With an engine that keeps what runs for the first time, and makes no host code.
    pub(crate) fn interpreted(code: &[u8]) -> Self {
        Self::with_config(code, EngineConfig { eager: true, interpreted: true, ..EngineConfig::default() })
    }

    /// With an engine of this kind.
    pub(crate) fn with_config(code: &[u8], config: EngineConfig) -> Self {
        let mut mem = PhysMem::new().expect("the host has 4 GiB of addresses");
        mem.map(PhysAddr(0), RAM.into(), FrameKind::Ram).expect("the range is whole frames");
        mem.load(PhysAddr(CODE.into()), code);
        let mut state = CpuState::multiboot(CpuModel::Max, CODE, 0);
        state.gpr = [0; 16];
        state.set_gpr(Gpr::Esp, STACK);
        Lab { cpu: Cpu::new(state), mem, bus: TestBus::default(), engine: Engine::new(config) }
    }

    /// With what `write` assembles for [`CODE`].
    pub(crate) fn assembled(write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Self {
        Self::new(&assemble(write))
    }

    /// Runs for `budget` instructions; time is what was retired.
    pub(crate) fn run(&mut self, budget: u64) -> Exit {
        let request =
            RunRequest { budget, now: self.cpu.state.retired, pass_breakpoint: false, ..RunRequest::default() };
        self.engine.run(&mut self.cpu, &mut self.mem, &mut self.bus, request)
    }

    /// Runs for exactly `count` instructions.
    pub(crate) fn retire(&mut self, count: u64) {
        let before = self.cpu.state.retired;
        assert_eq!(self.run(count), Exit::Budget);
        assert_eq!(self.cpu.state.retired - before, count);
    }

    /// A register.
    pub(crate) fn gpr(&self, reg: Gpr) -> u32 {
        self.cpu.state.gpr(reg)
    }

    /// A doubleword of memory.
    pub(crate) fn read_u32(&self, addr: u32) -> u32 {
        self.mem.read_u32(PhysAddr(addr.into()))
    }
}

/// Assembles 32-bit code for [`CODE`].
pub(crate) fn assemble(write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Vec<u8> {
    let mut asm = CodeAssembler::new(32).expect("32 is a bitness");
    write(&mut asm).expect("the test's code is valid");
    asm.assemble(CODE.into()).expect("the test's code can be encoded")
}

/// What random programs are drawn from: reproducible numbers (xorshift64*), many of them at the edges of arithmetic.
pub(crate) struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }

    pub fn pick(&mut self, from: &[u8]) -> u8 {
        from[self.below(from.len() as u32) as usize]
    }

    /// Values that are likely to meet carries, signs and zeroes.
    pub fn value(&mut self) -> u32 {
        match self.below(6) {
            0 => self.below(4),
            1 => !self.below(4),
            2 => 0x7fff_fffe + self.below(4),
            3 => [0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000][self.below(6) as usize],
            _ => self.next(),
        }
    }
}
