//! Resource limits.

pub use abi::{
    books::RLIM_NLIMITS,
    proc::limits::{RLIM_INFINITY, resource},
};

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
