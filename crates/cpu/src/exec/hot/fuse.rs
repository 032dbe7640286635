//! Several operations by one handler: a dispatch costs as much as the work of a simple instruction.
//!
//! Every operation keeps its place and a handler of its own; the first one's is replaced by one
//! that does the work of those behind it too. Where one of them must be looked at, it runs by
//! itself, from its own place, as if they had never met.

use std::sync::LazyLock;

use super::{
    access::{ESP, effective, flags, get, host, set, span},
    alu::{self, ADD, AND, CMP, OR, SUB, TEST, XOR, apply},
    branch::{self, branch, leave, met_after},
    control::jump,
    data, go, handlers, shift,
    slow::slow,
    stack,
};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// A simple instruction.
pub(crate) trait Step {
    /// Executes `op`. Says false, and has changed nothing, if it must be looked at.
    ///
    /// # Safety
    /// As for handlers.
    unsafe fn step(cpu: *mut Cpu, op: *const Op) -> bool;
}

macro_rules! steps {
    ($($(#[$attr:meta])* $name:ident $(<$(const $param:ident: $t:ty),*>)? ($cpu:ident, $op:ident) $body:block)*) => {$(
        $(#[$attr])*
        struct $name$(<$(const $param: $t),*>)?;
        impl$(<$(const $param: $t),*>)? Step for $name$(<$($param),*>)? {
            #[inline(always)]
            unsafe fn step($cpu: *mut Cpu, $op: *const Op) -> bool {
                // SAFETY: by the caller, a handler.
                unsafe { $body }
                true
            }
        }
    )*};
}

/// The register or the constant that is the last operand: one of the two is 0.
#[inline(always)]
unsafe fn source(cpu: *const Cpu, op: *const Op) -> u32 {
    // SAFETY: by the caller, a handler.
    unsafe { get::<u32>(cpu, (*op).src).wrapping_add((*op).imm) }
}

/// Where a value lies; the step fails if it must be looked at.
macro_rules! reach {
    ($table:expr, $W:ty, $addr:expr) => {
        match host::<$W>($table, $addr) {
            Some(place) => place,
            None => return false,
        }
    };
}

steps! {
    Move(cpu, op) {
        set(cpu, (*op).dst, source(cpu, op));
    }
    Load(cpu, op) {
        let place = reach!((*cpu).run.read, u32, effective::<true>(cpu, op));
        set(cpu, (*op).dst, place.read_unaligned());
    }
    /// MOVZX from a byte.
    LoadByte(cpu, op) {
        let place = reach!((*cpu).run.read, u8, effective::<true>(cpu, op));
        set(cpu, (*op).dst, u32::from(place.read()));
    }
    Store(cpu, op) {
        let place = reach!((*cpu).run.write, u32, effective::<true>(cpu, op));
        place.write_unaligned(source(cpu, op));
    }
    Lea(cpu, op) {
        set(cpu, (*op).dst, effective::<true>(cpu, op));
    }
    Alu<const OP: u8, const FLAGS: bool>(cpu, op) {
        let result = apply::<u32, OP, FLAGS>(cpu, get(cpu, (*op).dst), source(cpu, op), false);
        set(cpu, (*op).dst, result);
    }
    /// A shift by a constant, with dead flags.
    Shift<const OP: u8>(cpu, op) {
        let value = get(cpu, (*op).dst);
        set(cpu, (*op).dst, shift::shifted::<OP>(value, (*op).imm & 31));
    }
}

handlers! {
    fn pair[A: Step, B: Step]<>(cpu, op) {
        if !A::step(cpu, op) {
            return slow(cpu, op);
        }
        if !B::step(cpu, op.add(1)) {
            return slow(cpu, op.add(1));
        }
        go(cpu, op.add(2))
    }

    /// A step, then CMP or TEST of 32 bits with its Jcc.
    fn compare[A: Step]<const OP: u8, const CODE: u8>(cpu, op) {
        if !A::step(cpu, op) {
            return slow(cpu, op);
        }
        let op = op.add(1);
        let (a, b) = (get::<u32>(cpu, (*op).dst), source(cpu, op));
        let result = apply::<u32, OP, true>(cpu, a, b, false);
        branch!(cpu, op, met_after::<u32, OP, CODE>(a, b, result))
    }

    /// A step, then INC or DEC of a register with JZ or JNZ.
    fn count[A: Step]<const DOWN: bool, const CODE: u8>(cpu, op) {
        if !A::step(cpu, op) {
            return slow(cpu, op);
        }
        let op = op.add(1);
        let a = get::<u32>(cpu, (*op).dst);
        let result = if DOWN { a.wrapping_sub(1) } else { a.wrapping_add(1) };
        flags(cpu).set_step(a, result, if DOWN { a == 0 } else { result == 0 });
        set(cpu, (*op).dst, result);
        branch!(cpu, op, (result == 0) != (CODE & 1 != 0))
    }

    /// Pushes `COUNT` registers or constants, and calls.
    fn pushes<const COUNT: usize, const CALL: bool>(cpu, op) {
        let words = COUNT + CALL as usize;
        let top = get::<u32>(cpu, ESP).wrapping_sub(4 * words as u32);
        let Some(place) = span((*cpu).run.write, top, 4 * words as u32) else { return slow(cpu, op) };
        for n in 0..COUNT {
            let value = source(cpu, op.add(n));
            place.add(words - 1 - n).write_unaligned(value);
        }
        if CALL {
            place.write_unaligned((*op.add(COUNT)).imm);
        }
        set(cpu, ESP, top);
        if CALL { jump(cpu, (*op.add(COUNT)).link) } else { go(cpu, op.add(COUNT)) }
    }

    /// Pops `COUNT` registers, and returns.
    fn pops<const COUNT: usize, const RETURN: bool>(cpu, op) {
        let words = COUNT + RETURN as usize;
        let top = get::<u32>(cpu, ESP);
        let Some(place) = span((*cpu).run.read, top, 4 * words as u32) else { return slow(cpu, op) };
        for n in 0..COUNT {
            set(cpu, (*op.add(n)).dst, place.add(n).read_unaligned());
        }
        let top = top.wrapping_add(4 * COUNT as u32);
        if RETURN {
            let target = place.add(COUNT).read_unaligned();
            set(cpu, ESP, top.wrapping_add((*op.add(COUNT)).imm));
            branch::indirect(cpu, target)
        } else {
            set(cpu, ESP, top);
            go(cpu, op.add(COUNT))
        }
    }
}

/// The handlers of all pairs of the given steps.
macro_rules! pairs {
    ($($kind:ty),*) => { pairs!(@rows [$($kind),*] $($kind),*) };
    (@rows $all:tt $($kind:ty),*) => { [$(pairs!(@row $kind, $all)),*] };
    (@row $a:ty, [$($b:ty),*]) => { [$(pair::<$a, $b> as Handler),*] };
}

const KINDS: usize = 17;

/// The handlers of pairs, by the places of their steps in the list.
static PAIRS: [[Handler; KINDS]; KINDS] = pairs!(
    Move, Load, LoadByte, Store, Lea,
    Alu<ADD, false>, Alu<SUB, false>, Alu<AND, false>, Alu<OR, false>, Alu<XOR, false>,
    Alu<ADD, true>, Alu<SUB, true>, Alu<AND, true>, Alu<XOR, true>,
    Shift<{ shift::SHL }>, Shift<{ shift::SHR }>, Shift<{ shift::ROL }>
);

/// The handlers of `$step` with each comparison and each Jcc.
macro_rules! compares {
    ($step:ty) => {
        [compares!(@op $step, CMP, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15), compares!(@op $step, TEST, 4, 5, 8, 9, 12, 13, 14, 15)]
    };
    (@op $step:ty, $op:ident, $($code:literal),*) => {{
        let mut by_code = [None; 16];
        $(by_code[$code] = Some(compare::<$step, $op, $code> as Handler);)*
        by_code
    }};
}

/// By the place of the step among the first of [`PAIRS`] or, last, ADD with dead flags; by CMP or TEST; by condition.
static COMPARES: [[[Option<Handler>; 16]; 2]; LEADS] =
    [compares!(Move), compares!(Load), compares!(LoadByte), compares!(Store), compares!(Alu<ADD, false>)];

/// As [`COMPARES`]; by INC or DEC; by JZ or JNZ.
static COUNTS: [[[Handler; 2]; 2]; LEADS] = {
    macro_rules! counts {
        ($step:ty) => {
            [[count::<$step, false, 4>, count::<$step, false, 5>], [count::<$step, true, 4>, count::<$step, true, 5>]]
        };
    }
    [counts!(Move), counts!(Load), counts!(LoadByte), counts!(Store), counts!(Alu<ADD, false>)]
};

const LEADS: usize = 5;

/// What an operation is, for those that can be joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A step, by its place in [`PAIRS`].
    Step(usize),
    /// CMP or TEST with Jcc: place in [`COMPARES`], and the condition.
    Compare(usize, usize),
    /// INC or DEC with JZ or JNZ: places in [`COUNTS`].
    Count(usize, usize),
    Push,
    Pop,
    Call,
    Return,
}

/// What the operations that can be joined are, by their handlers.
struct Known([(usize, Kind); Self::PLACES]);

impl Known {
    /// Some eight times as many as there are.
    const PLACES: usize = 1024;

    fn place(handler: Handler) -> usize {
        // Functions are aligned to 16 bytes.
        (handler as usize >> 4 ^ handler as usize >> 14) % Self::PLACES
    }

    fn note(&mut self, handler: Handler, kind: Kind) {
        let free = |n: &usize| [0, handler as usize].contains(&self.0[n % Self::PLACES].0);
        let first = Self::place(handler);
        let place = (first..first + Self::PLACES).find(free).expect("there is room");
        self.0[place % Self::PLACES] = (handler as usize, kind);
    }

    fn get(&self, handler: Handler) -> Option<Kind> {
        let mut place = Self::place(handler);
        while self.0[place].0 != 0 {
            if self.0[place].0 == handler as usize {
                return Some(self.0[place].1);
            }
            place = (place + 1) % Self::PLACES;
        }
        None
    }
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    use alu::Form;
    let mut known = Known([(0, Kind::Push); Known::PLACES]);
    let mut note = |handler: Handler, kind| known.note(handler, kind);
    note(data::mov(Form::RegReg, 4), Kind::Step(0));
    note(data::mov(Form::RegImm, 4), Kind::Step(0));
    for indexed in [false, true] {
        note(data::mov(Form::RegMem { indexed }, 4), Kind::Step(1));
        note(data::extend(false, 1, Some(indexed)), Kind::Step(2));
        note(data::mov(Form::MemReg { indexed }, 4), Kind::Step(3));
        note(data::mov(Form::MemImm { indexed }, 4), Kind::Step(3));
        note(data::load_address(indexed), Kind::Step(4));
    }
    let dead = [ADD, SUB, AND, OR, XOR].map(|op| (op, false));
    let live = [ADD, SUB, AND, XOR].map(|op| (op, true));
    for (place, (op, flags)) in dead.into_iter().chain(live).enumerate() {
        for form in [Form::RegReg, Form::RegImm] {
            note(alu::binary(op, form, 4, flags), Kind::Step(5 + place));
        }
    }
    for (place, op) in [shift::SHL, shift::SHR, shift::ROL].into_iter().enumerate() {
        note(shift::shift(op, false, false), Kind::Step(14 + place));
    }
    for (place, op) in [CMP, TEST].into_iter().enumerate() {
        for operands in [branch::Operands::RegReg, branch::Operands::RegImm] {
            for code in 0..16 {
                if let Some(handler) = branch::compare_jump(op, operands, 4, code) {
                    note(handler, Kind::Compare(place, code.into()));
                }
            }
        }
    }
    for (place, down) in [false, true].into_iter().enumerate() {
        for code in [4, 5] {
            if let Some(handler) = branch::step_jump(down, code) {
                note(handler, Kind::Count(place, usize::from(code & 1)));
            }
        }
    }
    note(stack::PUSH, Kind::Push);
    note(stack::POP_REG, Kind::Pop);
    note(stack::CALL, Kind::Call);
    note(stack::RET, Kind::Return);
    known
});

fn kind(op: &Op) -> Option<Kind> {
    KNOWN.get(op.handler)
}

/// Joins what can be joined of `ops`, the operations of a block behind its head.
pub(crate) fn join(ops: &mut [Op]) {
    let mut at = 0;
    let mut first = ops.first().and_then(kind);
    while at + 1 < ops.len() {
        let second = kind(&ops[at + 1]);
        let (count, joined) = match (first, second) {
            (Some(Kind::Push), Some(Kind::Push | Kind::Call)) | (Some(Kind::Pop), Some(Kind::Pop | Kind::Return)) => {
                stack_run(&ops[at..])
            }
            (Some(Kind::Step(a)), Some(Kind::Step(b))) => (2, Some(PAIRS[a][b])),
            (Some(Kind::Step(a)), Some(Kind::Compare(op, code))) => (1, lead(a).and_then(|a| COMPARES[a][op][code])),
            (Some(Kind::Step(a)), Some(Kind::Count(down, code))) => (1, lead(a).map(|a| COUNTS[a][down][code])),
            _ => (1, None),
        };
        if let Some(handler) = joined {
            ops[at].handler = handler;
        }
        at += count;
        first = if count == 1 { second } else { ops.get(at).and_then(kind) };
    }
}

/// The place in [`COMPARES`] and [`COUNTS`] of a step that has one there.
fn lead(step: usize) -> Option<usize> {
    match step {
        0..=3 => Some(step),
        5 => Some(4), // ADD with dead flags

        _ => None,
    }
}

/// The handler of the PUSHes, with a CALL, or of the POPs, with a RET, that `ops` begins with; and how many these are.
fn stack_run(ops: &[Op]) -> (usize, Option<Handler>) {
    let pushes = kind(&ops[0]) == Some(Kind::Push);
    let (like, end) = if pushes { (Kind::Push, Kind::Call) } else { (Kind::Pop, Kind::Return) };
    // ESP itself has another value at each step.
    let simple = |op: &&Op| kind(op) == Some(like) && if pushes { op.src != ESP } else { op.dst != ESP };
    let count = ops.iter().take(4).take_while(simple).count();
    let ends = ops.get(count).is_some_and(|op| kind(op) == Some(end));
    let handler: Option<Handler> = match (pushes, count, ends) {
        (true, 1, true) => Some(self::pushes::<1, true>),
        (true, 2, false) => Some(self::pushes::<2, false>),
        (true, 2, true) => Some(self::pushes::<2, true>),
        (true, 3, false) => Some(self::pushes::<3, false>),
        (true, 3, true) => Some(self::pushes::<3, true>),
        (true, 4, false) => Some(self::pushes::<4, false>),
        (true, 4, true) => Some(self::pushes::<4, true>),
        (false, 1, true) => Some(pops::<1, true>),
        (false, 2, false) => Some(pops::<2, false>),
        (false, 2, true) => Some(pops::<2, true>),
        (false, 3, false) => Some(pops::<3, false>),
        (false, 3, true) => Some(pops::<3, true>),
        (false, 4, false) => Some(pops::<4, false>),
        (false, 4, true) => Some(pops::<4, true>),
        _ => None,
    };
    (count.max(1), handler)
}
