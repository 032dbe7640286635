//! Interrupt lines and who handles them.

use abi::{
    Ptr32,
    books::IrqRecord,
    errno::{EBUSY, EINVAL, EIO, Result},
};

use super::pic;
use crate::{
    arch::{
        FIRST_EXTERNAL_VECTOR, apic, ioapic,
        mpconfig::Route,
        percpu::{NR_CPUS, cpu_number, per_cpu},
        smp,
    },
    sync::SpinLock,
};

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
    /// The CPUs that each line may interrupt; it goes to the first of them that runs.
    affinity: [u32; NR_IRQS],
    /// Those of a line that gets its first handler.
    default_affinity: u32,
    /// How the lines reach the I/O APIC; `None`: they go to the 8259, which interrupts CPU 0.
    routes: Option<&'static [Route; NR_IRQS]>,
}

const EMPTY: IrqRecord = IrqRecord { counts: [0; NR_CPUS], chip: 0, hwirq: 0, name: Ptr32::NULL, name_len: 0 };

static LINES: SpinLock<Lines> = SpinLock::new(Lines {
    records: [EMPTY; NR_IRQS],
    actions: [[None; 2]; NR_IRQS],
    affinity: [!0; NR_IRQS],
    default_affinity: !0,
    routes: None,
});

impl Lines {
    fn unmask(&self, irq: u8) {
        match self.routes {
            Some(routes) => {
                ioapic::unmask(routes[irq as usize], FIRST_EXTERNAL_VECTOR + irq, per_cpu(self.target(irq)).apic_id());
            }
            None => pic::unmask(irq),
        }
    }

    fn mask(&self, irq: u8) {
        match self.routes {
            Some(routes) => ioapic::mask(routes[irq as usize]),
            None => pic::mask(irq),
        }
    }

    /// The CPU that a line interrupts.
    fn target(&self, irq: u8) -> u32 {
        match self.routes {
            Some(_) => (self.affinity[irq as usize] & smp::online_mask()).trailing_zeros() % u32::BITS,
            None => 0,
        }
    }

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
    if lines.actions[irq as usize].iter().flatten().count() == 1 {
        lines.affinity[irq as usize] = lines.default_affinity;
    }
    lines.note_name(irq);
    lines.unmask(irq);
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
        lines.mask(irq);
    }
    lines.note_name(irq);
}

/// Says where the lines are wired, before anyone but the tick uses one.
pub fn use_io_apic(routes: Option<&'static [Route; NR_IRQS]>) {
    let mut lines = LINES.lock_irqsave();
    lines.routes = routes;
    for (irq, record) in lines.records.iter_mut().enumerate() {
        let route = routes.map(|routes| routes[irq]);
        record.chip = route.map_or(0, |route| 1 + u32::from(route.level));
        record.hwirq = route.map_or(irq as u32, |route| route.pin);
    }
}

/// Closes a line, whose handler stays.
pub fn disable_irq(irq: u8) {
    LINES.lock_irqsave().mask(irq);
}

/// The CPUs that a line may interrupt.
pub fn affinity(irq: u8) -> u32 {
    LINES.lock_irqsave().affinity.get(irq as usize).copied().unwrap_or(0)
}

/// The CPU that it does interrupt, as a mask.
pub fn effective_affinity(irq: u8) -> u32 {
    1 << LINES.lock_irqsave().target(irq)
}

/// `irq_set_affinity`: the CPUs that a line may interrupt from now on. EINVAL if none of them runs,
/// EIO for a line of the 8259.
pub fn set_affinity(irq: u8, cpus: u32) -> Result<()> {
    let mut lines = LINES.lock_irqsave();
    let routes = lines.routes.ok_or(EIO)?;
    if (irq as usize) >= NR_IRQS || cpus & smp::online_mask() == 0 {
        return Err(EINVAL);
    }
    lines.affinity[irq as usize] = cpus;
    ioapic::set_destination(routes[irq as usize], per_cpu(lines.target(irq)).apic_id());
    Ok(())
}

/// The CPUs of a line that gets its first handler.
pub fn default_affinity() -> u32 {
    LINES.lock_irqsave().default_affinity
}

/// Sets them. EINVAL if none of them runs.
pub fn set_default_affinity(cpus: u32) -> Result<()> {
    if cpus & smp::online_mask() == 0 {
        return Err(EINVAL);
    }
    LINES.lock_irqsave().default_affinity = cpus;
    Ok(())
}

/// Called by the trap code with interrupts off.
pub fn handle(irq: u8) {
    if (irq as usize) >= NR_IRQS || !ioapic::in_use() && pic::is_spurious(irq) {
        return;
    }
    let actions = {
        let mut lines = LINES.lock();
        let record = &mut lines.records[irq as usize];
        let count = &mut record.counts[cpu_number() as usize];
        *count = count.wrapping_add(1);
        lines.actions[irq as usize]
    };
    if ioapic::in_use() {
        apic::eoi();
    } else {
        pic::eoi(irq);
    }
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
