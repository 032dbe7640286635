//! Signals.

use alloc::{boxed::Box, sync::Arc, vec};

use crate::sync::SpinLock;

mod deliver;
mod frame;
mod info;
mod send;
mod set;
mod stop;

pub use deliver::{do_signal, fatal_pending, has_work, note_restart, pending};
pub use frame::{rt_sigreturn, sigreturn};
pub use info::{SigInfo, code};
pub use send::{
    force_sig, force_sig_fault, is_handled, send_to_current, send_to_group, send_to_process, send_to_thread,
};
pub use set::{Pending, SigSet, mask};

pub use stop::{has_stopped_jobs, is_orphaned_pgrp};

#[allow(missing_docs, reason = "Linux's names")]
mod numbers {
    pub const SIGHUP: u32 = 1;
    pub const SIGINT: u32 = 2;
    pub const SIGQUIT: u32 = 3;
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGABRT: u32 = 6;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGKILL: u32 = 9;
    pub const SIGSEGV: u32 = 11;
    pub const SIGPIPE: u32 = 13;
    pub const SIGALRM: u32 = 14;
    pub const SIGTERM: u32 = 15;
    pub const SIGCHLD: u32 = 17;
    pub const SIGCONT: u32 = 18;
    pub const SIGSTOP: u32 = 19;
    pub const SIGTSTP: u32 = 20;
    pub const SIGTTIN: u32 = 21;
    pub const SIGTTOU: u32 = 22;
    pub const SIGURG: u32 = 23;
    pub const SIGXCPU: u32 = 24;
    pub const SIGXFSZ: u32 = 25;
    pub const SIGVTALRM: u32 = 26;
    pub const SIGPROF: u32 = 27;
    pub const SIGWINCH: u32 = 28;
    pub const SIGSYS: u32 = 31;
}
pub use numbers::*;

pub use abi::books::NSIG;

/// Handlers of `sigaction` that are no functions.
pub const SIG_DFL: u32 = 0;
/// See [`SIG_DFL`].
pub const SIG_IGN: u32 = 1;

/// Flags of `sigaction`.
pub mod sa {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const NOCLDSTOP: u32 = 1;
    pub const NOCLDWAIT: u32 = 2;
    pub const SIGINFO: u32 = 4;
    pub const RESTORER: u32 = 0x0400_0000;
    pub const ONSTACK: u32 = 0x0800_0000;
    pub const RESTART: u32 = 0x1000_0000;
    pub const NODEFER: u32 = 0x4000_0000;
    pub const RESETHAND: u32 = 0x8000_0000;
}

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
#[repr(C)]
pub struct SigAction {
    pub handler: u32,
    pub flags: u32,
    pub restorer: u32,
    pub mask: SigSet,
}

// The host reads it as this record.
const _: () = assert!(size_of::<SigAction>() == size_of::<abi::books::SigActionRecord>());

/// `sighand_struct`: what a process does with each signal.
///
/// The actions lie on the heap: they take more than a kilobyte, which no kernel stack should hold.
pub struct SigHand(Box<[SigAction]>);

impl Default for SigHand {
    fn default() -> Self {
        SigHand(vec![SigAction::default(); NSIG as usize].into())
    }
}

impl SigHand {
    /// A copy for a process of its own.
    pub fn copy_of(shared: &SpinLock<SigHand>) -> Arc<SpinLock<SigHand>> {
        // Memory is asked for before the lock is taken.
        let mut copy = SigHand::default();
        copy.0.copy_from_slice(&shared.lock().0);
        Arc::new(SpinLock::new(copy))
    }

    /// Where the host reads the actions, by ascending signal.
    pub fn actions(&self) -> *const SigAction {
        self.0.as_ptr()
    }

    /// The action of a signal.
    pub fn get(&self, signal: u32) -> SigAction {
        self.0[signal as usize - 1]
    }

    /// Sets the action of a signal.
    pub fn set(&mut self, signal: u32, action: SigAction) {
        self.0[signal as usize - 1] = action;
    }

    /// For a new program: handlers become the default, what is ignored stays so.
    pub fn flush(&mut self) {
        for action in &mut self.0 {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = SigAction { handler, ..SigAction::default() };
        }
    }

    /// Ignored and caught signals, for `/proc/PID/status`.
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        (1..=NSIG).fold((0, 0), |(ignored, caught), signal| match self.get(signal).handler {
            SIG_DFL => (ignored, caught),
            SIG_IGN => (ignored | mask(signal), caught),
            _ => (ignored, caught | mask(signal)),
        })
    }
}

/// The alternative stack of `sigaltstack`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct AltStack {
    pub sp: u32,
    pub size: u32,
    /// `SS_AUTODISARM` is the only bit kept.
    pub flags: u32,
}

impl AltStack {
    /// Whether `sp` lies on it.
    pub fn contains(&self, sp: u32) -> bool {
        self.flags & SS_AUTODISARM == 0 && sp > self.sp && sp - self.sp <= self.size
    }

    /// `ss_flags` as the program sees them.
    pub fn status(&self, sp: u32) -> u32 {
        if self.size == 0 {
            SS_DISABLE
        } else if self.contains(sp) {
            SS_ONSTACK
        } else {
            0
        }
    }
}

/// Flags of a signal stack.
pub const SS_ONSTACK: u32 = 1;
/// See [`SS_ONSTACK`].
pub const SS_DISABLE: u32 = 2;
/// See [`SS_ONSTACK`].
pub const SS_AUTODISARM: u32 = 1 << 31;

/// The signals of a thread.
#[derive(Default)]
pub struct TaskSignals {
    /// Not delivered now.
    pub blocked: SigSet,
    /// What `sigsuspend` and its kin go back to.
    pub saved: Option<SigSet>,
    /// Sent to this thread.
    pub pending: Pending,
    /// The alternative stack.
    pub altstack: AltStack,
    /// A call ended with a restart code: look at it before ring 3.
    pub restart_noted: bool,
}

/// Signals that end the process by default with `core dumped`, if there were one.
pub fn dumps_core(signal: u32) -> bool {
    const CORE: SigSet = mask(SIGQUIT)
        | mask(SIGILL)
        | mask(SIGTRAP)
        | mask(SIGABRT)
        | mask(SIGBUS)
        | mask(SIGFPE)
        | mask(SIGSEGV)
        | mask(SIGXCPU)
        | mask(SIGXFSZ)
        | mask(SIGSYS);
    CORE & mask(signal) != 0
}

/// Signals that do nothing by default.
pub fn is_ignored_by_default(signal: u32) -> bool {
    (mask(SIGCHLD) | mask(SIGCONT) | mask(SIGURG) | mask(SIGWINCH)) & mask(signal) != 0
}

/// Signals that stop the process by default.
pub const STOP_SIGNALS: SigSet = mask(SIGSTOP) | mask(SIGTSTP) | mask(SIGTTIN) | mask(SIGTTOU);
