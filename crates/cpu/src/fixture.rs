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
        self.cpu.with_context(
            &mut self.mem,
            &mut self.bus,
            std::slice::from_mut(&mut self.projection),
            0,
            &mut crate::stops::Stops::default(),
            body,
        )
    }
}

/// Selectors of [`Fixture::ringed`]'s GDT.
pub(crate) mod selectors {
    pub(crate) const CODE0: u16 = 0x08;
    pub(crate) const DATA0: u16 = 0x10;
    pub(crate) const CODE3: u16 = 0x1b;
    pub(crate) const DATA3: u16 = 0x23;
    pub(crate) const TSS: u16 = 0x28;
    /// Free for the test's own descriptors, up to 0x78.
    pub(crate) const FREE: u16 = 0x30;
}

/// Where [`Fixture::ringed`] puts things.
pub(crate) mod places {
    pub(crate) const GDT: u32 = 0x2000;
    pub(crate) const IDT: u32 = 0x3000;
    pub(crate) const TSS: u32 = 0x4000;
    /// ESP of the TSS for level 0.
    pub(crate) const STACK0: u32 = 0x9000;
    /// ESP at the start.
    pub(crate) const STACK: u32 = 0x8000;
}

impl Fixture {
    /// Flat protected mode with rings, a TSS, a GDT of 16 entries and an empty IDT of 256.
    pub fn ringed() -> Self {
        let mut f = Self::flat();
        for (index, descriptor) in [
            (1, 0x00cf_9b00_0000_ffff),
            (2, 0x00cf_9300_0000_ffff),
            (3, 0x00cf_fb00_0000_ffff),
            (4, 0x00cf_f300_0000_ffff),
            (5, 0x0000_8b00_4000_0067),
        ] {
            f.set_descriptor(index * 8, descriptor);
        }
        f.mem.write_u32(PhysAddr((places::TSS + 4).into()), places::STACK0);
        f.mem.write_u32(PhysAddr((places::TSS + 8).into()), selectors::DATA0.into());
        let state = &mut f.cpu.state;
        state.gdtr = crate::TableRegister { base: places::GDT, limit: 0x7f };
        state.idtr = crate::TableRegister { base: places::IDT, limit: 0x7ff };
        state.tr = crate::SegmentRegister { base: places::TSS, limit: 0x67, rights: 0x8b, selector: selectors::TSS };
        state.set_gpr(crate::Gpr::Esp, places::STACK);
        state.eip = 0x1000;
        f
    }

    /// The same at CPL 3.
    pub fn user() -> Self {
        let mut f = Self::ringed();
        let state = &mut f.cpu.state;
        for seg in &mut state.seg {
            seg.rights |= 0x60;
            seg.selector = selectors::DATA3;
        }
        state.seg[x86::SegReg::Cs as usize].selector = selectors::CODE3;
        state.cpl = 3;
        f
    }

    /// Puts a descriptor at this offset of the GDT.
    pub fn set_descriptor(&mut self, offset: u16, descriptor: u64) {
        self.mem.write(PhysAddr(u64::from(places::GDT) + u64::from(offset)), &descriptor.to_le_bytes());
    }

    /// Puts a gate into the IDT; `access` is byte 5.
    pub fn set_gate(&mut self, vector: u8, selector: u16, offset: u32, access: u8) {
        let gate = x86::Descriptor::gate(selector, offset, access);
        self.mem.write(PhysAddr(u64::from(places::IDT) + u64::from(vector) * 8), &gate.0.to_le_bytes());
    }

    /// Executes one instruction by its slow function; EIP moves as the engine would move it.
    pub fn exec(&mut self, code: &[u8]) -> Result<crate::slow::Flow, crate::Exception> {
        use crate::slow::Flow;
        let bits = if self.cpu.state.seg(x86::SegReg::Cs).big() { 32 } else { 16 };
        let mut insn = crate::decode::decoder(bits, code, self.cpu.state.eip).decode();
        assert_eq!(insn.len(), code.len(), "{insn} is one instruction");
        crate::decode::recognise(&mut insn, self.cpu.state.model);
        let function = crate::slow::of(&insn);
        let flow = self.run(|cpu| function(cpu, &insn))?;
        if matches!(flow, Flow::Next | Flow::Leave | Flow::Exit(_)) {
            self.cpu.state.eip += insn.len() as u32;
        }
        Ok(flow)
    }

    /// `count` doublewords from `addr`.
    pub fn words(&self, addr: u32, count: u32) -> Vec<u32> {
        (0..count).map(|i| self.mem.read_u32(PhysAddr((addr + 4 * i).into()))).collect()
    }
}
