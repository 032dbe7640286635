//! Our processor with the monitor as its ROM, and nothing else around it.

use cpu::{Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, IoEffect, IoRead, IoSize, RunRequest};
use memory::{FrameKind, PhysMem};
use x86::PhysAddr;

use super::{
    layout::{LOW_LEN, RAM, RECORDS},
    outcome::Lines,
};

const MIB: u64 = 1 << 20;
/// Instructions after which a case that says nothing is given up.
const SILENCE: u64 = 4_000_000;

/// Port 0xe9, and the port on which the monitor says that it has done.
#[derive(Default)]
struct Ports {
    output: Vec<u8>,
    done: bool,
}

impl Bus for Ports {
    fn port_in(&mut self, _: u64, port: u16, _: IoSize) -> IoRead {
        // As Bochs' port_e9_hack does.
        let value = if port == 0xe9 { 0xe9 } else { !0 };
        IoRead { value, effect: IoEffect::None }
    }
    fn port_out(&mut self, _: u64, port: u16, size: IoSize, value: u32) -> IoEffect {
        match (port, size) {
            (0xe9, IoSize::Byte) => self.output.push(value as u8),
            (0x8900, IoSize::Byte) => self.done = true,
            _ => {}
        }
        if self.done { IoEffect::Recompute } else { IoEffect::None }
    }
    fn mmio_read(&mut self, _: u64, _: PhysAddr, _: IoSize) -> IoRead {
        IoRead { value: !0, effect: IoEffect::None }
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

/// Runs the cases of a ROM up to the end or to one that says nothing any more.
pub fn run(rom: &[u8], model: CpuModel, single_step: bool) -> Lines {
    let mut mem = PhysMem::new().expect("4 GiB of address space");
    mem.map(PhysAddr(0), 0xa_0000, FrameKind::Ram).expect("whole frames");
    mem.map(PhysAddr(MIB), u64::from(RAM) - MIB, FrameKind::Ram).expect("whole frames");
    for (start, image) in [(MIB - LOW_LEN as u64, &rom[rom.len() - LOW_LEN..]), (RECORDS.into(), rom)] {
        mem.map(PhysAddr(start), image.len() as u64, FrameKind::Rom).expect("whole frames");
        mem.load(PhysAddr(start), image);
    }
    let mut cpu = Cpu::new(CpuState::reset(model));
    let mut engine = Engine::new(EngineConfig { single_step, ..EngineConfig::default() });
    let mut ports = Ports::default();
    let mut lines = Lines::default();
    let mut silent = false;
    loop {
        let now = cpu.state.retired;
        let exit =
            engine.run(&mut cpu, &mut mem, &mut ports, RunRequest { budget: SILENCE, now, pass_breakpoint: false });
        if ports.done {
            lines.take(&ports.output);
            return lines;
        }
        match exit {
            Exit::TripleFault { .. } => {
                let retired = cpu.state.retired;
                cpu.state = CpuState { retired, ..CpuState::reset(model) };
                engine.invalidate();
            }
            Exit::Budget if !ports.output.is_empty() => {}
            Exit::Budget if !silent => {}
            _ => return lines,
        }
        silent = ports.output.is_empty();
        lines.take(&ports.output);
        ports.output.clear();
    }
}
