//! How commands, traps and processes end.

use std::io::{self, Write};

use pagewalk_programs::sys::{self, Ended};

use super::{Run, Unwind};
use crate::sh::Shell;

impl Shell {
    /// Runs something in a process made for it; the status with which to end.
    pub fn exit_status_of(&mut self, run: impl FnOnce(&mut Self) -> Run) -> i32 {
        let run = run(self);
        let status = self.settle(run);
        self.exit_trap(status)
    }

    /// The status of a run that ends the shell.
    fn settle(&mut self, run: Run) -> i32 {
        match run {
            Ok(()) | Err(Unwind::Break(_) | Unwind::Continue(_) | Unwind::Return) => self.status,
            Err(Unwind::Exit(status)) => status,
            Err(Unwind::Failed(message)) => {
                self.complain(&message);
                crate::sh::SYNTAX_ERROR
            }
        }
    }

    /// Runs the actions of `trap` for signals that have come.
    pub(super) fn run_traps(&mut self) -> Run {
        for signal in sys::take_noted_signals() {
            if let Some(action) = self.traps.get(&signal).cloned() {
                let status = self.status;
                self.run_text(action)?;
                self.status = status;
            }
        }
        Ok(())
    }

    /// Runs the action of `trap … EXIT`, once; the status to exit with.
    pub fn exit_trap(&mut self, status: i32) -> i32 {
        let mut status = status;
        if let Some(action) = self.traps.remove(&0) {
            self.status = status;
            match self.run_text(action) {
                Err(Unwind::Exit(other)) => status = other,
                run => drop(self.settle(run)),
            }
        }
        // A write that fails has said so, or ended the process by its signal.
        let _ = io::stdout().flush();
        status
    }
}

/// Says which signal ended a process, but not for those that everyone expects.
pub fn say_signal(ended: Ended) {
    let Ended::Signaled(signal) = ended else { return };
    let text = match signal {
        libc::SIGINT | libc::SIGPIPE => return,
        libc::SIGSEGV => "Segmentation fault",
        libc::SIGBUS => "Bus error",
        libc::SIGABRT => "Aborted",
        libc::SIGKILL => "Killed",
        libc::SIGILL => "Illegal instruction",
        libc::SIGFPE => "Floating point exception",
        libc::SIGTERM => "Terminated",
        libc::SIGHUP => "Hangup",
        libc::SIGTRAP => "Trace/breakpoint trap",
        other => {
            eprintln!("Signal {other}");
            return;
        }
    };
    eprintln!("{text}");
}
