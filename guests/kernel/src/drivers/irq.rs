//! Interrupt lines and who handles them.

use abi::errno::{EBUSY, EINVAL, Result};

use super::pic;
use crate::sync::SpinLock;

/// Lines of the two controllers.
pub const NR_IRQS: usize = 16;

/// A handler: called with interrupts off, with the `data` given at the request.
pub type Handler = fn(irq: u8, data: usize);

/// A line.
#[derive(Clone, Copy)]
pub struct IrqAction {
    handler: Handler,
    data: usize,
    /// Name in `/proc/interrupts`.
    pub name: &'static str,
}

#[derive(Clone, Copy)]
struct Line {
    actions: [Option<IrqAction>; 2],
    count: u32,
}

static LINES: SpinLock<[Line; NR_IRQS]> = SpinLock::new([Line { actions: [None; 2], count: 0 }; NR_IRQS]);

/// Handles `irq` by `handler` from now on. Two handlers may share a line (COM1 and COM3).
pub fn request_irq(irq: u8, name: &'static str, handler: Handler, data: usize) -> Result<()> {
    let mut lines = LINES.lock_irqsave();
    let line = lines.get_mut(irq as usize).ok_or(EINVAL)?;
    let slot = line.actions.iter_mut().find(|a| a.is_none()).ok_or(EBUSY)?;
    *slot = Some(IrqAction { handler, data, name });
    drop(lines);
    pic::unmask(irq);
    Ok(())
}

/// Forgets the handler of `irq` that was requested with `data`.
pub fn free_irq(irq: u8, data: usize) {
    let mut lines = LINES.lock_irqsave();
    let Some(line) = lines.get_mut(irq as usize) else { return };
    for slot in &mut line.actions {
        if slot.is_some_and(|a| a.data == data) {
            *slot = None;
        }
    }
    if line.actions.iter().all(Option::is_none) {
        pic::mask(irq);
    }
}

/// Called by the trap code with interrupts off.
pub fn handle(irq: u8) {
    if pic::is_spurious(irq) {
        return;
    }
    let actions = {
        let mut lines = LINES.lock();
        let line = &mut lines[irq as usize];
        line.count = line.count.wrapping_add(1);
        line.actions
    };
    pic::eoi(irq);
    for action in actions.into_iter().flatten() {
        (action.handler)(irq, action.data);
    }
}

/// How often the line came, and the names of its handlers; `None` if nobody handles it.
pub fn statistics(irq: u8) -> Option<(u32, [Option<&'static str>; 2])> {
    let lines = LINES.lock_irqsave();
    let line = lines.get(irq as usize)?;
    line.actions[0].or(line.actions[1])?;
    Some((line.count, line.actions.map(|a| a.map(|a| a.name))))
}
