//! Processes and threads.

pub mod cred;
pub mod current;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod futex;
mod hooks;
pub mod init;
pub mod itimer;
pub mod kthread;
pub mod pid;
pub mod posix_timer;
pub mod rlimits;
pub mod sched;
pub mod signal;
pub mod softirq;
pub mod stack;
pub mod task_struct;
pub mod timer;
pub mod wait;

pub use current::{Current, current};
pub use hooks::{
    account_fault, current_mm, for_each_process, kill_process, mm_of_process, pid_and_comm, rlimit, running,
};
pub use init::start_init;
pub use task_struct::{SignalStruct, TaskStruct};
