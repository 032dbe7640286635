//! Running ahead, before gdb comes: up to the first instruction of the program that is debugged.

use machine::{RunLimit, Stop};
use x86::LinearAddr;

use super::Stub;
use crate::server::{Ahead, Verdict};

/// The kernel's last function before it returns to a program.
const WAY_OUT: &str = "exit_to_user_mode";
/// Instructions between two looks at what else there is to do.
const SLICE: u64 = 1 << 20;

impl Stub<'_> {
    /// Runs until a process that executes the program is about to do so.
    pub fn run_to_program(&mut self) -> Ahead {
        let Some(way_out) = self.kernel.symbols().named(WAY_OUT).map(|found| found.addr) else {
            return Ahead::NotFound;
        };
        self.machine.add_breakpoint(LinearAddr(way_out));
        let came = self.run_to_return(way_out);
        self.machine.remove_breakpoint(LinearAddr(way_out));
        match came {
            Ok(cpu) => self.step_out(cpu),
            Err(status) => Ahead::Ended(status),
        }
    }

    /// To the kernel's return to the program, on the CPU that is given; or to the machine's end.
    fn run_to_return(&mut self, way_out: u32) -> Result<usize, u8> {
        let mut pass_breakpoint = false;
        loop {
            let limit = RunLimit { retired: Some(self.ahead_end()), pass_breakpoint };
            let stop = self.machine.run(limit, self.keeper.host());
            pass_breakpoint = matches!(stop, Stop::Breakpoint { .. });
            let cpu = self.machine.current_cpu();
            match stop {
                Stop::Breakpoint { .. } if self.machine.cpu(cpu).pc() != way_out => {}
                Stop::Breakpoint { .. } if self.runs_program(cpu) => return Ok(cpu),
                Stop::Breakpoint { .. } => {}
                stop => self.attend(stop)?,
            }
        }
    }

    /// Out of the kernel, into the program.
    fn step_out(&mut self, cpu: usize) -> Ahead {
        loop {
            let limit = RunLimit { retired: Some(self.ahead_end()), pass_breakpoint: true };
            let stop = self.machine.step_cpu(cpu, limit, self.keeper.host());
            if let Err(status) = self.attend(stop) {
                return Ahead::Ended(status);
            }
            if self.machine.cpu(cpu).cpl == 3 && self.runs_program(cpu) {
                let here = self.machine.cpu(cpu).pc();
                return Ahead::AtProgram { entry: self.program_entry().filter(|&entry| entry != here) };
            }
        }
    }

    fn attend(&mut self, stop: Stop) -> Result<(), u8> {
        if stop == Stop::Limit && self.keeper.limit().is_none_or(|limit| self.machine.retired() < limit) {
            return Ok(());
        }
        match self.keeper.stopped(self.machine, stop) {
            Verdict::GoOn => Ok(()),
            Verdict::End(status) => Err(status),
        }
    }

    fn ahead_end(&self) -> u64 {
        let end = self.machine.retired() + SLICE;
        self.keeper.limit().map_or(end, |limit| end.min(limit))
    }

    fn runs_program(&self, cpu: usize) -> bool {
        self.setup
            .program
            .as_ref()
            .is_some_and(|program| self.process_on(cpu).is_some_and(|(_, path)| path == *program))
    }

    /// Where the program itself begins, behind its dynamic linker: `AT_ENTRY`.
    fn program_entry(&self) -> Option<u32> {
        const AT_ENTRY: u32 = 9;
        let auxv = inspect::process_file(&self.target(), self.viewed_process()?, "auxv").ok()??;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        auxv.chunks_exact(8).find(|pair| word(pair) == AT_ENTRY).map(|pair| word(&pair[4..]))
    }
}
