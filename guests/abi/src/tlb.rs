//! What the kernel says of a TLB shootdown at the two points around it, for who looks on from outside.

use core::fmt;

/// Called when a shootdown begins: EAX holds the first linear address, EDX the one behind the last, CL the
/// CPUs that are told, a bit each, the bits of ECX above the [`Reason`].
pub const BEGIN: &str = "tlb_flush_begin";
/// Called with the same when all CPUs have said that they did.
pub const END: &str = "tlb_flush_end";

/// Why translations go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Reason {
    /// One page: reclaim, write-back, a copy at the first write, a move to another frame.
    Page = 0,
    /// Pages are unmapped and about to be given back.
    Unmap = 1,
    /// Rights change (`mprotect`).
    Protect = 2,
    /// A parent loses its right to write (`fork`).
    Fork = 3,
    /// Entries move to other addresses (`mremap`).
    Move = 4,
    /// Page tables are about to be given back, which lazy CPUs must let go of, too.
    Tables = 5,
    /// Addresses of the kernel, which every CPU has.
    Kernel = 6,
}

impl Reason {
    /// All of them, by number.
    pub const ALL: [Reason; 7] =
        [Reason::Page, Reason::Unmap, Reason::Protect, Reason::Fork, Reason::Move, Reason::Tables, Reason::Kernel];

    /// The reason with a number.
    pub fn of(number: u32) -> Option<Reason> {
        Reason::ALL.get(number as usize).copied()
    }

    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::Page => "page",
            Reason::Unmap => "unmap",
            Reason::Protect => "protect",
            Reason::Fork => "fork",
            Reason::Move => "move",
            Reason::Tables => "tables",
            Reason::Kernel => "kernel",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_by_its_number() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(reason as u32), Some(reason));
        }
        assert_eq!(Reason::of(7), None);
    }
}
