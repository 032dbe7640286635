//! Interrupt lines and who handles them.

use abi::{
    Ptr32,
    books::IrqRecord,
    errno::{EBUSY, EINVAL, Result},
};

use super::pic;
use crate::sync::SpinLock;

pub use abi::books::NR_IRQS;

/// A handler: called with interrupts off, with the `data` given at the request.
pub type Handler = fn(irq: u8, data: usize);

/// A line.
#[derive(Clone, Copy)]
pub struct IrqAction {
    handler: Handler,
    data: usize,
    name: &'static str,
}

type Actions = [Option<IrqAction>; 2];

/// The lines. The host reads the records.
struct Lines {
    records: [IrqRecord; NR_IRQS],
    actions: [Actions; NR_IRQS],
}

static LINES: SpinLock<Lines> = SpinLock::new(Lines {
    records: [IrqRecord { count: 0, name: Ptr32::NULL, name_len: 0 }; NR_IRQS],
    actions: [[None; 2]; NR_IRQS],
});

impl Lines {
    /// Says in the record who handles the line first.
    fn note_name(&mut self, irq: u8) {
        let name = self.actions[irq as usize].iter().flatten().next().map_or("", |action| action.name);
        let record = &mut self.records[irq as usize];
        record.name = if name.is_empty() { Ptr32::NULL } else { Ptr32::new(name.as_ptr() as u32) };
        record.name_len = name.len() as u32;
    }
}

/// Handles `irq` by `handler` from now on. Two handlers may share a line (COM1 and COM3).
pub fn request_irq(irq: u8, name: &'static str, handler: Handler, data: usize) -> Result<()> {
    let mut lines = LINES.lock_irqsave();
    let actions = lines.actions.get_mut(irq as usize).ok_or(EINVAL)?;
    let slot = actions.iter_mut().find(|a| a.is_none()).ok_or(EBUSY)?;
    *slot = Some(IrqAction { handler, data, name });
    lines.note_name(irq);
    drop(lines);
    pic::unmask(irq);
    Ok(())
}

/// Forgets the handler of `irq` that was requested with `data`.
pub fn free_irq(irq: u8, data: usize) {
    let mut lines = LINES.lock_irqsave();
    let Some(actions) = lines.actions.get_mut(irq as usize) else { return };
    for slot in actions.iter_mut().filter(|slot| slot.is_some_and(|a| a.data == data)) {
        *slot = None;
    }
    if actions.iter().all(Option::is_none) {
        pic::mask(irq);
    }
    lines.note_name(irq);
}

/// Called by the trap code with interrupts off.
pub fn handle(irq: u8) {
    if pic::is_spurious(irq) {
        return;
    }
    let actions = {
        let mut lines = LINES.lock();
        let record = &mut lines.records[irq as usize];
        record.count = record.count.wrapping_add(1);
        lines.actions[irq as usize]
    };
    pic::eoi(irq);
    for action in actions.into_iter().flatten() {
        (action.handler)(irq, action.data);
    }
}

/// The lines as they are now.
pub fn snapshot() -> [IrqRecord; NR_IRQS] {
    LINES.lock_irqsave().records
}

/// Where the host finds them.
pub fn books() -> Ptr32<IrqRecord> {
    Ptr32::new(LINES.lock_irqsave().records.as_ptr() as u32)
}
