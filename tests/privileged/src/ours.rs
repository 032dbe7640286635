//! Our processor with the monitor as its ROM, and nothing else around it but what of a local APIC sends interrupts.

use cpu::{Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, IoEffect, IoRead, IoSize, RunRequest};
use memory::{FrameKind, PhysMem};
use x86::{Eflags, PhysAddr};

use super::{
    layout::{APIC, LOW_LEN, LOW_RAM, PHASE_PORT, RAM, RECORDS, apic},
    outcome::Lines,
};

const MIB: u64 = 1 << 20;
/// Instructions after which a case that has not come back is given up; some write over all the arena before they end.
const SILENCE: u64 = 4_000_000;
/// More than the monitor needs between two cases, one at a time.
const MONITOR: u64 = 4_000_000;

/// How a run executes its cases; the monitor always runs as fast as it can.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    Blocks,
    /// By the slow functions.
    Steps,
    /// By the slow functions, with the TLB emptied before the instructions at these EIPs, or all.
    Emptied(Option<&'a [u32]>),
}

/// The ports that the monitor writes to.
#[derive(Default)]
struct Ports {
    output: Vec<u8>,
    /// A case runs, as the monitor told last.
    case: bool,
    /// The monitor has done.
    done: bool,
    /// An NMI was sent.
    nmi: bool,
    /// An interrupt was sent and waits.
    sent: Option<u8>,
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
            (PHASE_PORT, IoSize::Byte) => {
                self.case = value != 0;
                return IoEffect::Recompute;
            }
            (0x8900, IoSize::Byte) => {
                self.done = true;
                return IoEffect::Recompute;
            }
            _ => {}
        }
        IoEffect::None
    }
    fn mmio_read(&mut self, _: u64, _: PhysAddr, _: IoSize) -> IoRead {
        IoRead { value: !0, effect: IoEffect::None }
    }
    fn mmio_write(&mut self, _: u64, addr: PhysAddr, _: IoSize, value: u32) -> IoEffect {
        if addr != PhysAddr((APIC + apic::COMMAND).into()) {
            return IoEffect::None;
        }
        match value & !0xff {
            apic::SEND => self.sent = Some(value as u8),
            apic::SEND_NMI => self.nmi = true,
            _ => {}
        }
        IoEffect::Recompute
    }
    fn intr(&self) -> bool {
        self.sent.is_some()
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        self.sent.take().unwrap_or(0xff)
    }
}

/// Runs the cases of a ROM up to the end or to one that does not come back.
pub fn run(rom: &[u8], model: CpuModel, how: How) -> Lines {
    let mut mem = PhysMem::new().expect("4 GiB of address space");
    mem.map(PhysAddr(0), LOW_RAM.into(), FrameKind::Ram).expect("whole frames");
    mem.map(PhysAddr(MIB), u64::from(RAM) - MIB, FrameKind::Ram).expect("whole frames");
    for (start, image) in [(MIB - LOW_LEN as u64, &rom[rom.len() - LOW_LEN..]), (RECORDS.into(), rom)] {
        mem.map(PhysAddr(start), image.len() as u64, FrameKind::Rom).expect("whole frames");
        mem.load(PhysAddr(start), image);
    }
    let mut cpu = Cpu::new(CpuState::reset(model));
    let mut engine = Engine::default();
    let mut step = Engine::new(EngineConfig { single_step: true, ..EngineConfig::default() });
    let mut ports = Ports::default();
    let mut lines = Lines::default();
    let mut left = SILENCE;
    loop {
        let in_case = ports.case;
        let stepped = in_case && !matches!(how, How::Blocks);
        let budget = match how {
            _ if !in_case => MONITOR,
            How::Emptied(_) => 1,
            _ => SILENCE,
        };
        if let How::Emptied(at) = how
            && stepped
            && at.is_none_or(|at| at.contains(&cpu.state.eip))
        {
            cpu.state.tlb = CpuState::reset(model).tlb;
            step.invalidate();
        }
        let request = RunRequest { budget, now: cpu.state.retired, pass_breakpoint: false, ..RunRequest::default() };
        let running = if stepped { &mut step } else { &mut engine };
        let exit = running.run(&mut cpu, &mut mem, &mut ports, request);
        cpu.state.nmi_pending |= std::mem::take(&mut ports.nmi);
        left = if in_case { left.saturating_sub(budget) } else { SILENCE };
        if stepped && !ports.case {
            // Neither engine sees what the other writes.
            step.invalidate();
            engine.invalidate();
        }
        match exit {
            Exit::TripleFault { .. } => {
                let retired = cpu.state.retired;
                cpu.state = CpuState { retired, ..CpuState::reset(model) };
                (ports.case, ports.sent) = (false, None);
                step.invalidate();
                engine.invalidate();
            }
            Exit::Bus if !ports.done => {}
            // It wakes at once.
            Exit::Halted if ports.sent.is_some() && cpu.state.eflags.contains(Eflags::IF) => {}
            Exit::Budget if matches!(how, How::Emptied(_)) && left > 0 => {}
            _ => {
                lines.take(&ports.output);
                return lines;
            }
        }
    }
}
