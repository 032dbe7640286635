//! Steps that an interrupt, a fault or a system call leads out of their context.
//!
//! The user steps a program; the timer ticks, a page is not yet there, or the program calls
//! the kernel. The machine does all that as it would without a debugger, and the step ends
//! when the CPU is back.

use cpu::{CpuState, Gpr};
use inspect::Reader;
use x86::{Eflags, LinearAddr, SegReg, tss};

use super::Stub;
use super::stops::Process;

/// INT 0x80.
const INT_80: [u8; 2] = [0xcd, 0x80];

/// The way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detour {
    /// The CPU that left.
    pub cpu: usize,
    /// Linear address at which it comes back.
    pub back_at: u32,
    /// The address space, the stack and the privilege level in which it does.
    cr3: u32,
    esp: u32,
    cpl: u8,
    /// The instruction that was to be stepped has not been executed yet.
    pub step_again: bool,
    /// The process that executes another program by it: it is back at that one's first instruction.
    pub exec: Option<u32>,
}

impl Detour {
    /// Whether a return to ring 3 in process `pid` is that of a program which has taken the place of the one that was
    /// stepped: it has an address space of its own.
    pub fn is_over_in(&self, cpu: &CpuState, pid: Option<u32>) -> bool {
        self.exec.is_some() && pid == self.exec && cpu.cr3 != self.cr3
    }

    /// Whether the CPU is back.
    pub fn is_over(&self, cpu: &CpuState) -> bool {
        cpu.pc() == self.back_at && cpu.cpl == self.cpl && cpu.cr3 == self.cr3 && cpu.gpr(Gpr::Esp) == self.esp
    }
}

impl Stub<'_> {
    /// Looks at what a single step did. If it entered the kernel through a gate, gives the way back.
    pub(super) fn detour_taken(&self, cpu: usize, before: &CpuState) -> Option<Detour> {
        let after = self.machine.cpu(cpu);
        if self.view.step_kernel || !before.protected() || before.v86() || after.cpl != 0 {
            return None;
        }
        let (frame, has_stack) = match before.cpl {
            0 => (self.interrupt_frame(before, after)?, false),
            _ => (self.stack_top_frame(after)?, true),
        };
        let reader = Reader::new(self.machine.memory(), after.paging());
        let word = |index: u32| reader.u32(LinearAddr(frame.wrapping_add(index * 4)));
        let (eip, cs) = (word(0)?, word(1)?);
        if cs & 0xffff != u32::from(before.seg(SegReg::Cs).selector) {
            return None;
        }
        let esp = if has_stack { word(3)? } else { before.gpr(Gpr::Esp) };
        Some(Detour {
            cpu,
            back_at: before.seg(SegReg::Cs).base.wrapping_add(eip),
            cr3: before.cr3,
            esp,
            cpl: before.cpl,
            step_again: eip == before.eip,
            exec: self.process_that_executes(cpu, before),
        })
    }

    /// The process of a CPU that has called the kernel to execute a program.
    fn process_that_executes(&self, cpu: usize, before: &CpuState) -> Option<u32> {
        let mut code = [0; 2];
        Reader::new(self.machine.memory(), before.paging()).read(LinearAddr(before.pc()), &mut code);
        let is_call = code == INT_80 && before.gpr(Gpr::Eax) == abi::nr::EXECVE;
        is_call.then(|| Process::on(self.machine, self.kernel, cpu).map(|process| process.pid))?
    }

    /// The frame that an external interrupt pushed in the kernel itself: EIP on the top of the
    /// stack is that of the instruction not executed, and the gate has cleared IF.
    fn interrupt_frame(&self, before: &CpuState, after: &CpuState) -> Option<u32> {
        let delivered = before.eflags.contains(Eflags::IF) && !after.eflags.contains(Eflags::IF);
        let esp = after.gpr(Gpr::Esp);
        let pushed = before.gpr(Gpr::Esp).wrapping_sub(esp) == 12;
        let frame = after.seg(SegReg::Ss).base.wrapping_add(esp);
        let eip = Reader::new(self.machine.memory(), after.paging()).u32(LinearAddr(frame))?;
        (delivered && pushed && eip == before.eip).then_some(frame)
    }

    /// The frame of an entry from an outer ring lies at the top of the stack that the TSS names.
    fn stack_top_frame(&self, after: &CpuState) -> Option<u32> {
        let reader = Reader::new(self.machine.memory(), after.paging());
        let top = reader.u32(LinearAddr(after.tr.base.wrapping_add(tss::ESP0)))?;
        Some(after.seg(SegReg::Ss).base.wrapping_add(top).wrapping_sub(20))
    }

    /// Runs on to the way back.
    pub(super) fn begin_detour(&mut self, detour: Detour) {
        self.machine.add_breakpoint(LinearAddr(detour.back_at));
        self.resume.detour = Some(detour);
        self.catch_events();
    }

    /// Takes the mark away, unless gdb has a breakpoint at the same place.
    pub(super) fn end_detour(&mut self) {
        let Some(detour) = self.resume.detour.take() else { return };
        self.release_address(detour.back_at);
        self.catch_events();
    }
}
