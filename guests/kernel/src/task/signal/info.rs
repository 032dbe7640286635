//! `siginfo`.

use abi::{
    errno::{EINVAL, Result},
    wire::{record, u32_at},
};

use super::{NSIG, SIGCHLD};
use crate::task::{TaskStruct, current, task_struct::CpuTime};

/// Where a signal came from.
#[allow(missing_docs, reason = "Linux's names")]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// A signal with what is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SigInfo {
    /// The signal's number.
    pub signo: u32,
    /// Where it came from.
    pub code: i32,
    /// `_sifields`, whose meaning depends on the above.
    pub fields: [u32; 5],
}

/// Bytes of a `siginfo`.
pub const SIGINFO_SIZE: usize = 128;

impl SigInfo {
    /// Sent by the kernel.
    pub fn kernel(signo: u32) -> Self {
        SigInfo { signo, code: code::SI_KERNEL, ..Self::default() }
    }

    /// Sent by the running task.
    pub fn user(signo: u32, code: i32) -> Self {
        let task = current();
        let uid = task.cred.lock().uid;
        SigInfo { signo, code, fields: [task.tgid(), uid, 0, 0, 0] }
    }

    /// An exception at `addr`.
    pub fn fault(signo: u32, code: u32, addr: u32) -> Self {
        SigInfo { signo, code: code as i32, fields: [addr, 0, 0, 0, 0] }
    }

    /// What a child did.
    pub fn child(child: &TaskStruct, code: i32, status: u32, time: CpuTime) -> Self {
        let ticks = |ns: u64| abi::proc::clock_ticks(ns) as u32;
        let uid = child.cred.lock().uid;
        let fields = [child.pid(), uid, status, ticks(time.user_ns), ticks(time.system_ns)];
        SigInfo { signo: SIGCHLD, code, fields }
    }

    /// As the program sees it.
    pub fn to_bytes(self) -> [u8; SIGINFO_SIZE] {
        record(|w| {
            w.u32(self.signo).u32(0).u32(self.code as u32);
            for field in self.fields {
                w.u32(field);
            }
        })
    }

    /// From a program (`rt_sigqueueinfo`).
    pub fn from_bytes(signo: u32, bytes: &[u8; SIGINFO_SIZE]) -> Result<Self> {
        if signo > NSIG {
            return Err(EINVAL);
        }
        let fields = [12, 16, 20, 24, 28].map(|at| u32_at(bytes, at));
        Ok(SigInfo { signo, code: u32_at(bytes, 8) as i32, fields })
    }

    /// It was sent by a process, or by the kernel on its own account.
    pub fn is_from_user(&self) -> bool {
        self.code <= 0
    }
}
