//! The two points around a shootdown at which our kernel says what it is about.

use abi::tlb::{self, Reason};
use machine::Timeline;
use x86::LinearAddr;

use crate::{Symbols, Target};

/// Linear addresses of a kernel's points, and since when the machine notes who comes there. From then on
/// nothing has to be guessed: a shootdown is what a CPU asks for between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Points {
    begin: u32,
    end: u32,
    since_ns: u64,
}

/// What the kernel says of a shootdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// First linear address.
    pub start: u32,
    /// The address behind the last.
    pub end: u32,
    /// Why; a number that this version does not know is `None`.
    pub reason: Option<Reason>,
    /// The CPUs that are told, a bit each.
    pub targets: u8,
    /// When the kernel began.
    pub began_ns: u64,
    /// When all CPUs had said that they did, and it went on.
    pub over_ns: Option<u64>,
}

/// Which of the two it is.
pub(super) enum Point {
    Begin(Asked),
    End,
}

impl Points {
    /// Those of the target's kernel, if it has them and the machine notes them.
    pub fn of(target: &Target<'_>) -> Option<Points> {
        Points::noted(target.kernel_symbols()?, target.timeline?)
    }

    fn noted(symbols: &Symbols, timeline: &Timeline) -> Option<Points> {
        let [begin, end] = Points::places(symbols)?;
        let since_ns = timeline.noted_since(begin.0)?.max(timeline.noted_since(end.0)?);
        Some(Points { begin: begin.0, end: end.0, since_ns })
    }

    /// What a machine with this kernel has to note ([`machine::Machine::note_place`]); `None` if the kernel has no
    /// such points.
    pub fn places(symbols: &Symbols) -> Option<[LinearAddr; 2]> {
        let place = |name| symbols.named(name).map(|symbol| LinearAddr(symbol.addr));
        Some([place(tlb::BEGIN)?, place(tlb::END)?])
    }

    /// Whether they were noted at this time already.
    pub(crate) fn cover(&self, at_ns: u64) -> bool {
        at_ns >= self.since_ns
    }

    /// What a CPU says that comes to an instruction with these values in EAX, ECX and EDX.
    pub(super) fn point(&self, at_ns: u64, place: u32, [start, what, end]: [u32; 3]) -> Option<Point> {
        if place == self.end {
            return Some(Point::End);
        }
        let targets = what as u8;
        let asked = Asked { start, end, reason: Reason::of(what >> 8), targets, began_ns: at_ns, over_ns: None };
        (place == self.begin).then_some(Point::Begin(asked))
    }

    /// Whether a CPU that comes to `place` begins a shootdown (`true`), ends one, or does neither.
    pub(crate) fn begins(&self, place: u32) -> Option<bool> {
        [(self.begin, true), (self.end, false)]
            .into_iter()
            .find_map(|(point, begins)| (point == place).then_some(begins))
    }

    #[cfg(test)]
    pub(super) fn at(begin: u32, end: u32, since_ns: u64) -> Points {
        Points { begin, end, since_ns }
    }
}
