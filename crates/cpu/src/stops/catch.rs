//! Events that stop a run.

use x86::Vector;

use crate::{Exception, IoSize};

/// A set of interrupt vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vectors([u64; 4]);

impl Vectors {
    /// Takes `vector` in.
    pub fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector) / 64] |= 1 << (vector % 64);
    }

    /// Whether `vector` is in it.
    #[inline]
    pub fn holds(&self, vector: u8) -> bool {
        self.0[usize::from(vector) / 64] >> (vector % 64) & 1 != 0
    }
}

/// Which events stop a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catches {
    /// Interrupts and exceptions with these vectors, and INT n.
    pub vectors: Vectors,
    /// SYSENTER.
    pub sysenter: bool,
    /// IN, OUT, INS and OUTS that reach one of these ports: the first and the last of each range.
    pub ports: Vec<(u16, u16)>,
    /// Loads of CR3, whatever they load: MOV, and task switches.
    pub cr3: bool,
    /// Returns to ring 3 by IRET.
    pub user: bool,
}

impl Catches {
    /// Whether an access of `len` bytes at `port` is wanted.
    pub(crate) fn ports(&self, port: u16, len: u32) -> bool {
        let first = u32::from(port);
        self.ports.iter().any(|&(low, high)| first <= high.into() && u32::from(low) < first + len)
    }
}

/// An event that stopped a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occurrence {
    /// The instruction at EIP, which has not begun, is INT n, INT3, INT1, or INTO that would interrupt.
    SoftwareInterrupt {
        /// Its vector.
        vector: u8,
    },
    /// The instruction at EIP, which has not begun, is SYSENTER.
    SystemEnter,
    /// The instruction at EIP raises this exception. It is not delivered yet: nothing is changed, and
    /// CR2 is as it was. Iterations of a repeated instruction that came before are done.
    Exception(Exception),
    /// An interrupt, an NMI, a debug trap, or an exception in the delivery of something else was delivered: EIP is
    /// at the first instruction of its handler.
    Delivered {
        /// Its vector.
        vector: Vector,
    },
    /// The last instruction, or iteration, has reached a port.
    Port {
        /// The first port.
        port: u16,
        /// How many ports.
        size: IoSize,
        /// OUT or OUTS.
        output: bool,
        /// What was written or read.
        value: u32,
    },
    /// The last instruction has returned to ring 3 from an inner one.
    EnteredUser,
    /// The last instruction has loaded CR3.
    LoadedCr3 {
        /// Its value before.
        before: u32,
        /// Its value now.
        after: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_access_reaches_all_of_its_ports() {
        let catches = Catches { ports: vec![(0x62, 0x63), (0xffff, 0xffff)], ..Catches::default() };
        for (port, len, met) in
            [(0x60, 2, false), (0x61, 2, true), (0x63, 1, true), (0x64, 4, false), (0xfffc, 4, true)]
        {
            assert_eq!(catches.ports(port, len), met, "{port:#x} {len}");
        }
    }

    #[test]
    fn a_set_of_vectors_holds_what_was_put_in() {
        let mut set = Vectors::default();
        [0, 63, 64, 255].into_iter().for_each(|vector| set.insert(vector));
        assert_eq!((0..=255).filter(|&vector| set.holds(vector)).collect::<Vec<_>>(), [0, 63, 64, 255]);
    }
}
