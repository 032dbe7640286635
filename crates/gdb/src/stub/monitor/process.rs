//! Whose process gdb sees.

use inspect::Books;

use super::{Group, Outcome, usage};
use crate::stub::Stub;

pub const GROUP: Group = Group {
    rows: &[("proc [N]", "the process whose files and user memory gdb sees; without N, the automatic choice")],
    run,
};

fn run(stub: &mut Stub<'_>, words: &[&str]) -> Option<Outcome> {
    match words {
        ["proc"] => {
            stub.view.pid = None;
            Some(Ok(say_process(stub)))
        }
        ["proc", pid] => Some(choose(stub, pid)),
        _ => None,
    }
}

fn choose(stub: &mut Stub<'_>, pid: &str) -> Outcome {
    let pid: u32 = pid.parse().map_err(|_| usage("proc: give a process number"))?;
    Books::of(&stub.target())?.task(pid)?;
    stub.view.pid = Some(pid);
    Ok(say_process(stub))
}

fn say_process(stub: &Stub<'_>) -> Vec<u8> {
    let how = if stub.view.pid.is_some() { "chosen" } else { "automatic" };
    match stub.viewed_process() {
        Some(pid) => format!("process {pid} ({how})\n").into_bytes(),
        None => format!("no process ({how})\n").into_bytes(),
    }
}
