//! Who runs on a CPU, by the kernel's books or by the stack that the TSS names.

use x86::LinearAddr;

use super::told::Thread;
use crate::{Books, Reader, Target, comm};

/// Bytes of a thread's kernel stack in the kernel with books.
const STACK: u32 = 8 << 10;

/// The thread that CPU `cpu` runs.
pub fn current(target: &Target<'_>, cpu: usize) -> Thread {
    let stack = esp0(target, cpu).unwrap_or(0);
    match Books::of(target).and_then(|books| books.current(cpu as u32)) {
        Ok(task) => Thread { pid: task.pid, tgid: task.tgid, name: Some(comm(&task)), stack },
        Err(_) => Thread { stack, ..Thread::default() },
    }
}

/// The thread whose kernel stack ends at `stack`, which CPU `cpu` is about to run.
pub fn of_stack(target: &Target<'_>, cpu: usize, stack: u32) -> Thread {
    let Ok(books) = Books::of(target) else { return Thread { stack, ..Thread::default() } };
    let tasks = books.tasks().unwrap_or_default();
    let owner = tasks.iter().find(|task| stack.wrapping_sub(task.stack).wrapping_sub(1) < STACK);
    match owner {
        Some(task) => Thread { pid: task.pid, tgid: task.tgid, name: Some(comm(task)), stack },
        None => Thread { stack, ..current(target, cpu) },
    }
}

/// Where the TSS of CPU `cpu` has ESP0, if it has a 32-bit TSS.
pub fn place_of_esp0(target: &Target<'_>, cpu: usize) -> Option<u32> {
    let tr = target.cpu(cpu).ok()?.tr;
    (tr.selector != 0 && matches!(tr.rights & 0xf, 9 | 11)).then(|| tr.base.wrapping_add(4))
}

fn esp0(target: &Target<'_>, cpu: usize) -> Option<u32> {
    let place = place_of_esp0(target, cpu)?;
    Reader::new(target.mem, target.cpu(cpu).ok()?.paging()).u32(LinearAddr(place))
}
