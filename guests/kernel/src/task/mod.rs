//! Tasks.

pub mod sched;
pub mod signal;

/// The running thread, for the kernel's messages.
pub fn pid_and_comm() -> (u32, &'static str) {
    (0, "swapper")
}

/// The end of the boot: runs the first program. Never returns.
pub fn start_init() -> ! {
    crate::lib::panic::end(format_args!(
        "No working init found.  Try passing init= option to kernel. See Linux Documentation/admin-guide/init.rst for guidance."
    ))
}

/// The address space of the running thread, unless it is a kernel thread.
pub fn current_mm() -> Option<&'static crate::mm::MmStruct> {
    None
}

/// Counts a page fault that the running thread took.
pub fn account_fault(_major: bool) {}

/// The running thread's soft limit of a resource.
pub fn rlimit(resource: u32) -> u32 {
    const RLIMIT_STACK: u32 = 3;
    if resource == RLIMIT_STACK { 8 << 20 } else { !0 }
}

/// Calls `visit` with every process that has an address space.
pub fn for_each_process(_visit: &mut dyn FnMut(crate::mm::oom::Candidate)) {}

/// Sends SIGKILL to a process.
pub fn kill_process(_pid: u32) {}
