//! Resource limits.

/// Numbers of the limits.
pub mod resource {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const CPU: usize = 0;
    pub const FSIZE: usize = 1;
    pub const DATA: usize = 2;
    pub const STACK: usize = 3;
    pub const CORE: usize = 4;
    pub const RSS: usize = 5;
    pub const NPROC: usize = 6;
    pub const NOFILE: usize = 7;
    pub const MEMLOCK: usize = 8;
    pub const AS: usize = 9;
    pub const LOCKS: usize = 10;
    pub const SIGPENDING: usize = 11;
    pub const MSGQUEUE: usize = 12;
    pub const NICE: usize = 13;
    pub const RTPRIO: usize = 14;
    pub const RTTIME: usize = 15;
}

pub use abi::{books::RLIM_NLIMITS, proc::limits::RLIM_INFINITY};

/// A soft and a hard limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Linux's names")]
#[repr(C)]
pub struct Rlimit {
    pub cur: u32,
    pub max: u32,
}

/// All limits of a process.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Rlimits(pub [Rlimit; RLIM_NLIMITS]);

impl Rlimits {
    /// What the first process gets.
    pub fn initial() -> Self {
        let mut limits = [Rlimit { cur: RLIM_INFINITY, max: RLIM_INFINITY }; RLIM_NLIMITS];
        for (number, cur, max) in [
            (resource::STACK, 8 << 20, RLIM_INFINITY),
            (resource::CORE, 0, RLIM_INFINITY),
            (resource::NPROC, 4096, 4096),
            (resource::NOFILE, 1024, 4096),
            (resource::MEMLOCK, 8 << 20, 8 << 20),
            (resource::SIGPENDING, 4096, 4096),
            (resource::MSGQUEUE, 819_200, 819_200),
            (resource::NICE, 0, 0),
            (resource::RTPRIO, 0, 0),
        ] {
            limits[number] = Rlimit { cur, max };
        }
        Rlimits(limits)
    }
}
