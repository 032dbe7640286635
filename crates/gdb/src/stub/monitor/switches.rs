//! What is on or off.

use super::{Group, Outcome, usage};
use crate::stub::Stub;

pub const GROUP: Group = Group {
    rows: &[
        ("break-any on|off", "breakpoints in user space stop in every process, not in the debugged program only"),
        ("step-kernel on|off", "a step follows the CPU into the kernel at an interrupt, fault or system call"),
        ("phys on|off", "memory is read and written by physical address"),
    ],
    run,
};

fn run(stub: &mut Stub<'_>, words: &[&str]) -> Option<Outcome> {
    let [name, word] = words else { return None };
    let flag = match *name {
        "break-any" => &mut stub.view.break_any,
        "step-kernel" => &mut stub.view.step_kernel,
        _ => &mut stub.view.physical,
    };
    *flag = match *word {
        "on" => true,
        "off" => false,
        _ => return Some(Err(usage("give on or off"))),
    };
    Some(Ok(Vec::new()))
}
