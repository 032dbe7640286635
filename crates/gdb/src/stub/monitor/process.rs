//! Whose process gdb sees.

use inspect::{Books, comm};

use super::{Group, Outcome, usage};
use crate::stub::Stub;
use crate::stub::memory::ProcessMemory;

pub const GROUP: Group = Group {
    rows: &[(
        "proc [N|off]",
        "gdb sees process N: its files, its user memory; off: the CPU's again; alone: which it is",
    )],
    run,
};

fn run(stub: &mut Stub<'_>, words: &[&str]) -> Option<Outcome> {
    match words {
        ["proc"] => Some(Ok(say_process(stub))),
        ["proc", "off"] => {
            stub.view.pid = None;
            Some(Ok(say_process(stub)))
        }
        ["proc", pid] => Some(choose(stub, pid)),
        _ => None,
    }
}

fn choose(stub: &mut Stub<'_>, pid: &str) -> Outcome {
    let pid: u32 = pid.parse().map_err(|_| usage(&format!("proc: `{pid}` is neither a process's number nor off")))?;
    Books::of(&stub.target())?.task(pid)?;
    stub.view.pid = Some(pid);
    Ok(say_process(stub))
}

/// Whose files gdb sees, and whose memory.
fn say_process(stub: &Stub<'_>) -> Vec<u8> {
    let chosen = stub.view.pid.is_some();
    let how = if chosen { "chosen" } else { "automatic" };
    let Some(pid) = stub.viewed_process() else { return format!("no process ({how})\n").into_bytes() };
    let target = stub.target();
    let name = Books::of(&target).and_then(|books| books.task(pid)).map_or("has ended".into(), |task| comm(&task));
    let memory = match chosen {
        true if ProcessMemory::of(&target, pid).is_none() => "it has no memory of its own",
        true => "memory is its own",
        false => "memory is the CPU's",
    };
    format!("process {pid} {name} ({how}); {memory}\n").into_bytes()
}
