//! Accesses that lie close together: looked up and checked at once.
//!
//! A run of host code looks at nothing between its instructions, so what a projection says stays
//! true from its start to its end. Accesses at known distances from each other, such as those of a stack
//! frame, share one look: at the first of them, for all bytes from the lowest to the highest.

use super::plan::{Address, EBP, ESP, Place, Plan, Reg, Source};
use crate::exec::hot::alu;

/// Most bytes that share a look: the longer, the more often they lie in two pages.
const REACH: i32 = 128;

/// Accesses of a run that share a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// Offset of the first byte from what all of them begin at.
    lowest: i32,
    end: i32,
    pub written: bool,
    pub accesses: u32,
    /// The last instruction that uses it.
    pub last: usize,
}

impl Window {
    /// Bytes from the lowest to the highest.
    pub(super) fn len(&self) -> u32 {
        (self.end - self.lowest) as u32
    }
}

/// An access to memory in a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Member {
    /// Which window.
    pub window: usize,
    /// Bytes from the window's first.
    pub at: u32,
}

/// A value as a distance from another one: that of a register when the run begins, or one that appears later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Symbol {
    root: u32,
    offset: i32,
}

/// What registers hold.
struct Symbols {
    of: [Symbol; 8],
    next: u32,
}

impl Symbols {
    /// The root of constants.
    const ZERO: u32 = 8;

    fn new() -> Self {
        Symbols { of: std::array::from_fn(|n| Symbol { root: n as u32, offset: 0 }), next: Self::ZERO + 1 }
    }

    fn of(&self, address: &Address) -> Option<Symbol> {
        if address.index.is_some() || address.segment.is_some() {
            return None;
        }
        let base = address.base.map_or(Symbol { root: Self::ZERO, offset: 0 }, |base| self.of[usize::from(base)]);
        Some(Symbol { offset: base.offset.wrapping_add(address.disp as i32), ..base })
    }

    fn moved(&self, register: u8, by: i32) -> Symbol {
        let symbol = self.of[usize::from(register)];
        Symbol { offset: symbol.offset.wrapping_add(by), ..symbol }
    }

    /// Follows what `plan` does to registers.
    fn follow(&mut self, plan: &Plan) {
        let known = match plan {
            Plan::Move { size: 4, to: Place::Reg(to), from: Source::Reg(Reg(from)) } => {
                Some((to.number(), self.moved(from >> 2, 0)))
            }
            Plan::Lea { to, address } => self.of(address).map(|symbol| (*to, symbol)),
            Plan::Binary { op: alu::ADD, size: 4, to: Place::Reg(to), from: Source::Imm(by) } => {
                Some((to.number(), self.moved(to.number(), *by as i32)))
            }
            Plan::Binary { op: alu::SUB, size: 4, to: Place::Reg(to), from: Source::Imm(by) } => {
                Some((to.number(), self.moved(to.number(), (*by as i32).wrapping_neg())))
            }
            Plan::Step { down, to: Place::Reg(to) } => {
                Some((to.number(), self.moved(to.number(), if *down { -1 } else { 1 })))
            }
            Plan::Push(_) => Some((ESP, self.moved(ESP, -4))),
            Plan::Pop(_) => Some((ESP, self.moved(ESP, 4))),
            Plan::Leave => Some((ESP, self.moved(EBP, 4))),
            _ => None,
        };
        let unknown = match (plan, known) {
            (Plan::Pop(to), _) => 1 << to, // last: POP ESP
            (_, Some((number, _))) => plan.written() & !(1 << number),
            (_, None) => plan.written(),
        };
        if let Some((number, symbol)) = known {
            self.of[usize::from(number)] = symbol;
        }
        for number in (0..8u8).filter(|number| unknown >> number & 1 != 0) {
            self.of[usize::from(number)] = Symbol { root: self.next, offset: 0 };
            self.next += 1;
        }
    }
}

/// The windows of a run, and what belongs to one, by instruction.
pub(super) fn find(plans: &[Plan]) -> (Vec<Window>, Vec<Option<Member>>) {
    let mut symbols = Symbols::new();
    let mut windows: Vec<Window> = Vec::new();
    let mut roots: Vec<u32> = Vec::new();
    // By instruction: the window, and the offset from its root.
    let mut found: Vec<Option<(usize, i32)>> = Vec::with_capacity(plans.len());
    for (place, plan) in plans.iter().enumerate() {
        let access = plan.access().and_then(|(address, size, write)| Some((symbols.of(&address)?, size as i32, write)));
        found.push(access.and_then(|(symbol, size, write)| {
            let (lowest, end) = (symbol.offset, symbol.offset.checked_add(size)?);
            let fits = |window: &Window| {
                i64::from(window.end.max(end)) - i64::from(window.lowest.min(lowest)) <= i64::from(REACH)
            };
            let known = (0..windows.len()).rev().find(|&n| roots[n] == symbol.root && fits(&windows[n]));
            let number = known.unwrap_or_else(|| {
                windows.push(Window { lowest, end, written: false, accesses: 0, last: place });
                roots.push(symbol.root);
                windows.len() - 1
            });
            let window = &mut windows[number];
            window.lowest = window.lowest.min(lowest);
            window.end = window.end.max(end);
            window.written |= write;
            window.accesses += 1;
            window.last = place;
            Some((number, lowest))
        }));
        symbols.follow(plan);
    }
    let member = |(window, offset): (usize, i32)| Member { window, at: (offset - windows[window].lowest) as u32 };
    let members = found.into_iter().map(|found| found.map(member)).collect();
    (windows, members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(base: u8, disp: i32) -> Plan {
        Plan::Move { size: 4, to: Place::Reg(Reg(0)), from: Source::Mem(Address::at(base, disp)) }
    }

    #[test]
    fn a_stack_frame_is_one_window() {
        let frame =
            [Plan::Push(Source::Reg(Reg(20))), Plan::Push(Source::Imm(1)), load(ESP, 12), Plan::Pop(1), Plan::Pop(5)];
        let (windows, members) = find(&frame);
        assert_eq!(windows.len(), 1);
        assert_eq!((windows[0].len(), windows[0].written, windows[0].accesses, windows[0].last), (16, true, 5, 4));
        let places: Vec<_> = members.into_iter().map(|member| member.unwrap().at).collect();
        assert_eq!(places, [4, 0, 12, 0, 4]);
    }

    #[test]
    fn a_register_that_changes_begins_anew() {
        let (windows, members) = find(&[load(3, 0), load(3, 4), Plan::Pop(3), load(3, 4), load(3, 4 + REACH)]);
        assert_eq!(windows.len(), 4, "{windows:?}");
        assert_eq!(members[0].unwrap().window, members[1].unwrap().window);
        assert_ne!(members[1].unwrap().window, members[3].unwrap().window);
        assert_ne!(members[3].unwrap().window, members[4].unwrap().window, "too far away");
    }

    #[test]
    fn what_pop_puts_into_esp_is_not_known() {
        let (windows, _) = find(&[Plan::Pop(ESP), Plan::Pop(0)]);
        assert_eq!(windows.len(), 2);
    }

    #[test]
    fn offsets_that_wrap_are_no_window() {
        let (windows, members) = find(&[load(3, i32::MAX - 1), load(3, i32::MIN)]);
        assert_eq!((windows.len(), members[0]), (1, None));
    }
}
