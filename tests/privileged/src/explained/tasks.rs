//! Differences in task switches that come from the order of the checks.

use super::{Rule, Seen, error_code};
use crate::{
    layout::{ARENA, ARENA_LEN, at, word},
    outcome::place,
};

/// The selectors that a new task's segment registers are loaded with.
struct Task {
    ldt: u16,
    cs: u16,
    ss: u16,
    data: Vec<u16>,
}

impl Task {
    /// The task that the case has switched to, as `tr` of one of its ends tells.
    fn entered(seen: &Seen, tr: Option<&u32>) -> Option<Task> {
        let descriptor = u64::from(seen.case.get_u32(at::GDT + (tr? & 0xfff8)))
            | u64::from(seen.case.get_u32(at::GDT + (tr? & 0xfff8) + 4)) << 32;
        let base = (descriptor >> 16 & 0xff_ffff | descriptor >> 32 & 0xff00_0000) as u32;
        let tss = base.checked_sub(ARENA).filter(|&tss| tss < ARENA_LEN as u32 - 0x100)?;
        let wide = descriptor >> 43 & 1 != 0;
        let (first, step, count, ldt) = if wide { (0x48, 4_u32, 6, 0x60) } else { (0x22, 2, 4, 0x2a) };
        let selector = |n| seen.case.get_u32(tss + first + n * step) as u16;
        Some(Task {
            ldt: seen.case.get_u32(tss + ldt) as u16,
            cs: selector(1),
            ss: selector(2),
            data: [0].into_iter().chain(3..count).map(selector).collect(),
        })
    }

    /// When its check comes, by a selector's error code: here, and in Bochs.
    fn turns(&self, code: u32) -> (Vec<u32>, Vec<u32>) {
        let is = |selector: u16| u32::from(selector & !3) == code;
        let (mut ours, mut bochs) = (Vec::new(), Vec::new());
        if is(self.ldt) {
            ours.push(0);
            bochs.push(0);
        }
        if is(self.cs) {
            ours.extend([1, 3]);
            bochs.push(3);
        }
        if is(self.ss) {
            ours.push(2);
            bochs.push(1);
        }
        if self.data.iter().any(|&selector| is(selector)) {
            ours.push(4);
            bochs.push(2);
        }
        (ours, bochs)
    }

    /// Where the table has the upper half of the descriptor of one of its selectors.
    fn names(&self, name: &str) -> bool {
        [self.ldt, self.cs, self.ss].iter().chain(&self.data).any(|selector| {
            let table = if selector & 4 == 0 { at::GDT } else { at::LDT };
            let offset = table + u32::from(selector & 0xfff8) + 4;
            offset < ARENA_LEN as u32 && place(offset) == name
        })
    }
}

fn order(seen: &Seen) -> bool {
    let tr = seen.ours.words.get(&word::TR);
    let Some(task) = Task::entered(seen, tr) else { return false };
    let (Some(bochs), Some(ours)) = seen.vectors() else { return false };
    let marks_only = seen.all(|name, bochs, ours| {
        // The accessed bit alone.
        let before = seen.case.named(name);
        task.names(name) && bochs.unwrap_or(before) ^ ours.unwrap_or(before) == 0x100
    });
    let of_the_switch = |vector| (10..=12).contains(&vector);
    if tr != seen.bochs.words.get(&word::TR) {
        return false;
    }
    if marks_only {
        return bochs == ours && (of_the_switch(ours) || ours == 8);
    }
    let (Some(bochs_code), Some(our_code)) = (error_code(seen, false), error_code(seen, true)) else { return false };
    let later = |theirs: &[u32], others: &[u32]| theirs.iter().any(|turn| others.iter().any(|other| turn < other));
    let (at_ours, ours_in_bochs) = task.turns(our_code);
    let (bochs_here, at_bochs) = task.turns(bochs_code);
    of_the_switch(bochs)
        && of_the_switch(ours)
        && our_code != bochs_code
        && later(&at_ours, &bochs_here)
        && later(&at_bochs, &ours_in_bochs)
        && seen.all(|name, _, _| name == "vector" || task.names(name) || name.starts_with("stack+"))
}

fn no_stack(seen: &Seen) -> bool {
    let Some(task) = Task::entered(seen, seen.bochs.words.get(&word::TR)) else { return false };
    seen.ours.reset && task.cs & 3 == 0 && matches!(seen.vectors().0, Some(8 | 10..=12))
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        reason: "two segments of a new task that are both wrong: here the P6 family's order of the checks, in Bochs SS \
                 and data before CS; so another selector in the error code, or another descriptor marked accessed \
                 by then (SDM Vol. 3A, \"Task Switching\": the exact order is model specific)",
        applies: order,
    },
    Rule {
        reason: "an exception of a new task at level 0 before its stack is loaded: no stack here, so a triple fault; \
                 Bochs goes by level 3 until SS is loaded and takes the stack of the TSS (SDM Vol. 3A, \"Exception and \
                 Interrupt Reference\", #TS: its handler must be a task; in the new task's context the state may not \
                 be consistent)",
        applies: no_stack,
    },
];
