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
